package downloader

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"pawl/downloader/failure"
	"pawl/downloader/faultserver"
)

// If a download cannot be resumed and the server always cuts the body, the error is of kind
// ErrNetwork, and not ErrChanged.
func TestCutWithoutRanges(t *testing.T) {
	for name, to := range map[string]Destination{"file": File{Dir: t.TempDir()}, "stream": Stream{&bytes.Buffer{}}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t)
				r.opts.Retry.Tries = 3
				r.srv.Put("f", faultserver.NewFile(4<<20, 1))
				r.srv.Set(faultserver.NoValidators, faultserver.NoRanges, faultserver.Cut(1<<20))
				_, err := r.get(t.Context(), "f", func(q *Request) { q.Into = to })
				if !errors.Is(err, failure.ErrNetwork) || errors.Is(err, failure.ErrChanged) || strings.Contains(err.Error(), "nil") {
					t.Errorf("got error %v, want ErrNetwork", err)
				}
			})
		})
	}
}

// A stream gets the bytes in order, survives cut bodies, and is verified. No record is left.
func TestStream(t *testing.T) {
	for name, faults := range map[string][]faultserver.Fault{
		"plain": nil, "cut": {faultserver.Cut(900_000)}, "no ranges": {faultserver.NoRanges}, "no length": {faultserver.NoLength},
		"no ranges, cut once": {faultserver.NoRanges, faultserver.First(1, faultserver.Cut(5<<20))},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t)
				f := faultserver.NewFile(9<<20, 1)
				r.srv.Put("f", f)
				r.srv.Set(faults...)
				var out bytes.Buffer
				_, err := r.get(t.Context(), "f", func(q *Request) { q.Into, q.Sum = Stream{&out}, digestOf(t, "sha256", f) })
				if err != nil {
					t.Fatal(err)
				}
				if err := f.Check(&out); err != nil {
					t.Error(err)
				}
				if recs, err := r.store.Unfinished(); len(recs) != 0 || err != nil {
					t.Errorf("records: got %v, error %v, want none", recs, err)
				}
			})
		})
	}
}
