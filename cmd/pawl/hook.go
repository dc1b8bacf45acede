package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"pawl/downloader/weburl"
	"pawl/store"
)

// These limits are guesses.
const (
	// maxQueuedHooks is how many finished files may wait for their hook. Then push blocks.
	// A file takes some hundred bytes in the queue, so memory hardly matters. With a small
	// number, slow hooks would hold up a burst of small files at once.
	maxQueuedHooks = 1000

	// hookKillDelay is the time between SIGTERM and SIGKILL for the hook that runs when pawl
	// is interrupted. Much more would keep the user waiting after Ctrl-C; with much less, a
	// hook cannot clean up.
	hookKillDelay = 2 * time.Second

	// hookPatience is how long a hook without a --hook-timeout runs before pawl warns. With
	// half of it, hooks that unpack or upload a large file would cause the warning; twice as
	// much would leave the user longer with a pawl that seems to hang.
	hookPatience = 10 * time.Minute

	// maxHookLine is the length in bytes at which output of a hook is printed, even without a
	// line end. It bounds the memory for a hook that prints no line ends.
	maxHookLine = 4096
)

// A hookFile is a file for which a hook runs. The hook sees it in PAWL_FILE_PATH,
// PAWL_FILE_URL and so on. These names are not options of pawl, unlike PAWL_PATH would be,
// so that a hook may call pawl.
type hookFile struct {
	path string // absolute path, also the argument of the hook; "" if unknown, then there is no argument
	url  string // the requested URL
	size int64  // bytes; -1 if unknown
	id   store.ID
	err  error // the failure that --on-error runs for; nil for --on-complete
}

// passedToHooks reports whether a hook gets an environment variable ("NAME=value") of pawl.
// It must not get settings of pawl that may be secrets, nor the PAWL_FILE_ and PAWL_END_
// variables of another pawl that runs this one as its hook. Other variables, such as http_proxy, are
// meant for all programs that the user runs.
func passedToHooks(variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	setting, own := strings.CutPrefix(name, "PAWL_")
	secret := isSecretName(setting) || slices.Contains([]string{"HEADER", "USER", "PROXY", "REFERER"}, setting)
	return !own || !secret && !strings.HasPrefix(setting, "FILE_") && !strings.HasPrefix(setting, "END_")
}

// hookEnviron returns the variables of pawl's environment that all hooks get.
func hookEnviron() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return !passedToHooks(v) })
}

// environ returns the environment of the hook. Unknown properties of f are not set.
func (f hookFile) environ() []string {
	env := hookEnviron()
	set := func(name, value string) {
		if value != "" {
			env = append(env, "PAWL_FILE_"+name+"="+value)
		}
	}
	set("PATH", f.path)
	set("URL", printable(weburl.Redact(f.url)))
	set("ID", string(f.id))
	if f.size >= 0 {
		set("SIZE", strconv.FormatInt(f.size, 10))
	}
	if f.err != nil {
		set("ERROR", hookError(f.err))
	}
	set("EXIT", strconv.Itoa(exitCode(f.err)))
	return env
}

// hookError returns the text of an error for the environment of a hook.
func hookError(err error) string {
	return truncate(printable(weburl.RedactText(err.Error())), maxHookLine)
}

// hookOptions are the settings of hooks.
type hookOptions struct {
	onComplete, onError string        // shell commands; "" for none
	onEnd               string        // of the daemon, see hooks.pushEnd; "" for none
	timeout             time.Duration // longest time of one hook; 0 for no limit
	killDelay           time.Duration // hookKillDelay, except in tests
	patience            time.Duration // hookPatience, except in tests
	because             string        // why there is a timeout, in messages
}

// withDefaults returns o with the times that are not set.
func (o hookOptions) withDefaults() hookOptions {
	o.killDelay, o.patience = cmp.Or(o.killDelay, hookKillDelay), cmp.Or(o.patience, hookPatience)
	o.because = cmp.Or(o.because, " (--hook-timeout)")
	return o
}

// hooks runs the commands of --on-complete and --on-error, one after another, in the order
// of the files, and the --on-end of the daemon. Their output goes to stderr line by line. If a hook fails, pawl warns; the
// outcome of the file stays.
//
// It is safe for concurrent use. All methods do nothing if the receiver is nil.
type hooks struct {
	hookOptions
	out     *printer
	ctx     context.Context // its end stops the running hook and drops the queued ones
	queue   chan hookCall   // never closed, because a push may come after close
	closing chan struct{}   // closed by close
	done    chan struct{}   // closed by the goroutine when it ends
	dropped int             // hooks that did not run; owned by the goroutine until done
}

// newHooks starts the goroutine that runs the hooks. close must be called to end it. If
// there are no commands, newHooks returns nil.
func newHooks(ctx context.Context, o hookOptions, out *printer) *hooks {
	if o.onComplete == "" && o.onError == "" && o.onEnd == "" {
		return nil
	}
	h := &hooks{
		hookOptions: o.withDefaults(), out: out, ctx: ctx,
		queue: make(chan hookCall, maxQueuedHooks), closing: make(chan struct{}), done: make(chan struct{}),
	}
	go h.loop()
	return h
}

// push queues the hook of f. It blocks while maxQueuedHooks hooks wait, so downloads slow
// down to the pace of the hooks. After close it does nothing: a download that hung may still
// end then, but nobody waits for its hook.
func (h *hooks) push(f hookFile) {
	if h == nil {
		return
	}
	h.pushCall(hookCall{
		command: h.command(f), occasion: fmt.Sprintf("for %q", f.path), path: f.path, pathVariable: "PAWL_FILE_PATH", environ: f.environ(),
	})
}

// pushEnd queues the hook of the end of all downloads of the daemon. code is the worst exit code among them.
func (h *hooks) pushEnd(code int) {
	if h != nil {
		h.pushCall(hookCall{command: h.onEnd, occasion: "at the end", pathVariable: "PAWL_END_REPORT", environ: endEnviron("", code, nil)})
	}
}

// pushCall queues a call, unless it has no command.
func (h *hooks) pushCall(call hookCall) {
	if call.command == "" {
		return
	}
	select {
	case h.queue <- call: // does not hang after an interrupt: the goroutine then empties the queue
	case <-h.done:
	}
}

// close waits until all queued hooks have run. It must be called once.
func (h *hooks) close() {
	if h == nil {
		return
	}
	close(h.closing)
	<-h.done
	if h.dropped > 0 {
		h.out.warn("%d hooks were not run, because the run was interrupted", h.dropped)
	}
}

// command returns the shell command for f, or "" if there is none.
func (h *hooks) command(f hookFile) string {
	if f.err != nil {
		return h.onError
	}
	return h.onComplete
}

// loop is the goroutine of the hooks.
func (h *hooks) loop() {
	defer close(h.done)
	for {
		select {
		case call := <-h.queue:
			h.handle(call)
		case <-h.closing:
			for len(h.queue) > 0 { // select chooses at random, so hooks may be left
				h.handle(<-h.queue)
			}
			return
		}
	}
}

// handle runs a hook and warns if it fails, or drops it after an interrupt.
func (h *hooks) handle(call hookCall) {
	if h.ctx.Err() != nil {
		h.dropped++
		return
	}
	h.hookOptions.run(h.ctx, h.out, call)
}

// A hookCall is one run of a hook.
type hookCall struct {
	command      string   // for a shell
	occasion     string   // of the run, for messages, for example `for "/d/a.bin"`
	path         string   // the argument, "" for none
	pathVariable string   // the variable in environ that has the path
	environ      []string // of the hook
}

// run runs a hook until it ends, or until ctx or its time does, and warns if it fails or takes long.
func (o hookOptions) run(ctx context.Context, out *printer, call hookCall) {
	if o.timeout == 0 {
		defer time.AfterFunc(o.patience, func() {
			out.warn("hook %q %s has been running for %s; limit it with --hook-timeout D", call.command, call.occasion, span(o.patience))
		}).Stop()
	}
	switch err := o.exec(ctx, out, call); {
	case err == nil:
	case ctx.Err() != nil:
		out.warn("hook %q %s: interrupted", call.command, call.occasion)
	default:
		out.warn("hook %q %s: %s", call.command, call.occasion, printable(err.Error()))
	}
}

// exec runs the command, for the timeout at most. Child processes may outlive a command that ends by
// itself, but after killDelay their output is no longer read.
func (o hookOptions) exec(ctx context.Context, out *printer, call hookCall) error {
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("stopped, because it did not end within %s%s", span(o.timeout), o.because))
		defer cancel()
	}
	cmd := shellCommand(ctx, call)
	cmd.WaitDelay = o.killDelay
	cmd.Env = call.environ
	lines := &hookOutput{out: out}
	cmd.Stdout, cmd.Stderr = lines, lines
	defer lines.flush()
	stop := setProcessGroup(cmd, o.killDelay)
	defer stop()
	// If ctx ends, exec calls cmd.Cancel, which setProcessGroup may have set, and after WaitDelay
	// kills the shell and closes the pipe.
	err := cmd.Run()
	switch {
	case errors.Is(err, exec.ErrWaitDelay):
		return nil // the command has succeeded, and only a child process still has the pipe open
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return err
}

// hookOutput prints the output of a hook line by line. Only one goroutine may use it.
type hookOutput struct {
	out  *printer
	line []byte // the beginning of an unfinished line
}

// Write prints all lines that are finished. It never fails, because an error would end the
// pipe of the hook.
func (l *hookOutput) Write(p []byte) (int, error) {
	l.line = append(l.line, p...)
	for {
		switch i := bytes.IndexByte(l.line, '\n'); {
		case i >= 0 && i <= maxHookLine:
			l.printLine(l.line[:i])
			l.line = l.line[i+1:]
		case len(l.line) > maxHookLine:
			l.printLine(l.line[:maxHookLine])
			l.line = l.line[maxHookLine:]
		default:
			return len(p), nil
		}
	}
}

// flush prints an unfinished line.
func (l *hookOutput) flush() {
	if len(l.line) > 0 {
		l.printLine(l.line)
		l.line = nil
	}
}

// printLine prints one line of output without its line end.
func (l *hookOutput) printLine(line []byte) {
	l.out.line("pawl: hook: %s", printable(strings.TrimSuffix(string(line), "\r")))
}
