package downloader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/faultserver"
	"pawl/downloader/sched"
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

// TestSizes: every size arrives whole, from servers with and without ranges,
// with and without length, with and without validators.
func TestSizes(t *testing.T) {
	servers := map[string][]faultserver.Fault{
		"ranges":        nil,
		"no ranges":     {faultserver.NoRanges},
		"no length":     {faultserver.NoLength},
		"no validators": {faultserver.NoValidators},
	}
	sizes := []int64{0, 1, sched.FirstRange - 1, sched.FirstRange, sched.FirstRange + 1, 3*sched.FirstRange + 12345}
	for name, faults := range servers {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.srv.Set(faults...)
			for _, size := range sizes {
				f := faultserver.NewFile(size, uint64(size))
				file := fmt.Sprintf("f%d", size)
				r.srv.Put(file, f)
				if name == "no validators" {
					f.Modified = time.Time{}
				}
				res := r.mustGet(file, f)
				if res.Size != size || res.Fetched < size || res.Fetched > size+4<<20 {
					t.Errorf("size %d: got size %d, fetched %d", size, res.Size, res.Fetched)
				}
			}
		})
	}
}

// TestFaults: whatever a server does that one stream would survive, the file
// arrives, and little is fetched twice.
func TestFaults(t *testing.T) {
	const size = 24 << 20
	tests := []struct {
		name   string
		faults []faultserver.Fault
		most   float64 // bytes sent / size; the first answer has no end, and is cut once others have what follows
	}{
		{"plain", nil, 1.4},
		{"cut every 700 kB", []faultserver.Fault{faultserver.Cut(700_000)}, 1.2},
		{"reset every 900 kB", []faultserver.Fault{faultserver.Reset(900_000)}, 4}, // a reset destroys what is under way
		{"three 503 first", []faultserver.Fault{faultserver.First(3, faultserver.Status(503, -1))}, 1.4},
		{"every third request 500", []faultserver.Fault{faultserver.Only(func(n int) bool { return n%3 == 2 }, faultserver.Status(500, -1))}, 1.4},
		{"two connections, 503 beyond", []faultserver.Fault{faultserver.Rate(40 << 20), faultserver.MoreThan(2, faultserver.Status(503, 1))}, 1.2},
		{"two connections, reset beyond", []faultserver.Fault{faultserver.Rate(40 << 20), faultserver.MoreThan(2, faultserver.Reset(0))}, 1.2},
		{"two connections, silence beyond", []faultserver.Fault{faultserver.Rate(40 << 20), faultserver.MoreThan(2, faultserver.Stall(0))}, 1.25},
		{"first connection stalls", []faultserver.Fault{faultserver.Rate(40 << 20), faultserver.First(1, faultserver.Stall(1<<20))}, 1.25},
		{"403 beyond one connection", []faultserver.Fault{faultserver.Rate(40 << 20), faultserver.MoreThan(1, faultserver.Status(403, -1))}, 1.2},
		{"one connection slow", []faultserver.Fault{faultserver.Rate(40 << 20), faultserver.Only(func(n int) bool { return n == 1 }, faultserver.ConnRate(20<<10))}, 1.2},
		{"ranges shifted", []faultserver.Fault{faultserver.SetHeader("Content-Range", "bytes 7-9/100")}, 3},
		{"ranges sometimes ignored", []faultserver.Fault{faultserver.Only(func(n int) bool { return n%2 == 1 }, faultserver.NoRanges)}, 4},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			f := faultserver.NewFile(size, uint64(i))
			r.srv.Put("f", f)
			r.srv.Set(tt.faults...)
			r.mustGet("f", f)
			if over := float64(r.srv.Sent()) / size; over > tt.most+0.001 { // the bodies of errors count, too
				t.Errorf("sent / size: got %.3f, want at most %v", over, tt.most)
			}
		})
	}
}

// TestResume: a cancelled download goes on where it was, and what is recorded
// is not asked for again.
func TestResume(t *testing.T) {
	const size = 32 << 20
	r := newRig(t)
	f := faultserver.NewFile(size, 1)
	r.srv.Put("f", f)
	r.srv.Set(faultserver.Rate(64 << 20))
	for i := range int64(4) {
		if err := r.getUntil((i+1)*6<<20, "f"); !errors.Is(err, errTestCancel) {
			t.Fatalf("get: got error %v, want %v", err, errTestCancel)
		}
		rec, err := r.store.ByURL(r.dir, r.srv.URL+"/f")
		if err != nil {
			t.Fatal(err)
		}
		if rec.State != store.Paused || rec.Held.Len() == 0 {
			t.Errorf("record: got state %q, %d bytes held", rec.State, rec.Held.Len())
		}
	}
	r.mustGet("f", f)
	if over := float64(r.srv.Sent()) / size; over > 1.1 { // what was on its way is lost
		t.Errorf("sent / size: got %.3f, want at most 1.1", over)
	}
}

// TestDone: a finished file costs one small request, a changed one is fetched
// anew and replaced, an altered one is not ours any more.
func TestDone(t *testing.T) {
	r := newRig(t)
	for name, faults := range map[string][]faultserver.Fault{"f": nil, "g": {faultserver.NoValidators}, "h": {faultserver.NoRanges}} {
		r.srv.Set(faults...)
		f := faultserver.NewFile(6<<20, 1)
		r.srv.Put(name, f)
		if name == "g" {
			f.Modified = time.Time{}
		}
		r.mustGet(name, f)
		r.srv.Reset()
		if res := r.mustGet(name, f); !res.Current {
			t.Errorf("%s: a second get is not current: %+v", name, res)
		}
		n, most := 1, int64(64<<10)
		switch name {
		case "g": // nothing but all bytes tells whether it has changed
			n, most = 2, 7<<20
		case "h":
			most = 7 << 20
		}
		if got := len(r.srv.Requests()); got != n || r.srv.Sent() > most {
			t.Errorf("%s: a second get made %d requests, %d bytes, want %d and at most %d", name, got, r.srv.Sent(), n, most)
		}
	}
	r.srv.Set()
	changed := faultserver.NewFile(7<<20, 2)
	r.srv.Put("f", changed)
	r.mustGet("f", changed)

	path := filepath.Join(r.dir, "f")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.get(t.Context(), "f"); !errors.Is(err, store.ErrForeign) {
		t.Errorf("altered file: got error %v, want ErrForeign", err)
	}
	if got, _ := os.ReadFile(path); string(got) != "mine" {
		t.Errorf("the altered file was touched: %q", got)
	}
	r.mustGet("f", changed, func(q *Request) { q.Overwrite = true })
}

// TestChanged: when the remote file changes in the middle, the download starts
// over, and the two versions never mix.
func TestChanged(t *testing.T) {
	tests := []struct {
		name      string
		old, next faultserver.File
	}{
		{"new etag", faultserver.NewFile(24<<20, 1), faultserver.File{Size: 24 << 20, Seed: 2, ETag: `"b"`}},
		{"bigger", faultserver.NewFile(24<<20, 1), faultserver.NewFile(25<<20, 2)},
		{"smaller", faultserver.NewFile(24<<20, 1), faultserver.NewFile(3<<20, 2)},
		{"empty", faultserver.NewFile(24<<20, 1), faultserver.NewFile(0, 2)},
		{"only last-modified", faultserver.File{Size: 24 << 20, Seed: 1, Modified: time.Unix(1e9, 0)}, faultserver.File{Size: 24 << 20, Seed: 2, Modified: time.Unix(11e8, 0)}},
		{"weak etag", faultserver.File{Size: 24 << 20, Seed: 1, ETag: `W/"a"`}, faultserver.File{Size: 24 << 20, Seed: 2, ETag: `W/"b"`}},
	}
	for _, tt := range tests {
		for _, resumed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/resumed=%v", tt.name, resumed), func(t *testing.T) {
				r := newRig(t)
				r.srv.Put("f", tt.old)
				r.srv.Set(faultserver.Rate(64 << 20))
				if resumed {
					if err := r.getUntil(10<<20, "f"); !errors.Is(err, errTestCancel) {
						t.Fatal(err)
					}
					r.srv.Put("f", tt.next)
				} else {
					r.srv.Set(faultserver.CutAt(1<<20, func() { r.srv.Put("f", tt.next) }), faultserver.Rate(64<<20))
				}
				r.mustGet("f", tt.next)
				if r.count(Restarted) == 0 {
					t.Error("the user was not told of the restart")
				}
			})
		}
	}
}

// TestGivesUp: what cannot succeed ends in bounded time with the right kind of
// error, and what has arrived is kept.
func TestGivesUp(t *testing.T) {
	tests := []struct {
		name  string
		fault faultserver.Fault
		want  error
		tries bool // only after all tries
	}{
		{"404", faultserver.Status(404, -1), failure.ErrRefused, false},
		{"401", faultserver.Status(401, -1), failure.ErrAuth, false},
		{"503", faultserver.Status(503, -1), failure.ErrThrottled, true},
		{"500", faultserver.Status(500, -1), failure.ErrRefused, true},
		{"reset", faultserver.Reset(0), failure.ErrNetwork, true},
		{"silence", faultserver.Stall(0), failure.ErrNetwork, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.opts.Tries, r.opts.StallTimeout = 3, 50*time.Millisecond
			r.srv.Put("f", faultserver.NewFile(8<<20, 1))
			r.srv.Set(faultserver.Rate(64 << 20))
			if err := r.getUntil(2<<20, "f"); !errors.Is(err, errTestCancel) {
				t.Fatal(err)
			}
			before, _ := r.store.ByURL(r.dir, r.srv.URL+"/f")
			r.srv.Set(tt.fault)
			r.opts.UserAgent = "again" // a request of the first run may arrive late
			_, err := r.get(t.Context(), "f")
			if !errors.Is(err, tt.want) {
				t.Errorf("got error %v, want %v", err, tt.want)
			}
			want := 1
			if tt.tries {
				want = 3
			}
			n := 0
			for _, q := range r.srv.Requests() {
				if q.Header.Get("User-Agent") == "again" {
					n++
				}
			}
			if n != want {
				t.Errorf("requests: got %d, want %d", n, want)
			}
			rec, err := r.store.ByURL(r.dir, r.srv.URL+"/f")
			if err != nil || rec.State != store.Failed || rec.Reason == "" || !rec.Held.Equal(before.Held) {
				t.Errorf("record: got %v, %+v, held before %v", err, rec, before.Held)
			}
		})
	}
}

// TestRetryAfter: a server that asks to be left alone is.
func TestRetryAfter(t *testing.T) {
	r := newRig(t)
	f := faultserver.NewFile(1<<20, 1)
	r.srv.Put("f", f)
	r.srv.Set(faultserver.First(1, faultserver.Status(429, 1)))
	begun := time.Now()
	r.mustGet("f", f)
	if d := time.Since(begun); d < time.Second {
		t.Errorf("asked again after %v, want 1s at least", d)
	}
	r.opts.RetryAfterMax = 10 * time.Millisecond
	r.srv.Put("g", f)
	r.srv.Set(faultserver.First(1, faultserver.Status(429, 3600)))
	r.mustGet("g", f)
}

// TestSum: three complete downloads with the same wrong digest are the end. Their bytes
// are not held, the file never gets its name, and the right digest fetches it anew.
func TestSum(t *testing.T) {
	r := newRig(t)
	f := faultserver.NewFile(12<<20, 1)
	r.srv.Put("f", f)
	sum := sumOf(t, "sha256", f)
	wrong := sumOf(t, "sha256", faultserver.NewFile(1, 2))
	_, err := r.get(t.Context(), "f", func(q *Request) { q.Sum = wrong })
	if !errors.Is(err, failure.ErrChecksum) {
		t.Errorf("got error %v, want failure.ErrChecksum", err)
	}
	if _, err := os.Lstat(filepath.Join(r.dir, "f")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file has got its name: %v", err)
	}
	if !errors.Is(err, failure.ErrOtherFile) || r.srv.Sent() < 3*f.Size || r.srv.Sent() > 4*f.Size {
		t.Errorf("got error %v after %d bytes, want failure.ErrOtherFile after three times %d", err, r.srv.Sent(), f.Size)
	}
	if rec, err := r.store.ByURL(r.dir, r.srv.URL+"/f"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("record: got %+v, %v, want none", rec, err)
	}
	if _, err := os.Lstat(filepath.Join(r.dir, "f.part")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the part file: %v", err)
	}
	r.mustGet("f", f, func(q *Request) { q.Sum = sum })
	if _, err := r.get(t.Context(), "f", func(q *Request) { q.Sum = wrong }); !errors.Is(err, failure.ErrOtherFile) {
		t.Errorf("a finished file: got error %v, want failure.ErrOtherFile", err)
	}
	r.check(filepath.Join(r.dir, "f"), f)
}

// TestSumHeals: wrong bytes that come once cost one more download, in the same run.
func TestSumHeals(t *testing.T) {
	for _, validators := range []bool{true, false} {
		r := newRig(t)
		f := faultserver.NewFile(12<<20, 1)
		r.srv.Put("f", f)
		faults := []faultserver.Fault{faultserver.CorruptOnce(5 << 20)}
		if !validators {
			f.Modified = time.Time{}
			faults = append(faults, faultserver.NoValidators)
		}
		r.srv.Set(faults...)
		r.mustGet("f", f, func(q *Request) { q.Sum = sumOf(t, "sha256", f) })
		if r.srv.Sent() > 3*f.Size {
			t.Errorf("%d bytes were sent", r.srv.Sent())
		}
		if r.count(Restarted) != 1 {
			t.Errorf("it was not told: %v", r.events)
		}
	}
}

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

// TestStream: a stream is in order, survives breaks, and is checked.
func TestStream(t *testing.T) {
	for name, faults := range map[string][]faultserver.Fault{
		"plain": nil, "cut": {faultserver.Cut(900_000)}, "no ranges": {faultserver.NoRanges}, "no length": {faultserver.NoLength},
		"no ranges, cut once": {faultserver.NoRanges, faultserver.First(1, faultserver.Cut(5<<20))},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			f := faultserver.NewFile(9<<20, 1)
			r.srv.Put("f", f)
			r.srv.Set(faults...)
			var out bytes.Buffer
			_, err := r.get(t.Context(), "f", func(q *Request) { q.Stream, q.Sum = &out, sumOf(t, "sha256", f) })
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Check(&out); err != nil {
				t.Error(err)
			}
			if recs, err := r.store.Unfinished(); len(recs) != 0 || err != nil {
				t.Errorf("records: %v, %v", recs, err)
			}
		})
	}
}

// TestRedirect: later requests go where the asked URL led; when that link
// expires, the asked one is resolved anew; credentials stay at home.
func TestRedirect(t *testing.T) {
	r := newRig(t)
	other := faultserver.New()
	defer other.Close()
	f := faultserver.NewFile(16<<20, 1)
	other.Put("real", f)
	r.srv.Set(faultserver.Redirect("/f", other.URL+"/real?token=1"))
	other.Set(faultserver.Rate(64<<20), faultserver.Only(func(n int) bool { return n == 2 }, faultserver.Status(403, -1)))
	r.mustGet("f", f, func(q *Request) {
		q.Header = http.Header{"Authorization": {"secret"}, "X-Token": {"secret"}, "Accept": {"x/y"}}
	})
	if n := len(r.srv.Requests()); n != 1 && n != 2 {
		t.Errorf("the asked URL was asked %d times, want once, and again when the link expired", n)
	}
	for _, q := range other.Requests() {
		if q.Header.Get("Authorization") != "" || q.Header.Get("X-Token") != "" || q.Header.Get("Referer") != "" {
			t.Errorf("a secret went to another host: %v", q.Header)
		}
		if q.Header.Get("Accept") != "x/y" {
			t.Errorf("Accept: got %q", q.Header.Get("Accept"))
		}
	}
	if got := r.srv.Requests()[0].Header.Get("Authorization"); got != "secret" {
		t.Errorf("Authorization at home: got %q", got)
	}
}

// TestTwoAtOnce: of two downloads to one target one works, the other says so.
func TestTwoAtOnce(t *testing.T) {
	r := newRig(t)
	f := faultserver.NewFile(16<<20, 1)
	r.srv.Put("f", f)
	r.srv.Set(faultserver.Rate(32 << 20))
	errs := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := r.get(t.Context(), "f")
			errs <- err
		}()
	}
	first, second := <-errs, <-errs
	if !errors.Is(first, store.ErrBusy) || second != nil {
		t.Errorf("got errors %v and %v, want ErrBusy soon and nil", first, second)
	}
	r.check(filepath.Join(r.dir, "f"), f)
}

// TestManyAtOnce: files share the connections of a host.
func TestManyAtOnce(t *testing.T) {
	r := newRig(t)
	r.opts.Connections = 3
	d := New(r.store, r.opts)
	defer d.Close()
	r.srv.Set(faultserver.Rate(100 << 20))
	var wg sync.WaitGroup
	for i := range 8 {
		name := fmt.Sprintf("f%d", i)
		f := faultserver.NewFile(int64(i)<<20+5, uint64(i))
		r.srv.Put(name, f)
		wg.Go(func() {
			if _, err := d.Get(t.Context(), Request{URL: r.srv.URL + "/" + name, Dir: r.dir}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			r.check(filepath.Join(r.dir, name), f)
		})
	}
	wg.Wait()
	if n := r.srv.Peak(); n > 3 {
		t.Errorf("%d requests at once, want at most 3", n)
	}
	if s := d.Snapshot(); len(s) != 0 {
		t.Errorf("the snapshot has downloads that are over: %v", s)
	}
}
