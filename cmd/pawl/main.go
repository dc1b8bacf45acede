// Command pawl downloads large files over HTTP(S), over several connections at once. After
// any interruption it resumes from the last recorded byte.
//
// This package is the command line: package downloader and the packages around it do the work. The
// options of all commands are in cli.go, and each command has a method Run in the file of its name.
// The files by subject:
//
//	main.go                           the exit code, signals
//	cli.go, values.go, digest.go, startat.go, timetable.go
//	                                  commands, options, and types of their values
//	commandline.go, arguments.go, spelling.go
//	                                  parsing, and guesses at mistyped command lines
//	config.go, hostsections.go, environment.go, settings.go, configimport.go
//	                                  config files and variables
//	get.go, output.go, records.go, transfer.go
//	                                  get, resume and remove; a batch of downloads
//	mirror.go, lists.go, listname.go, index.go, shard.go, signature.go
//	                                  mirror, and how it reads lists
//	mirrorqueue.go, fleetqueue.go, fleetstatus.go, queueoptions.go, queuereport.go, work.go
//	                                  mirror --queue, queue and work: a fleet of machines
//	daemon*.go, listtasks.go, taskhooks.go, queuecommands.go
//	                                  daemon, and the commands that talk to it
//	list.go, watch.go, watchqueue.go, screen*.go
//	                                  list, and its live table
//	verify.go, verifier.go, info.go, as.go
//	                                  verify, info, as
//	headers.go, credentials.go, password.go, proxy.go, network.go, certificates.go
//	                                  secrets, and which origin gets them; how hosts are reached
//	recorder.go, report.go, merge.go, summary.go, hook*.go, endhook.go
//	                                  the outcomes of files: reports and hooks
//	display.go, progress.go, bar.go   the display of running downloads
//	messages.go, repeats.go, text.go, terminal*.go, jsonlines.go
//	                                  messages and other output
//	failures.go                       exit codes and hints
//	state.go, atomicfile.go           the state directory; files that are replaced as a whole
//	topics.go, help, manual.go, complete*.go, shell.go, version.go
//	                                  help, the manual page, completions of shells
package main

import (
	"context"
	"errors"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/alecthomas/kong"

	"pawl/downloader/failure"
)

// main is the only function that exits the process. All others return, so that deferred
// functions run and downloads commit their bytes.
func main() {
	log.SetOutput(io.Discard) // net/http logs bytes that servers send unrequested
	delayCollector()
	os.Exit(run(withTool(os.Args[0], os.Args[1:]), os.Stdout, os.Stderr))
}

// laterPercent is the value of GOGC after the first collection.
var laterPercent atomic.Int32

// delayCollector makes the first garbage collection come at 16 MiB of memory instead of 4, so that
// short runs end before it: it takes a tenth of their time. Afterwards the collector is as usual, unless
// setCollector was called, so long runs need no more memory.
func delayCollector() {
	if os.Getenv("GOGC") != "" {
		return
	}
	laterPercent.Store(100)
	debug.SetGCPercent(400) // of the 4 MiB that Go takes for a heap without a collection
	// An object without a use, so the first collection finds it. The pointer in it keeps Go from storing
	// it together with others, which may be used for longer.
	runtime.AddCleanup(new(*int), func(int) { debug.SetGCPercent(int(laterPercent.Load())) }, 0)
}

// setCollector sets the value of GOGC and the memory limit in bytes from now on, also after the first
// collection.
func setCollector(percent int, limit int64) {
	laterPercent.Store(int32(percent))
	debug.SetGCPercent(percent)
	debug.SetMemoryLimit(limit)
}

// run is the whole program, so that tests can call it. It returns the exit code. Signals are
// caught only after the command line has been parsed; until then they simply end pawl,
// which has nothing to commit yet.
func run(args []string, stdout, stderr io.Writer) int {
	out := &printer{stdout: stdout, stderr: stderr}
	if len(args) > 0 && args[0] == "help" {
		text, options, err := helpOn(newCommandLine(out, "").Model, args[1:])
		if err != nil {
			return out.reportExit(usageErr{err})
		}
		if text != "" {
			io.WriteString(stdout, text)
			return 0
		}
		args = options
	}
	app, parsed, err := parse(out, args, os.Environ())
	if app.exit >= 0 { // --help or --version has printed everything
		return app.exit
	}
	if err != nil {
		return out.reportExit(usageErr{withIntention(explained(errors.New(trimCommand(err.Error())), app.Kong), app.Kong, args)})
	}
	if err := checkGuards(args); err != nil {
		return out.reportExit(usageErr{err})
	}
	cli := &app.cli
	out.quiet, out.look = cli.Quiet, lookOf(stderr, cli.NoColor)
	if !cli.Verbose {
		out.repeats = new(repeats)
	}
	app.config.warn(out)
	warnUnknownVariables(out, app.Model, os.Environ())
	signals := []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}
	hup := make(chan os.Signal, 1)
	if parsed.Selected().Name == "mirror" && !cli.Mirror.readsPipe() { // SIGHUP makes it reread the lists, or begin
		signals = signals[:2]
		signal.Notify(hup, syscall.SIGHUP)
	}
	ctx, stop := signalContext(context.Background(), signals)
	defer stop()
	if c, ok := parsed.Selected().Target.Addr().Interface().(interface {
		awaitStart(context.Context, *printer, <-chan os.Signal) error
	}); ok {
		if err := c.awaitStart(ctx, out, hup); err != nil {
			return out.reportExit(err)
		}
	}
	return out.reportExit(runCommand(ctx, parsed, &cli.Globals))
}

// runCommand runs the command that was parsed, until its --deadline. An error that only says that a context has ended becomes its
// cause: the signal or the deadline.
func runCommand(ctx context.Context, parsed *kong.Context, g *Globals) error {
	if c, ok := parsed.Selected().Target.Addr().Interface().(interface {
		withDeadline(context.Context) (context.Context, context.CancelFunc)
	}); ok {
		var cancel context.CancelFunc
		ctx, cancel = c.withDeadline(ctx)
		defer cancel()
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	err := parsed.Run(g)
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) && !errors.As(err, new(reportedError)) {
		return context.Cause(ctx)
	}
	return err
}

// trimCommand removes the name of the command from an error text of kong. For example,
// "get: --jobs: …" becomes "--jobs: …".
func trimCommand(text string) string {
	for _, command := range []string{"get: ", "mirror: "} {
		text = strings.TrimPrefix(text, command)
	}
	return text
}

// A usageErr marks an error as a mistake in the command line, of the kind failure.ErrUsage. Its
// text stays as it is.
type usageErr struct{ error }

func (e usageErr) Unwrap() []error { return []error{e.error, failure.ErrUsage} }

// A signalError is the cause of a context that a signal has canceled.
type signalError struct{ syscall.Signal }

func (e signalError) Error() string {
	if e.Signal == syscall.SIGINT {
		return "interrupted"
	}
	return "terminated"
}

// signalContext returns a context that the first of the signals cancels, so that the
// downloads commit their bytes and end. A second signal kills the process, because by then
// the signals have their default effect again. stop must be called once.
func signalContext(parent context.Context, signals []os.Signal) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	received := make(chan os.Signal, 1)
	for _, s := range signals {
		if !signal.Ignored(s) { // nohup, and some shells for background jobs, ignore signals
			signal.Notify(received, s)
		}
	}
	done := make(chan struct{})
	go func() { // ends with stop
		select {
		case s := <-received:
			signal.Stop(received)
			cancel(signalError{s.(syscall.Signal)})
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(received)
		close(done)
		cancel(nil)
	}
}

// asSignal returns the signal that caused err, and whether one did.
func asSignal(err error) (signalError, bool) {
	var s signalError
	ok := errors.As(err, &s)
	return s, ok
}
