package downloader

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/faultserver"
	"pawl/store"
)

// TestStrayAnswers: now and then a server answers a range with the whole file,
// or says that there is none. That costs a request, not what is held.
func TestStrayAnswers(t *testing.T) {
	const size = 40 << 20
	sometimes := func(n int) bool { return n%5 == 3 }
	for name, fault := range map[string]faultserver.Fault{
		"200": faultserver.NoRanges,
		"416": func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Range", "bytes */41943040")
				w.Header().Set("ETag", faultserver.NewFile(size, 1).ETag)
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			f := faultserver.NewFile(size, 1)
			r.srv.Put("f", f)
			r.srv.Set(faultserver.Rate(100<<20), faultserver.Only(sometimes, fault))
			r.mustGet("f", f)
			if n := r.count(Restarted); n != 0 {
				t.Errorf("started over %d times", n)
			}
			if over := float64(r.srv.Sent()) / size; over > 1.5 {
				t.Errorf("sent / size: got %.3f, want at most 1.5", over)
			}
		})
	}
}

// TestRangesEnd: a server that has stopped sending ranges for good is asked for
// one stream, and what is held of the same version is not written again.
func TestRangesEnd(t *testing.T) {
	const size = 32 << 20
	r := newRig(t)
	f := faultserver.NewFile(size, 1)
	r.srv.Put("f", f)
	r.srv.Set(faultserver.Rate(100 << 20))
	if err := r.getUntil(20<<20, "f"); !errors.Is(err, errTestCancel) {
		t.Fatal(err)
	}
	r.srv.Set(faultserver.NoRanges)
	r.mustGet("f", f)
	if n := r.count(Restarted); n != 0 {
		t.Errorf("started over %d times", n)
	}
}

// TestLiesAgain: a second run of a file from a server that lies about ranges.
func TestLiesAgain(t *testing.T) {
	r := newRig(t)
	f := faultserver.NewFile(6<<20, 1)
	r.srv.Put("f", f)
	r.srv.Set(faultserver.SetHeader("Content-Range", "bytes 7-9/100"))
	r.mustGet("f", f)
	if res := r.mustGet("f", f); !res.Current {
		t.Errorf("second run: %+v", res)
	}
}

// TestCrowdedHost: a file whose first connection is refused, because others
// have all that the server allows, waits and does not fail.
func TestCrowdedHost(t *testing.T) {
	r := newRig(t)
	r.opts.Tries = 3
	r.srv.Set(faultserver.Rate(16<<20), faultserver.MoreThan(1, faultserver.Status(503, -1)))
	d := New(r.store, r.opts)
	defer d.Close()
	var wg sync.WaitGroup
	for _, name := range []string{"a", "b", "c"} {
		f := faultserver.NewFile(8<<20, 1)
		r.srv.Put(name, f)
		wg.Go(func() {
			if _, err := d.Get(t.Context(), Request{URL: r.srv.URL + "/" + name, Dir: r.dir}); err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			r.check(filepath.Join(r.dir, name), f)
		})
	}
	wg.Wait()
}

// TestServiceFails: when the state can no longer be written, the download ends
// soon, whatever its connection is doing.
func TestServiceFails(t *testing.T) {
	r := newRig(t)
	r.srv.Put("f", faultserver.NewFile(64<<20, 1))
	r.srv.Set(faultserver.NoRanges, faultserver.Rate(4<<20))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if !r.srv.WaitSent(1<<20, stop) {
			return
		}
		if err := os.Rename(r.state, r.state+".gone"); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(r.state, nil, 0o600); err != nil {
			t.Error(err)
		}
	})
	_, err := r.get(t.Context(), "f")
	close(stop)
	wg.Wait()
	if !errors.Is(err, store.ErrState) {
		t.Errorf("got error %v, want ErrState", err)
	}
	if n := r.srv.Sent(); n > 16<<20 {
		t.Errorf("%d bytes were sent before it ended", n)
	}
}

// TestFinishingSum: a file that only had to be renamed is checked all the same.
func TestFinishingSum(t *testing.T) {
	r := newRig(t)
	f := faultserver.NewFile(1<<20, 1)
	r.srv.Put("f", f)
	r.srv.Set(faultserver.Rate(2 << 20))
	path := filepath.Join(r.dir, "f")
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		if r.srv.WaitSent(1<<19, stop) {
			os.WriteFile(path, []byte("in the way"), 0o600)
		}
	}()
	if _, err := r.get(t.Context(), "f"); !errors.Is(err, store.ErrForeign) {
		t.Fatalf("got error %v, want ErrForeign", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	wrong, err := chunk.ParseSum("md5:" + strings.Repeat("0", 32))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.get(t.Context(), "f", func(q *Request) { q.Sum = wrong }); !errors.Is(err, failure.ErrChecksum) {
		t.Errorf("got error %v, want failure.ErrChecksum", err)
	}
}

// TestStreamBreaks: what ends a download that cannot be resumed is told as what
// it is, of the network and not of the file.
func TestStreamBreaks(t *testing.T) {
	for name, stream := range map[string]io.Writer{"file": nil, "stream": &bytes.Buffer{}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.opts.Tries = 3
			r.srv.Put("f", faultserver.NewFile(4<<20, 1))
			r.srv.Set(faultserver.NoValidators, faultserver.NoRanges, faultserver.Cut(1<<20))
			_, err := r.get(t.Context(), "f", func(q *Request) { q.Stream = stream })
			if !errors.Is(err, failure.ErrNetwork) || errors.Is(err, failure.ErrChanged) || strings.Contains(err.Error(), "nil") {
				t.Errorf("got error %v, want failure.ErrNetwork", err)
			}
		})
	}
}

// TestSkipPaced: bytes that are read to be thrown away are under the limit, too.
func TestSkipPaced(t *testing.T) {
	r := newRig(t)
	f := faultserver.NewFile(4<<20, 1)
	r.srv.Put("f", f)
	r.srv.Set(faultserver.NoRanges, faultserver.Rate(32<<20))
	if err := r.getUntil(3<<20, "f"); !errors.Is(err, errTestCancel) {
		t.Fatal(err)
	}
	r.opts.LimitRate = 4 << 20
	begun := time.Now()
	r.mustGet("f", f)
	if d := time.Since(begun); d < 700*time.Millisecond {
		t.Errorf("4 MiB at 4 MiB/s took %v", d)
	}
}

// TestPatienceAfterChange: after starting over, bytes count as progress again.
func TestPatienceAfterChange(t *testing.T) {
	r := newRig(t)
	r.opts.Connections, r.opts.Tries = 1, 6
	old, next := faultserver.NewFile(24<<20, 1), faultserver.NewFile(24<<20, 2)
	r.srv.Put("f", old)
	r.srv.Set(faultserver.Rate(64<<20), faultserver.Cut(7<<20))
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		if r.srv.WaitSent(12<<20, stop) {
			r.srv.Set(faultserver.Only(func(n int) bool { return n%2 == 0 }, faultserver.Status(503, -1)), faultserver.Cut(1<<20))
			r.srv.Put("f", next)
		}
	}()
	r.mustGet("f", next)
}

// TestWeakThenStrong: Apache marks the tag of a young file as weak, and a second
// later no more. That is no other version.
func TestWeakThenStrong(t *testing.T) {
	const size = 16 << 20
	r := newRig(t)
	f := faultserver.File{Size: size, Seed: 1, ETag: `W/"a"`}
	r.srv.Put("f", f)
	r.srv.Set(faultserver.Rate(64 << 20))
	if err := r.getUntil(6<<20, "f"); !errors.Is(err, errTestCancel) {
		t.Fatal(err)
	}
	f.ETag = `"a"`
	r.srv.Put("f", f)
	r.mustGet("f", f)
	if res := r.mustGet("f", f); !res.Current {
		t.Errorf("a second run: %+v", res)
	}
	if n := r.count(Restarted); n != 0 {
		t.Errorf("started over %d times", n)
	}
}

// TestUserRange: a Range of the user's own does not make a part the whole.
func TestUserRange(t *testing.T) {
	r := newRig(t)
	f := faultserver.NewFile(6<<20, 1)
	r.srv.Put("f", f)
	r.srv.Set(faultserver.SetHeader("Content-Range", "bytes 7-9/100")) // so that the whole is asked for in the end
	r.mustGet("f", f, func(q *Request) { q.Header = http.Header{"Range": {"bytes=0-99"}} })
}

// TestLastCommitFails: a cancelled download whose last commit fails says so, for
// what has arrived since the one before is not kept.
func TestLastCommitFails(t *testing.T) {
	r := newRig(t)
	r.srv.Put("f", faultserver.NewFile(4<<20, 1))
	r.srv.Set(faultserver.Rate(400 << 10)) // too slow for a commit to be due before the end
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if r.srv.WaitSent(150<<10, stop) {
			if err := os.Rename(r.state, r.state+".gone"); err != nil {
				t.Error(err)
			}
			if err := os.WriteFile(r.state, nil, 0o600); err != nil {
				t.Error(err)
			}
			cancel(errTestCancel)
		}
	})
	_, err := r.get(ctx, "f")
	close(stop)
	wg.Wait()
	cancel(nil)
	if !errors.Is(err, store.ErrState) {
		t.Errorf("got error %v, want ErrState", err)
	}
}
