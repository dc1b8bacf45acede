//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pawl/downloader/failure"
)

// A lockedText is a string builder for concurrent use.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// awaitText waits until out contains text, for hangLimit at most.
func awaitText(t *testing.T, out *lockedText, text string) {
	t.Helper()
	for deadline := time.Now().Add(hangLimit); !strings.Contains(out.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("got %q, want it to contain %q", out.String(), text)
		}
	}
}

// TestHookArguments checks that the path is one argument, whatever characters it contains,
// and that the environment describes the file and contains no secrets and no stale values.
func TestHookArguments(t *testing.T) {
	t.Setenv("PAWL_FILE_ERROR", "stale")
	for _, name := range []string{"HEADER", "USER", "PROXY", "BEARER_TOKEN", "PASSWORD", "REFERER"} {
		t.Setenv("PAWL_"+name, "secret4711")
	}
	t.Setenv("PAWL_STATE", "/s")
	const path = `/d/a "b" $(c) 'd'`
	var out lockedText
	h := newHooks(t.Context(), hookOptions{
		onComplete: `test $# = 0; env | grep -e ^PAWL_FILE_ -e ^PAWL_STATE -e secret4711 | sort; printf '%s|\n' "$@"`,
		onError:    `printf "err $PAWL_FILE_EXIT $PAWL_FILE_ERROR $PAWL_FILE_SIZE. $#"; :`,
	}, &printer{stderr: &out})
	h.push(hookFile{path: path, url: "http://u:p@h/x?sig=secret4711", size: 0, id: "0123456789abcdef"})
	h.push(hookFile{size: -1, err: fmt.Errorf("a\n%w\x00", failure.ErrRefused)})
	h.close()
	want := strings.Join([]string{
		"PAWL_FILE_EXIT=0", "PAWL_FILE_ID=0123456789abcdef", "PAWL_FILE_PATH=" + path, "PAWL_FILE_SIZE=0", "PAWL_FILE_URL=http://h/x?sig=…", "PAWL_STATE=/s", path + "|",
		"err 8 a " + failure.ErrRefused.Error() + "  . 0", "",
	}, "\npawl: hook: ")
	if got, want := out.String(), "pawl: hook: "+strings.TrimSuffix(want, "pawl: hook: "); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestHookPathIsNotRun checks that a command that ends with a separator, such as ";", gets
// the path as an argument, and that the shell does not run the path as the next command.
func TestHookPathIsNotRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	os.WriteFile(path, []byte("#!/bin/sh\necho run\n"), 0o777)
	for _, command := range []string{"echo got;", "echo got & ", "echo got\n", `f() { echo "got $1"; }; f`, `test "$1" && echo got;`} {
		var out lockedText
		h := newHooks(t.Context(), hookOptions{onComplete: command}, &printer{stderr: &out})
		h.push(hookFile{path: path})
		h.close()
		if got := out.String(); !strings.HasPrefix(got, "pawl: hook: got") || strings.Count(got, "\n") != 1 {
			t.Errorf("%q: got %q", command, got)
		}
	}
}

// TestHookPath checks which commands get the path appended: single commands that do not name
// it. The path is $1 in all of them.
func TestHookPath(t *testing.T) {
	const path = "/d/-n\nx"
	for command, want := range map[string]string{
		`printf '%s\n'`:                             path,
		`printf '%s\n' 'a;b' "c|d"`:                 "a;b\nc|d\n" + path,
		`printf '%s\n' a\;b 2>&1`:                   "a;b\n" + path,
		`sh -c 'printf "%s\n" "$1"' sh`:             path, // the $1 of another shell
		`printf '%s\n' "$1"`:                        path,
		`printf '%s\n' "${1}"`:                      path,
		`printf '%s\n' "$@"`:                        path,
		`printf '%s\n' "$PAWL_FILE_PATH"`:           path,
		`sh -c 'printf "%s\n" $0'`:                  "/d/-n\nx",
		`: "$1"; printf '%s\n' b`:                   "b",
		`: a; printf '%s\n' b`:                      "b",
		`printf '%s\n' a && printf '%s\n' b`:        "a\nb",
		`printf '%s\n' a | cat`:                     "a",
		`(printf '%s\n' a)`:                         "a",
		"printf '%s\\n' a\nprintf '%s\\n' b":        "a\nb",
		`if true; then printf '%s\n' "$*"; fi`:      path,
		`f() { printf '%s\n' "$#"; }; f`:            "0",
		`read x || printf '%s\n' "end of input $x"`: "end of input ",
	} {
		var out lockedText
		h := newHooks(t.Context(), hookOptions{onComplete: command}, &printer{stderr: &out})
		h.push(hookFile{path: path})
		h.close()
		if got := strings.ReplaceAll(strings.TrimSuffix(out.String(), "\n"), "pawl: hook: ", ""); got != want {
			t.Errorf("%s: got %q, want %q", command, got, want)
		}
	}
}

// TestHookTimeout checks that all processes of a hook that never ends are ended, that it counts
// as failed, and that the next hook runs.
func TestHookTimeout(t *testing.T) {
	for name, command := range map[string]string{
		"asleep":                       `sleep 600; :`,
		"ignores SIGTERM":              `trap '' TERM; while :; do sleep 0.01; done;`,
		"exits with 0":                 `trap 'exit 0' TERM; while :; do sleep 0.01; done;`,
		"silent child ignores SIGTERM": `(trap '' TERM; sleep 600) >/dev/null 2>&1 & wait; :`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fifo := filepath.Join(t.TempDir(), "fifo")
			if err := syscall.Mkfifo(fifo, 0o666); err != nil {
				t.Fatal(err)
			}
			gone := make(chan struct{})
			go func() {
				os.ReadFile(fifo) // returns when no process has the fifo open for writing
				close(gone)
			}()
			var out lockedText
			h := newHooks(t.Context(), hookOptions{
				onComplete: `exec 9>"` + fifo + `"; ` + command, onError: "echo next;", timeout: 300 * time.Millisecond, killDelay: 300 * time.Millisecond,
			}, &printer{stderr: &out})
			h.push(hookFile{path: "/a"})
			h.push(hookFile{path: "/b", err: errors.New("x")})
			h.close()
			select {
			case <-gone:
			case <-time.After(hangLimit):
				t.Error("a process of the hook still runs")
			}
			if got := out.String(); !strings.Contains(got, `for "/a": stopped, because it did not end within 0.3s (--hook-timeout)`+"\n") || !strings.Contains(got, "pawl: hook: next\n") {
				t.Errorf("got %q", got)
			}
		})
	}
}

// TestHookPatience checks the warning about a hook without a timeout that does not end.
func TestHookPatience(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out lockedText
	h := newHooks(ctx, hookOptions{onComplete: "sleep 600;", patience: 10 * time.Millisecond}, &printer{stderr: &out})
	h.push(hookFile{path: "/a"})
	awaitText(t, &out, `pawl: warning: hook "sleep 600;" for "/a" has been running for 0.0s; limit it with --hook-timeout D`)
	cancel()
	h.close()
}

// TestHookAfterClose checks that a push after close does nothing.
func TestHookAfterClose(t *testing.T) {
	var out lockedText
	h := newHooks(t.Context(), hookOptions{onComplete: "echo run;"}, &printer{stderr: &out})
	h.close()
	for range maxQueuedHooks + 1 {
		h.push(hookFile{path: "/a"})
	}
	if got := out.String(); got != "" {
		t.Errorf("got %q", got)
	}
}

// TestHookBeforeClose checks that no hook is lost that was queued just before close. The context
// has ended, so the hooks are only counted.
func TestHookBeforeClose(t *testing.T) {
	sampled(t, 8)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	const runs = 5000
	counted := 0
	for range runs {
		var out lockedText
		h := newHooks(ctx, hookOptions{onComplete: "true"}, &printer{stderr: &out})
		h.push(hookFile{path: "/d/f"})
		h.close()
		counted += h.dropped
	}
	if counted != runs {
		t.Errorf("%d of %d hooks were handled", counted, runs)
	}
}

// TestHookOrder checks that hooks run one after another, in order, and all before close
// returns. Events without a hook command do nothing.
func TestHookOrder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out")
	h := newHooks(t.Context(), hookOptions{onComplete: `mkdir "` + file + `.lock" && sleep 0.01 && rmdir "` + file + `.lock" && echo "$1" >>"` + file + `"`}, &printer{stderr: &lockedText{}})
	var want strings.Builder
	for i := range 20 {
		h.push(hookFile{path: fmt.Sprint(i)})
		h.push(hookFile{path: "x", err: errors.New("x")})
		fmt.Fprintln(&want, i)
	}
	h.close()
	if got, err := os.ReadFile(file); string(got) != want.String() {
		t.Errorf("got %q, %v", got, err)
	}
	none := newHooks(t.Context(), hookOptions{}, nil)
	none.push(hookFile{})
	none.close()
}

// TestHookFailureIsWarning checks that the failure of a hook is a warning with the command
// and the file, and that the next hook runs.
func TestHookFailureIsWarning(t *testing.T) {
	var out lockedText
	h := newHooks(t.Context(), hookOptions{onComplete: "exit 3;", onError: "no-such-command"}, &printer{stderr: &out})
	h.push(hookFile{path: "/a"})
	h.push(hookFile{path: "/b", err: errors.New("x")})
	h.close()
	for _, want := range []string{`pawl: warning: hook "exit 3;" for "/a": exit status 3`, `pawl: warning: hook "no-such-command" for "/b": exit status 127`} {
		if !strings.Contains(out.String(), want+"\n") {
			t.Errorf("got %q, want it to contain %q", out.String(), want)
		}
	}
}

// interruptHook pushes more files than the queue of hooks holds to a command that prints
// "ready", and cancels the hooks when the queue is full. It checks that all processes of
// the command end, and returns the output and the time that close took.
func interruptHook(t *testing.T, command string, grace time.Duration) (said string, took time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o666); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		os.ReadFile(fifo) // returns when no process has the fifo open for writing
		close(gone)
	}()
	var out lockedText
	h := newHooks(ctx, hookOptions{onComplete: `exec 9>"` + fifo + `"; ` + command, killDelay: grace}, &printer{stderr: &out})
	pushed := make(chan struct{})
	go func() {
		for range maxQueuedHooks + 50 {
			h.push(hookFile{path: "/a"})
		}
		close(pushed)
	}()
	awaitText(t, &out, "ready")
	for len(h.queue) < maxQueuedHooks {
		time.Sleep(time.Millisecond)
	}
	select {
	case <-pushed:
		t.Error("push did not block although the queue was full")
	default:
	}
	begun := time.Now()
	cancel()
	<-pushed
	h.close()
	took = time.Since(begun)
	select {
	case <-gone:
	case <-time.After(hangLimit):
		t.Error("a process of the hook still runs")
	}
	return out.String(), took
}

// TestHookInterrupted checks that an interrupt ends the running hook, also one with a child
// and one that ignores SIGTERM, drops the waiting hooks, and unblocks push.
func TestHookInterrupted(t *testing.T) {
	const short, long = 300 * time.Millisecond, hangLimit
	for name, tt := range map[string]struct {
		command string
		grace   time.Duration
	}{
		"by SIGTERM":         {`trap 'echo heard; exit' TERM; echo ready; while :; do sleep 0.01; done;`, long},
		"a child by SIGTERM": {`echo ready; sleep 60; :`, long},
		"by SIGKILL":         {`trap '' TERM; echo ready; while :; do sleep 0.01; done;`, short},
		"a child by SIGKILL": {`(trap '' TERM; echo ready; sleep 60; sleep 60); :`, short},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said, took := interruptHook(t, tt.command, tt.grace)
			if killed := took >= tt.grace; killed != (tt.grace == short) {
				t.Errorf("close took %v, with a grace period of %v", took, tt.grace)
			}
			for _, want := range []string{`for "/a": interrupted` + "\n", fmt.Sprintf("pawl: warning: %d hooks were not run", maxQueuedHooks+49)} {
				if !strings.Contains(said, want) {
					t.Errorf("got %q, want it to contain %q", said, want)
				}
			}
			if name == "by SIGTERM" && !strings.Contains(said, "heard") {
				t.Errorf("the hook got no SIGTERM: %q", said)
			}
		})
	}
}

// TestHookChildIsNotAwaited checks that close does not wait for a background process that a
// hook has started.
func TestHookChildIsNotAwaited(t *testing.T) {
	var out lockedText
	h := newHooks(t.Context(), hookOptions{onComplete: `sleep 1000 & echo $!; :`, killDelay: 100 * time.Millisecond, timeout: time.Minute}, &printer{stderr: &out})
	h.push(hookFile{path: "/a"})
	h.close()
	if strings.Contains(out.String(), "warning") {
		t.Errorf("got %q, want no warning", out.String())
	}
	var pid int
	fmt.Sscanf(out.String(), "pawl: hook: %d", &pid)
	if child, err := os.FindProcess(pid); err == nil && pid > 1 {
		child.Kill()
	}
}

// TestOnEndDeadline checks that --deadline does not stop the hook at the end, but that a signal does, also after the deadline.
func TestOnEndDeadline(t *testing.T) {
	for name, tt := range map[string]struct {
		signal bool
		want   string
	}{
		"deadline": {false, "hook: late"},
		"signal":   {true, "interrupted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			parent, end := context.WithCancelCause(t.Context())
			defer end(nil)
			ctx, cancel := (&RunOptions{Deadline: duration(100 * time.Millisecond)}).withDeadline(parent)
			defer cancel()
			context.AfterFunc(ctx, func() {
				for _, err := os.Stat("begun"); err != nil; _, err = os.Stat("begun") {
					time.Sleep(time.Millisecond)
				}
				if tt.signal {
					end(signalError{syscall.SIGINT})
				} else {
					os.WriteFile("passed", nil, 0o600)
				}
			})
			var out lockedText
			o := ResultOptions{OnEnd: `>begun; while ! [ -e passed ]; do sleep 0.01; done; echo late`}
			if err := o.thenOnEnd(ctx, &printer{stderr: &out}, func() error { return nil }); err != nil {
				t.Error(err)
			}
			if got := out.String(); !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
