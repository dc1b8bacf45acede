package main

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"pawl/chunk"
	"pawl/downloader/faultserver"
	"pawl/store"
)

// This file is what the hazards of disks, states and signals share: to kill
// with something on record, to damage, and to look at what is left.

// statePath is where the state file of the trial is.
func (tr *trial) statePath() string { return filepath.Join(tr.dir, "state", "pawl", "pawl.db") }

// partPath is where the part file of f.bin is.
func (tr *trial) partPath() string { return filepath.Join(tr.dir, "f.bin.part") }

// launch starts a command of the trial's; start makes its own.
func (tr *trial) launch(cmd *exec.Cmd) *running {
	tr.Helper()
	r := &running{tr: tr, cmd: cmd, begun: time.Now(), exited: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &r.out[0]
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &r.out[1]
	}
	if err := cmd.Start(); err != nil {
		tr.Fatal(err)
	}
	r.kill = time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	return r
}

// during runs the program, and does do when the server has sent n more bytes.
func (tr *trial) during(n int64, do func(*running), args ...string) outcome {
	tr.Helper()
	return tr.beside(func(r *running, n int64) {
		if tr.srv.WaitSent(n, r.exited) {
			do(r)
		}
	}, n, args)
}

// at is during, and the server sends nothing meanwhile.
func (tr *trial) at(n int64, do func(*running), args ...string) outcome {
	tr.Helper()
	return tr.beside(func(r *running, n int64) { tr.srv.DoAt(n, r.exited, func() { do(r) }) }, n, args)
}

// beside runs the program and at the same time do, which is told how many bytes
// the server will have sent with n more.
func (tr *trial) beside(do func(*running, int64), n int64, args []string) outcome {
	tr.Helper()
	n += tr.srv.Sent()
	r := tr.start(args...)
	done := make(chan struct{})
	go func() {
		defer close(done)
		do(r, n)
	}()
	o := r.wait()
	<-done
	return o
}

// held returns what the state file says is held of f.bin.
func (tr *trial) held() (held chunk.Set) {
	tr.Helper()
	st, err := store.Open(filepath.Dir(tr.statePath()), store.Options{})
	must(tr, err)
	records, err := st.Unfinished()
	must(tr, err)
	for _, r := range records {
		if filepath.Base(r.Target) == "f.bin" {
			held = r.Held
		}
	}
	return held
}

// quota lets the bodies have n bytes together, and is silent then.
func quota(n int64) faultserver.Fault {
	left := new(atomic.Int64)
	left.Store(n)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(rationed{w, r, left}, r)
		})
	}
}

// rationed is a ResponseWriter with a quota.
type rationed struct {
	http.ResponseWriter
	r    *http.Request
	left *atomic.Int64
}

func (w rationed) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w rationed) Write(b []byte) (int, error) {
	if w.left.Add(-int64(len(b))) < 0 {
		http.NewResponseController(w).Flush()
		<-w.r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	return w.ResponseWriter.Write(b)
}

// killHolding gets f.bin at a moderate rate, kills the program when so much is
// on record and not much more was sent, and returns what is on record then. The
// faults are none afterwards.
func (tr *trial) killHolding(least int64, args ...string) chunk.Set {
	tr.Helper()
	tr.srv.Set(faultserver.Rate(24<<20), quota(least+1<<20-tr.heldLen()))
	o := tr.during(1, func(r *running) {
		for range 1000 {
			if tr.heldLen() >= least {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		r.cmd.Process.Signal(syscall.SIGKILL)
	}, args...)
	tr.srv.Set()
	held := tr.held()
	if o.code != -1 || held.Len() < least {
		tr.Fatalf("exit %d, %d bytes held, before it was killed", o.code, held.Len())
	}
	return held
}

// heldLen is how many bytes are held of f.bin; it makes no state where none is.
func (tr *trial) heldLen() int64 {
	tr.Helper()
	if _, err := os.Stat(tr.statePath()); err != nil {
		return 0
	}
	held := tr.held()
	return held.Len()
}

// somewhere returns a random place for n bytes within held.
func (tr *trial) somewhere(held chunk.Set, n int64) int64 {
	ranges := slices.DeleteFunc(slices.Collect(held.All()), func(r chunk.Range) bool { return r.Len() < n })
	if len(ranges) == 0 {
		tr.Fatalf("no %d bytes in one piece are held: %v", n, held)
	}
	r := ranges[tr.rand.IntN(len(ranges))]
	return r.Off + tr.rand.Int64N(r.Len()-n+1)
}

func must(tr *trial, err error) {
	tr.Helper()
	if err != nil {
		tr.Fatal(err)
	}
}

// write makes path a file of data.
func (tr *trial) write(path string, data []byte) {
	tr.Helper()
	must(tr, os.WriteFile(path, data, 0o600))
}

// read returns the bytes of a file.
func (tr *trial) read(path string) []byte {
	tr.Helper()
	data, err := os.ReadFile(path)
	must(tr, err)
	return data
}

// overwrite writes data into the file at path.
func (tr *trial) overwrite(path string, data []byte, off int64) {
	tr.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(tr, err)
	defer f.Close()
	_, err = f.WriteAt(data, off)
	must(tr, err)
}

// flip flips one bit of the file at path.
func (tr *trial) flip(path string, off int64) {
	tr.Helper()
	f, err := os.Open(path)
	must(tr, err)
	defer f.Close()
	b := []byte{0}
	_, err = f.ReadAt(b, off)
	must(tr, err)
	b[0] ^= 1 << tr.rand.IntN(8)
	tr.overwrite(path, b, off)
}

// random returns n random bytes.
func (tr *trial) random(n int64) []byte {
	b := make([]byte, n)
	faultserver.NewFile(n, tr.rand.Uint64()).ReadAt(b, 0)
	return b
}

// look describes what is at path and, below a directory, in it, so that any
// change shows.
func look(path string) string {
	var b strings.Builder
	filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			fmt.Fprintln(&b, err)
			return nil
		}
		info, _ := d.Info()
		fmt.Fprintln(&b, path, info.Mode())
		switch info.Mode().Type() {
		case fs.ModeSymlink:
			to, _ := os.Readlink(path)
			fmt.Fprintln(&b, "to", to)
		case 0:
			data, _ := os.ReadFile(path)
			fmt.Fprintf(&b, "%d %08x %v\n", len(data), crc32.ChecksumIEEE(data), info.ModTime())
		}
		return nil
	})
	return b.String()
}

// untouched checks that what is at each path is as it was.
func (tr *trial) untouched(paths ...string) func() {
	before := make([]string, len(paths))
	for i, path := range paths {
		before[i] = look(path)
	}
	return func() {
		tr.Helper()
		for i, path := range paths {
			if now := look(path); now != before[i] {
				tr.Errorf("%s is changed, from\n%sto\n%s", path, before[i], now)
			}
		}
	}
}

// refuses checks that the run failed with one of the codes, said why and what
// to do, and did not take long.
func (o outcome) refuses(codes ...int) {
	tr := o.tr
	tr.Helper()
	if !slices.Contains(codes, o.code) {
		tr.Errorf("exit %d, want one of %d", o.code, codes)
	}
	if o.elapsed > soon(5*time.Second) {
		tr.Errorf("it took %v", o.elapsed)
	}
	o.clear()
}

// clear checks that the run ended without a trace of the program's inside, and
// that a failure was told.
func (o outcome) clear() {
	tr := o.tr
	tr.Helper()
	if o.code > 0 && !strings.Contains(o.stderr, "pawl: error: ") {
		tr.Errorf("no error was told")
	}
	for _, inside := range []string{"goroutine ", "panic", "fatal error", "SIGBUS", "SIGSEGV", "runtime error"} {
		if strings.Contains(o.stderr, inside) {
			tr.Errorf("%q was told", inside)
		}
	}
}

// tells checks that the user was told something that has one of the words in it.
func (o outcome) tells(words ...string) {
	o.tr.Helper()
	if !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(o.stderr, w) }) {
		o.tr.Errorf("the user was not told of any of %q", words)
	}
}

// sound checks what must hold however much the state or the part file is
// damaged: success or a clear error, and success with the next run.
func (o outcome) sound(f faultserver.File) {
	tr := o.tr
	tr.Helper()
	o.clear()
	switch o.code {
	case 0:
		o.good("f.bin", f)
	case 3:
		o.fails(3)
	default:
		tr.Errorf("exit %d, want 0 or 3", o.code)
	}
	if strings.Contains(o.stderr, "written by a newer version of pawl") {
		return // one bit can make it that, and then it is not to be touched
	}
	again := tr.run()
	again.clear()
	again.good("f.bin", f)
}

// unsaid forgets what was told, where chance decides about it.
func (tr *trial) unsaid() { tr.outcomes = nil }

// fewRequests checks that no more than one request was made since n.
func (tr *trial) fewRequests(n int) {
	tr.Helper()
	if got := len(tr.srv.Requests()) - n; got > 1 {
		tr.Errorf("%d requests were made, want 1 at most", got)
	}
}

// same reports whether path has exactly these bytes.
func same(path string, data []byte) bool {
	got, err := os.ReadFile(path)
	return err == nil && bytes.Equal(got, data)
}
