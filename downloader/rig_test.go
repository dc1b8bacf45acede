package downloader

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pawl/chunk"
	"pawl/downloader/faultserver"
	"pawl/store"
)

// A rig is a fault server, a store and a directory to download into.
type rig struct {
	t     *testing.T
	srv   *faultserver.Server
	store *store.Store
	dir   string
	state string // of the store
	opts  Options

	mu     sync.Mutex
	events []Event
}

// newRig returns a rig whose waits are short. It checks at the end that no
// goroutine is left.
func newRig(t *testing.T) *rig {
	t.Helper()
	before := runtime.NumGoroutine()
	r := &rig{t: t, srv: faultserver.New(), dir: t.TempDir()}
	r.opts = Options{RetryWait: 5 * time.Millisecond, RetryMaxWait: 20 * time.Millisecond, StallTimeout: 300 * time.Millisecond}
	r.opts.OnEvent = func(e Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.events = append(r.events, e)
	}
	r.state = filepath.Join(t.TempDir(), "state")
	var err error
	if r.store, err = store.Open(r.state, store.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.srv.Close()
		deadline := time.Now().Add(5 * time.Second)
		for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
			runtime.Gosched()
		}
		if n := runtime.NumGoroutine(); n > before {
			buf := make([]byte, 1<<20)
			t.Errorf("%d goroutines are left, %d before:\n%s", n, before, buf[:runtime.Stack(buf, true)])
		}
	})
	return r
}

// get downloads name with a new Downloader.
func (r *rig) get(ctx context.Context, name string, change ...func(*Request)) (Result, error) {
	d := New(r.store, r.opts)
	defer d.Close()
	req := Request{URL: r.srv.URL + "/" + name, Dir: r.dir}
	for _, c := range change {
		c(&req)
	}
	return d.Get(ctx, req)
}

// mustGet downloads name and checks the file.
func (r *rig) mustGet(name string, f faultserver.File, change ...func(*Request)) Result {
	r.t.Helper()
	res, err := r.get(r.t.Context(), name, change...)
	if err != nil {
		r.t.Fatalf("get %s: %v", name, err)
	}
	r.check(res.Target, f)
	return res
}

// check compares a file on disk with what is served.
func (r *rig) check(path string, f faultserver.File) {
	r.t.Helper()
	got, err := os.Open(path)
	if err != nil {
		r.t.Fatal(err)
	}
	defer got.Close()
	if err := f.Check(got); err != nil {
		r.t.Errorf("%s: %v", path, err)
	}
	if _, err := os.Lstat(path + ".part"); err == nil {
		r.t.Errorf("%s.part is left", path)
	}
	if info, err := got.Stat(); err == nil && !f.Modified.IsZero() && !info.ModTime().Equal(f.Modified) {
		r.t.Errorf("modification time: got %v, want %v", info.ModTime(), f.Modified)
	}
}

// kinds returns the kinds of the events so far.
func (r *rig) count(k Kind) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, e := range r.events {
		if e.Kind == k {
			n++
		}
	}
	return n
}

// getUntil downloads name and cancels when the server has sent n bytes.
func (r *rig) getUntil(n int64, name string, change ...func(*Request)) error {
	ctx, cancel := context.WithCancelCause(r.t.Context())
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if r.srv.WaitSent(n, stop) {
			cancel(errTestCancel)
		}
	})
	_, err := r.get(ctx, name, change...)
	close(stop)
	wg.Wait()
	cancel(nil)
	return err
}

var errTestCancel = errors.New("cancelled by the test")

func sumOf(t *testing.T, algo string, f faultserver.File) chunk.Sum {
	t.Helper()
	zero, err := chunk.ParseSum(algo + ":" + strings.Repeat("0", 64))
	if err != nil {
		t.Fatal(err)
	}
	h := zero.NewHash()
	io.Copy(h, io.NewSectionReader(f, 0, f.Size))
	return zero.Of(h)
}

// warned reports whether a warning has the text.
func (r *rig) warned(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Kind == Warning && strings.Contains(e.Err.Error(), text) {
			return true
		}
	}
	return false
}

// begun returns a rig with a download of f that was interrupted after n bytes.
func begun(t *testing.T, f faultserver.File, n int64, faults ...faultserver.Fault) *rig {
	t.Helper()
	r := newRig(t)
	r.srv.Put("f", f)
	r.srv.Set(append([]faultserver.Fault{faultserver.Rate(64 << 20)}, faults...)...)
	if err := r.getUntil(n, "f"); !errors.Is(err, errTestCancel) {
		t.Fatal(err)
	}
	r.srv.Set()
	r.srv.Reset()
	return r
}

// record returns the one record of a rig.
func (r *rig) record() store.Record {
	r.t.Helper()
	all, err := r.store.Unfinished()
	if err != nil || len(all) != 1 {
		r.t.Fatalf("got %d records, %v, want one", len(all), err)
	}
	return all[0]
}

// damage overwrites a few bytes near the start of a file.
func damage(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("damage"), 100); err != nil {
		t.Fatal(err)
	}
}
