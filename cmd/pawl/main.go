// Command pawl downloads large files over HTTP(S), over several connections at
// once, and goes on from the last recorded byte after whatever interrupted it.
package main

import (
	"context"
	"errors"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"pawl/downloader"
)

func main() {
	log.SetOutput(io.Discard) // net/http logs bytes that servers send unasked
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program. It returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	say := &printer{stdout: stdout, stderr: stderr}
	var cli CLI
	exit := -1
	app, err := kong.New(&cli,
		kong.Name("pawl"),
		kong.Description("Downloads large files, and resumes what was interrupted."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exit = code }),
		kong.DefaultEnvars("PAWL"),
		rawTextMappers(),
		kong.Vars{"version": version()},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 100}),
		kong.Help(help),
		kong.WithBeforeResolve(loadConfig),
		kong.Bind(say),
	)
	if err != nil {
		panic(err) // the grammar itself is wrong, which each test would show
	}
	if len(args) > 0 && args[0] == "help" {
		args = append(args[1:], "--help")
	}
	parsed, err := app.Parse(args)
	if exit >= 0 { // --help and --version have said it all
		return exit
	}
	if err != nil {
		return say.reportExit(usageError(errors.New(trimCommand(err.Error()))))
	}
	say.quiet = cli.Quiet
	warnUnknownVariables(say, app.Model, os.Environ())
	ends := []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}
	if parsed.Selected().Name == "mirror" && !cli.Mirror.readsPipe() { // to which SIGHUP says something else
		ends = ends[:2]
	}
	ctx, stop := signalContext(context.Background(), ends)
	defer stop()
	parsed.BindTo(ctx, (*context.Context)(nil))
	return say.reportExit(parsed.Run(&cli.Globals))
}

// withoutCommand is what kong says, without the command that it is about.
func trimCommand(text string) string {
	for _, command := range []string{"get: ", "mirror: "} {
		text = strings.TrimPrefix(text, command)
	}
	return text
}

// usageError is err as a mistake of the command line's.
func usageError(err error) error { return usageErr{err} }

// A mistake is an error of the kind ErrUsage that does not say so.
type usageErr struct{ error }

func (m usageErr) Unwrap() []error { return []error{m.error, downloader.ErrUsage} }

// A signalError is the cause of a context that a signal ended.
type signalError struct{ syscall.Signal }

func (e signalError) Error() string {
	if e.Signal == syscall.SIGINT {
		return "interrupted"
	}
	return "terminated"
}

// untilSignal returns a context that the first of the signals cancels, so that what has
// arrived is committed; the second one kills.
func signalContext(parent context.Context, ends []os.Signal) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	for _, s := range ends {
		if !signal.Ignored(s) { // as under nohup, and in the background of some shells
			signal.Notify(signals, s)
		}
	}
	done := make(chan struct{})
	go func() { // ends with stop
		select {
		case s := <-signals:
			signal.Stop(signals)
			cancel(signalError{s.(syscall.Signal)})
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}

// version is what the build says of itself.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "pawl (unknown version)"
	}
	return "pawl " + strings.Trim(info.Main.Version, "()")
}

// isInterrupt reports whether err is a signal's, and which.
func asSignal(err error) (signalError, bool) {
	var s signalError
	ok := errors.As(err, &s)
	return s, ok
}
