package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"pawl/downloader"
	"pawl/store"
)

const (
	maxQueuedHooks = 1000            // so many files may wait for their hooks before push blocks
	hookKillDelay  = 2 * time.Second // between SIGTERM and SIGKILL
	maxHookLine    = 4096            // bytes of output that make a line, with a line end or without
)

// A hookFile is what a hook is told of a file, in PAWL_FILE_PATH and so on. It
// is no option: PAWL_NAME would be one, and hooks may call pawl.
type hookFile struct {
	path string // absolute, and the argument; "" if it is not known, and no argument
	url  string // as asked
	size int64  // bytes; -1 unknown
	id   store.ID
	err  error // what --on-error is called for, nil for --on-complete
}

// isForHooks reports whether a hook gets a variable of pawl's environment. It must not get
// the secrets among pawl's own settings, nor the PAWL_FILE_ of a pawl that has us as its hook.
// Variables of the system, such as http_proxy, are for all programs that the user runs.
func passedToHooks(variable string) bool {
	name, _, _ := strings.Cut(variable, "=")
	setting, own := strings.CutPrefix(name, "PAWL_")
	secret := isSecretName(setting) || slices.Contains([]string{"HEADER", "USER", "PROXY", "REFERER"}, setting)
	return !own || !secret && !strings.HasPrefix(setting, "FILE_")
}

// environ is that of pawl, and what f says. What is not known is not set.
func (f hookFile) environ() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return !passedToHooks(v) })
	set := func(name, value string) {
		if value != "" {
			env = append(env, "PAWL_FILE_"+name+"="+value)
		}
	}
	set("PATH", f.path)
	set("URL", printable(downloader.RedactURL(f.url)))
	set("ID", string(f.id))
	if f.size >= 0 {
		set("SIZE", strconv.FormatInt(f.size, 10))
	}
	if f.err != nil {
		set("ERROR", truncate(printable(downloader.Redact(f.err.Error())), maxHookLine))
	}
	set("EXIT", strconv.Itoa(exitCode(f.err)))
	return env
}

// hooks run the commands of --on-complete and --on-error, one after another. What
// they print goes to stderr, a line at a time. A hook that fails is a warning,
// and changes nothing of its file.
//
// Safe for concurrent use, but for close. The methods do nothing where it is nil.
type hooks struct {
	onComplete, onError string // shell commands; "" for none
	out                 *printer
	ctx                 context.Context // ends the hook that runs, and all that wait
	killDelay           time.Duration
	queue               chan hookFile
	done                chan struct{} // closed when the goroutine has ended
	dropped             int           // hooks that did not run; of the goroutine, until done
}

// newHooks starts what runs the hooks until close, or nothing if there are none.
func newHooks(ctx context.Context, onComplete, onError string, say *printer) *hooks {
	if onComplete == "" && onError == "" {
		return nil
	}
	h := &hooks{
		onComplete: onComplete, onError: onError, out: say, ctx: ctx, killDelay: hookKillDelay,
		queue: make(chan hookFile, maxQueuedHooks), done: make(chan struct{}),
	}
	go h.loop()
	return h
}

// push has the hook of f run some time. It blocks while 1,000 others wait: who
// fetches small files faster than hooks can handle them goes at their pace.
func (h *hooks) push(f hookFile) {
	if h != nil && h.command(f) != "" {
		h.queue <- f // the goroutine takes from it in any case
	}
}

// close waits for the hooks of all that was pushed, and comes after the last push.
func (h *hooks) close() {
	if h == nil {
		return
	}
	close(h.queue)
	<-h.done
	if h.dropped > 0 {
		h.out.warn("%d hooks were not run, as the run was interrupted", h.dropped)
	}
}

func (h *hooks) command(f hookFile) string {
	if f.err != nil {
		return h.onError
	}
	return h.onComplete
}

func (h *hooks) loop() {
	defer close(h.done)
	for f := range h.queue {
		if h.ctx.Err() != nil {
			h.dropped++
			continue
		}
		command := h.command(f)
		switch err := h.run(command, f); {
		case err == nil:
		case h.ctx.Err() != nil:
			h.out.warn("hook %q for %q: interrupted", command, f.path)
		default:
			h.out.warn("hook %q for %q: %s", command, f.path, printable(err.Error()))
		}
	}
}

// run runs the command for f. Its children may outlive it, but their output is
// read for h.grace only.
func (h *hooks) run(command string, f hookFile) error {
	cmd := shellCommand(h.ctx, command, f.path)
	cmd.WaitDelay = h.killDelay
	cmd.Env = f.environ()
	lines := &hookOutput{out: h.out}
	cmd.Stdout, cmd.Stderr = lines, lines
	defer lines.flush()
	stop := setProcessGroup(cmd, h.killDelay)
	defer stop()
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil // only a child of it is left
	}
	return err
}

// hookLines are what hooks print, told a line at a time. Of one goroutine.
type hookOutput struct {
	out  *printer
	line []byte // begun
}

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

// end tells the rest.
func (l *hookOutput) flush() {
	if len(l.line) > 0 {
		l.printLine(l.line)
		l.line = nil
	}
}

func (l *hookOutput) printLine(line []byte) {
	l.out.line("pawl: hook: %s", printable(strings.TrimSuffix(string(line), "\r")))
}
