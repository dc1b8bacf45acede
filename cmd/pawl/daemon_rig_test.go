package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	server "pawl/cmd/pawl/daemon"
	"pawl/downloader/faultserver"
	"pawl/downloader/queue"
	"pawl/store"
)

// A daemonRig is a state directory, a root directory "files", a server of files, and daemons that run one after
// another with them.
type daemonRig struct {
	*testing.T
	srv *faultserver.Server
	dir string // has "files" and "state"
	env []string

	cmd    *exec.Cmd      // of the present daemon
	ended  chan struct{}  // is closed when it has ended
	log    lockedBuffer   // of all daemons
	client *server.Client // of the present daemon, once ready
}

// A lockedBuffer is a buffer for several goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newDaemonRig(t *testing.T) *daemonRig {
	t.Helper()
	r := &daemonRig{T: t, srv: faultserver.New(), dir: t.TempDir()}
	t.Cleanup(r.srv.Close)
	t.Cleanup(func() {
		if r.cmd != nil {
			r.cmd.Process.Kill()
			<-r.ended
		}
		if t.Failed() {
			t.Logf("log of the daemon:\n%s", r.log.String())
		}
	})
	if err := os.Mkdir(r.files(), 0o755); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *daemonRig) files() string { return filepath.Join(r.dir, "files") }
func (r *daemonRig) state() string { return filepath.Join(r.dir, "state", "pawl") }

// begin starts a daemon, which is not ready yet.
func (r *daemonRig) begin(args ...string) {
	r.Helper()
	r.beginAt([]string{"--listen", "127.0.0.1:0"}, args...)
}

// beginAt is begin with other options for the address.
func (r *daemonRig) beginAt(listen []string, args ...string) {
	r.Helper()
	r.client = nil
	r.cmd = pawlCommand(r.dir, slices.Concat([]string{"daemon", "--root", r.files()}, listen, testWaits, args)...)
	r.cmd.Env = append(r.cmd.Env, r.env...)
	r.cmd.Stdout, r.cmd.Stderr = &r.log, &r.log
	if err := r.cmd.Start(); err != nil {
		r.Fatal(err)
	}
	r.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		cmd.Wait()
		close(ended)
	}(r.cmd, r.ended)
}

// start starts a daemon, and waits until it is ready.
func (r *daemonRig) start(args ...string) {
	r.Helper()
	r.begin(args...)
	if !r.ready() {
		r.Fatal("the daemon has ended")
	}
}

// ready waits until the daemon is ready. It returns false if it has ended.
func (r *daemonRig) ready() bool {
	r.Helper()
	for end := time.Now().Add(hangLimit); time.Now().Before(end); {
		client, err := server.Find(r.state())
		if err == nil {
			if _, err = client.Status(r.Context()); err == nil {
				r.client = client
				return true
			}
		}
		select {
		case <-r.ended:
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
	r.Fatal("the daemon is not ready")
	return false
}

// kill kills the daemon with SIGKILL.
func (r *daemonRig) kill() {
	r.cmd.Process.Kill()
	<-r.ended
	r.cmd = nil
}

// stop ends the daemon with a signal, and returns its exit code and the time that it took.
func (r *daemonRig) stop(sig os.Signal) (code int, took time.Duration) {
	begun := time.Now()
	cmd := r.cmd
	cmd.Process.Signal(sig)
	select {
	case <-r.ended:
	case <-time.After(hangLimit):
		r.Fatal("the daemon does not end")
	}
	r.cmd = nil
	return cmd.ProcessState.ExitCode(), time.Since(begun)
}

// pawl runs another command of pawl, and returns its exit code and its output.
func (r *daemonRig) pawl(args ...string) (code int, stdout, stderr string) {
	var out, errs strings.Builder
	cmd := pawlCommand(r.dir, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Run()
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// want runs another command of pawl, which must succeed, and returns its standard output.
func (r *daemonRig) want(args ...string) string {
	r.Helper()
	code, stdout, stderr := r.pawl(args...)
	if code != 0 {
		r.Fatalf("pawl %q: exit code %d\n%s%s", args, code, stdout, stderr)
	}
	return strings.TrimSpace(stdout)
}

// refused runs another command of pawl, which must fail with an exit code and texts.
func (r *daemonRig) refused(code int, texts []string, args ...string) {
	r.Helper()
	got, _, stderr := r.pawl(args...)
	if got != code {
		r.Errorf("pawl %q: exit code %d, want %d\n%s", args, got, code, stderr)
	}
	for _, text := range texts {
		if !strings.Contains(stderr, text) {
			r.Errorf("pawl %q: %q does not contain %q", args, stderr, text)
		}
	}
}

// await waits until a task has a state.
func (r *daemonRig) await(id string, want queue.State) server.Task {
	r.Helper()
	var t server.Task
	for end := time.Now().Add(hangLimit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var err error
		if t, err = r.client.Task(r.Context(), store.ID(id)); err != nil {
			r.Fatal(err)
		}
		if t.State == want {
			return t
		}
		if t.State.Ended() {
			break
		}
	}
	r.Fatalf("task %s: %s (%s), want %s", id, t.State, t.Reason, want)
	return t
}

// regexpID matches the output of pawl add.
var regexpID = regexp.MustCompile(`^[0-9a-f]{16}$`)

func idOf(text string) store.ID { return store.ID(text) }

// put serves a file of random bytes, and returns its URL.
func (r *daemonRig) put(name string, size int64, seed uint64) (string, faultserver.File) {
	f := faultserver.NewFile(size, seed)
	r.srv.Put(name, f)
	return r.srv.URL + "/" + name, f
}

// openStore opens the state directory beside the daemon.
func (r *daemonRig) openStore() *store.Store {
	r.Helper()
	st, err := store.Open(r.state(), store.Options{Warn: func(s string) { r.Errorf("warning: %s", s) }})
	if err != nil {
		r.Fatal(err)
	}
	return st
}
