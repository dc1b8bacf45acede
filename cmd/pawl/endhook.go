package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// maxFarewell is how long --on-end may take after a signal. A guess: whoever presses Ctrl-C wants
// pawl to end, and systemd waits for 90 s before it kills. With half of it, a message that is sent
// over a slow network is lost; double leaves the user in doubt whether pawl hangs.
const maxFarewell = 10 * time.Second

// thenOnEnd calls run, which is the whole work of a command, and then runs the command of --on-end.
// It returns the error of run.
//
// The hook gets the report only if run has written it, and not the one of an earlier run. It also
// runs after a failure, while --deadline passes and after it, and after a signal, but then not for longer than
// maxFarewell.
func (o *ResultOptions) thenOnEnd(ctx context.Context, out *printer, run func() error) error {
	if o.OnEnd == "" {
		return run()
	}
	before := statReport(o.Report)
	err := run()
	report := ""
	if after := statReport(o.Report); after != nil && !os.SameFile(before, after) {
		report, _ = filepath.Abs(o.Report) // "" without a working directory
	}
	options := hookOptions{timeout: time.Duration(o.HookTimeout)}
	why := err
	var code exitCodeError
	if errors.As(err, &code) { // the failures of a list have been reported one by one, and are in the report
		why = nil
	}
	if cause := context.Cause(ctx); cause != nil {
		why = cause
	}
	ctx = withoutDeadline(ctx)
	if cause := context.Cause(ctx); cause != nil { // else a signal stops the hook
		ctx = context.WithoutCancel(ctx)
		if _, signaled := asSignal(cause); signaled && (options.timeout == 0 || options.timeout > maxFarewell) {
			options.timeout, options.because = maxFarewell, " of the signal"
		}
	}
	options.withDefaults().run(ctx, out, hookCall{
		command: o.OnEnd, occasion: "at the end", path: report, pathVariable: "PAWL_END_REPORT", environ: endEnviron(report, exitCode(err), why),
	})
	return err
}

// statReport describes the file at path, nil if there is none.
func statReport(path string) fs.FileInfo {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	return info
}

// endEnviron returns the environment of --on-end after a run that ended with an exit code. report is
// the path of its report, "" if there is none, and why is the reason of its failure, nil if there is
// none or if there are many.
func endEnviron(report string, code int, why error) []string {
	env := append(hookEnviron(), "PAWL_END_EXIT="+strconv.Itoa(code))
	if report != "" {
		env = append(env, "PAWL_END_REPORT="+report)
	}
	if why != nil {
		env = append(env, "PAWL_END_ERROR="+hookError(why))
	}
	return env
}
