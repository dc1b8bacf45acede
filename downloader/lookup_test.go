package downloader

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/faultserver"
	"pawl/store"
)

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
