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

// A complete download that only has to be renamed is verified if the next request has a digest.
func TestDigestOfFinishingFile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
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
			t.Errorf("got error %v, want ErrChecksum", err)
		}
	})
}

// A cancelled download resumes where it was, and the recorded bytes are not requested again.
func TestResume(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const size = 32 << 20
		r := newRig(t)
		f := faultserver.NewFile(size, 1)
		r.srv.Put("f", f)
		r.srv.Set(faultserver.Rate(64 << 20))
		for i := range int64(4) {
			if err := r.getUntilSent((i+1)*6<<20, "f"); !errors.Is(err, errTestCancel) {
				t.Fatalf("run %d: got error %v, want %v", i+1, err, errTestCancel)
			}
			rec, err := r.store.ByURL(r.dir, r.srv.URL+"/f")
			if err != nil {
				t.Fatal(err)
			}
			if rec.State != store.Paused || rec.Held.Len() == 0 {
				t.Errorf("record: got state %q and %d held bytes, want %q and some bytes", rec.State, rec.Held.Len(), store.Paused)
			}
		}
		r.mustGet("f", f)
		if ratio := float64(r.srv.Sent()) / size; ratio > 1.1 { // the bytes in flight are lost
			t.Errorf("sent bytes / size: got %.3f, want at most 1.1", ratio)
		}
	})
}

// A second download of a finished file costs one small request if the server has a validator.
// If the remote file has changed, the new version replaces the finished file. If somebody has
// altered the finished file, only Replace replaces it.
func TestFinishedFile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
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
				t.Errorf("%s: second run: got %+v, want a current file", name, res)
			}
			requests, maxSent := 1, int64(64<<10)
			switch name {
			case "g": // without a validator, only a comparison of all bytes shows that the file has not changed
				requests, maxSent = 2, 7<<20
			case "h":
				maxSent = 7 << 20
			}
			if got := len(r.srv.Requests()); got != requests || r.srv.Sent() > maxSent {
				t.Errorf("%s: second run: got %d requests and %d bytes, want %d and at most %d", name, got, r.srv.Sent(), requests, maxSent)
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
			t.Errorf("altered file: got %q, want %q", got, "mine")
		}
		r.mustGet("f", changed, func(q *Request) { q.Existing.InTheWay = Replace })
	})
}

// A finished file whose name the server chose is not fetched again under a URL with another signature.
// A URL that differs in another parameter is another file, whatever its validators.
func TestResignedURL(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		f := faultserver.NewFile(100_000, 1)
		r.srv.Put("f", f)
		r.srv.Set(faultserver.SetHeader("Content-Disposition", `attachment; filename="g.bin"`))
		first := r.mustGet("f?X-Amz-Date=1&X-Amz-Signature=a", f)
		again := r.mustGet("f?X-Amz-Date=2&X-Amz-Signature=b", f)
		if again.Target != first.Target || !again.Current {
			t.Errorf("other signature: got %+v, want %q as it is", again, first.Target)
		}
		if rec, err := r.store.ByTarget(again.Target); err != nil || rec.URL != r.srv.URL+"/f?X-Amz-Date=2&X-Amz-Signature=b" {
			t.Errorf("record: got %q, %v, want the second URL", rec.URL, err)
		}
		if other := r.mustGet("f?version=2", f); other.Target == first.Target {
			t.Errorf("another file: got %q as well", other.Target)
		}
	})
}

// Of two downloads to the same target, one ends with ErrBusy at once, and the other one
// succeeds.
func TestTargetBusy(t *testing.T) {
	inBubble(t, func(t *testing.T) {
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
			t.Errorf("got errors %v and %v, want ErrBusy first, then nil", first, second)
		}
		r.checkFile(filepath.Join(r.dir, "f"), f)
	})
}
