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

// A wrong piece is not written to a stream, but fetched again; if it is wrong each time, the stream ends
// with the right pieces before it.
func TestStreamOfPieces(t *testing.T) {
	const length = 1 << 20
	for name, tt := range map[string]struct {
		faults []faultserver.Fault
		right  bool
	}{
		"plain":                {nil, true},
		"cut":                  {[]faultserver.Fault{faultserver.Cut(900_000)}, true},
		"no ranges, cut once":  {[]faultserver.Fault{faultserver.NoRanges, faultserver.First(1, faultserver.Cut(5<<20+99))}, true},
		"wrong once":           {[]faultserver.Fault{faultserver.CorruptOnce(3<<20 + 7)}, true},
		"wrong at the end":     {[]faultserver.Fault{faultserver.CorruptOnce(6<<20 + 4)}, true},
		"wrong once, no range": {[]faultserver.Fault{faultserver.NoRanges, faultserver.CorruptOnce(3<<20 + 7)}, true},
		"always wrong":         {[]faultserver.Fault{always(3<<20 + 7)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t)
				f := faultserver.NewFile(6<<20+5, 1)
				r.srv.Put("f", f)
				r.srv.Set(tt.faults...)
				var out bytes.Buffer
				_, err := r.get(t.Context(), "f", func(q *Request) { q.Into, q.Pieces = Stream{&out}, piecesOf(t, f, length) })
				if tt.right {
					if err != nil {
						t.Fatal(err)
					}
					if err := f.Check(&out); err != nil {
						t.Error(err)
					}
					return
				}
				if !errors.Is(err, failure.ErrChecksum) || out.Len() != 3<<20 {
					t.Errorf("got error %v and %d bytes, want ErrChecksum and the right pieces", err, out.Len())
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
