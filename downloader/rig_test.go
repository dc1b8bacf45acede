package downloader

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pawl/chunk"
	"pawl/downloader/faultserver"
	"pawl/store"
)

// A rig is a fault server, a store, and a directory into which tests download the files of the
// server.
type rig struct {
	t     *testing.T
	net   *faultserver.Network
	srv   *faultserver.Server
	store *store.Store
	dir   string
	state string // path of the directory of the store
	opts  Options

	mu     sync.Mutex
	events []Event // guarded by mu
}

// bubbleStart is the time at which a test in a bubble begins. It is after the Last-Modified of
// all files.
var bubbleStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// inBubble runs a test with a fake clock (testing/synctest): its waits take no time, however slow
// the machine is. The test fails if a goroutine is left at its end.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(bubbleStart))
		t.Cleanup(func() { time.Sleep(time.Second) }) // connections that were closed just now end
		test(t)
	})
}

// newRig returns a rig with short delays and timeouts.
func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, net: faultserver.NewNetwork(), dir: t.TempDir()}
	r.srv = r.newServer()
	r.opts = Options{Retry: RetryPolicy{Wait: 5 * time.Millisecond, MaxWait: 20 * time.Millisecond}, Timeouts: Timeouts{Stall: 300 * time.Millisecond}, Dial: r.net.Dial}
	r.opts.OnEvent = func(e Event) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.events = append(r.events, e)
	}
	r.state = filepath.Join(memDir(t), "state")
	var err error
	if r.store, err = store.Open(r.state, store.Options{}); err != nil {
		t.Fatal(err)
	}
	return r
}

// memDir returns a temporary directory in memory, if the system has such a file system. A download
// commits every half MiB, and a busy disk would take most of the time of a test.
func memDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "pawl-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// newServer starts a further server, until the end of the test.
func (r *rig) newServer() *faultserver.Server {
	s := r.net.New()
	r.t.Cleanup(s.Close)
	return s
}

// get downloads the file called name with a new Downloader. Each change edits the request.
func (r *rig) get(ctx context.Context, name string, change ...func(*Request)) (Result, error) {
	d := New(r.store, r.opts)
	defer d.Close()
	req := Request{URL: r.srv.URL + "/" + name, Into: File{Dir: r.dir}}
	for _, c := range change {
		c(&req)
	}
	return d.Get(ctx, req)
}

// mustGet downloads the file called name, and compares it with f. Each change edits the
// request.
func (r *rig) mustGet(name string, f faultserver.File, change ...func(*Request)) Result {
	r.t.Helper()
	res, err := r.get(r.t.Context(), name, change...)
	if err != nil {
		r.t.Fatalf("get %s: %v", name, err)
	}
	r.checkFile(res.Target, f)
	return res
}

// checkFile compares the finished file at path with f, in its bytes and its modification time,
// and reports a part file that is left.
func (r *rig) checkFile(path string, f faultserver.File) {
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
		r.t.Errorf("the part file %s.part still exists", path)
	}
	if info, err := got.Stat(); err == nil && !f.Modified.IsZero() && !info.ModTime().Equal(f.Modified) {
		r.t.Errorf("modification time: got %v, want %v", info.ModTime(), f.Modified)
	}
}

// countEvents returns how many events of kind k there have been.
func (r *rig) countEvents(k Kind) int {
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

// getUntilSent downloads the file called name, and cancels the download when the server has
// sent n bytes.
func (r *rig) getUntilSent(n int64, name string, change ...func(*Request)) error {
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

// digestOf returns the digest of f. The algorithm must have 64 hex digits.
func digestOf(t *testing.T, algo string, f faultserver.File) chunk.Sum {
	t.Helper()
	zero, err := chunk.ParseSum(algo + ":" + strings.Repeat("0", 64))
	if err != nil {
		t.Fatal(err)
	}
	h := zero.NewHash()
	io.Copy(h, io.NewSectionReader(f, 0, f.Size))
	return zero.Of(h)
}

// warned reports whether a warning contains text.
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

// newInterruptedRig returns a rig with a download of f that was interrupted when the server had
// sent n bytes.
func newInterruptedRig(t *testing.T, f faultserver.File, n int64, faults ...faultserver.Fault) *rig {
	t.Helper()
	r := newRig(t)
	r.srv.Put("f", f)
	r.srv.Set(append([]faultserver.Fault{faultserver.Rate(64 << 20)}, faults...)...)
	if err := r.getUntilSent(n, "f"); !errors.Is(err, errTestCancel) {
		t.Fatal(err)
	}
	r.srv.Set()
	r.srv.Reset()
	return r
}

// record returns the record of the only unfinished download.
func (r *rig) record() store.Record {
	r.t.Helper()
	all, err := r.store.Unfinished()
	if err != nil || len(all) != 1 {
		r.t.Fatalf("got %d records, error %v, want 1 record", len(all), err)
	}
	return all[0]
}

// damage overwrites six bytes near the start of the file at path.
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
