package downloader

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/faultserver"
)

// piecesOf returns the SHA-1 digests of the pieces of f.
func piecesOf(t *testing.T, f faultserver.File, length int64) chunk.PieceHashes {
	t.Helper()
	zero, err := chunk.ParseSum("sha1:" + strings.Repeat("0", 40))
	if err != nil {
		t.Fatal(err)
	}
	var digests []byte
	for off := int64(0); off < f.Size; off += length {
		h := zero.NewHash()
		io.Copy(h, io.NewSectionReader(f, off, min(length, f.Size-off)))
		digests = h.Sum(digests)
	}
	p, err := chunk.NewPieceHashes("sha1", length, digests)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// always changes the byte at off in each body, so that a source has a wrong copy of the file.
func always(off int64) faultserver.Fault { return faultserver.CorruptTimes(math.MaxInt64, off) }

// A wrong piece is found as soon as it is complete, and is fetched again: the file costs about one
// piece more, and a warning names the source of the wrong byte, whether it is the origin or a mirror,
// and whether or not there is a digest of the whole file.
func TestWrongPiece(t *testing.T) {
	const size, large = 6<<20 + 5, 16<<20 + 5 // only a large file is worth a mirror
	tests := map[string]struct {
		origin, mirror []faultserver.Fault
		once           int64 // offset of a byte that the origin sends wrong once; 0 for none
		noMirror       bool
		size, length   int64
		fromMirror     bool  // the mirror is to blame
		most           int64 // bytes beyond the file, in pieces
	}{
		"the origin":               {origin: []faultserver.Fault{always(1 << 20)}},
		"the origin, first bytes":  {origin: []faultserver.Fault{always(0)}},
		"the origin, last byte":    {origin: []faultserver.Fault{always(size - 1)}},
		"the origin, large pieces": {origin: []faultserver.Fault{always(1 << 20)}, length: 4 << 20},
		"the origin, odd pieces":   {origin: []faultserver.Fault{always(1 << 20)}, length: 1234567},
		"the origin, two bytes":    {origin: []faultserver.Fault{always(0), always(1 << 20)}, most: 2},
		"the mirror":               {mirror: []faultserver.Fault{faultserver.CorruptEvery(8<<20, 6<<20+7)}, size: large, fromMirror: true},
		"damage on the way":        {once: 3 << 20, noMirror: true},
	}
	for name, tt := range tests {
		for _, whole := range []bool{false, true} {
			if whole && name != "the origin" && name != "the mirror" {
				continue
			}
			t.Run(name, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					size := max(tt.size, size)
					r := newMirrorRig(t, size)
					origin := append(slices.Clone(tt.origin), faultserver.Rate(10<<20))
					if tt.once > 0 {
						origin = append(origin, faultserver.CorruptOnce(tt.once))
					}
					r.srv.Set(origin...)
					r.mirror.Set(append(tt.mirror, faultserver.Rate(10<<20))...)
					length := max(tt.length, 1)
					if tt.length == 0 {
						length = 256 << 10
					}
					r.mustGet("f", r.f, func(q *Request) {
						q.Pieces = piecesOf(t, r.f, length)
						if !tt.noMirror {
							q.Mirrors = []string{r.mirrorURL()}
						}
						if whole {
							q.Sum = digestOf(t, "sha256", r.f)
						}
					})
					// A sample of a mirror and the ends of cut bodies are less than a MiB.
					most := size + max(tt.most, 1)*length + 1<<20
					if sent := r.srv.Sent() + r.mirror.Sent(); sent > most {
						t.Errorf("got %d bytes, want at most %d", sent, most)
					}
					acted := r.srv.FaultCount() + r.mirror.FaultCount()
					blamed := r.srv.URL + "/f"
					if tt.fromMirror {
						blamed = r.mirrorURL()
					}
					if acted > 0 && !r.warned(blamed) || acted == 0 && !strings.HasPrefix(name, "the origin, last") {
						t.Errorf("%d faults acted, got events %v, want a warning that names %s", acted, r.events, blamed)
					}
				})
			})
		}
	}
}

// Digests of pieces that contradict the digest of the whole file are not used. Without such a
// digest, or if it is wrong, too, the download fails.
func TestPiecesOfAnotherFile(t *testing.T) {
	const size = 4 << 20
	for _, whole := range []bool{true, false} {
		for _, mirrored := range []bool{true, false} {
			t.Run(fmt.Sprintf("whole %v, mirrored %v", whole, mirrored), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					r := newMirrorRig(t, size)
					other := faultserver.NewFile(size, 2)
					res, err := r.get(t.Context(), "f", func(q *Request) {
						q.Pieces = piecesOf(t, other, 256<<10)
						if mirrored {
							q.Mirrors = []string{r.mirrorURL()}
						}
						if whole {
							q.Sum = digestOf(t, "sha256", r.f)
						}
					})
					if most := int64(size + 3<<20); r.srv.Sent()+r.mirror.Sent() > most {
						t.Errorf("whole %v, mirrored %v: got %d bytes, want at most %d", whole, mirrored, r.srv.Sent()+r.mirror.Sent(), most)
					}
					if !whole {
						if !errors.Is(err, failure.ErrChecksum) {
							t.Errorf("mirrored %v: got error %v, want ErrChecksum", mirrored, err)
						}
						return
					}
					if err != nil || !r.warned("are not used") {
						t.Fatalf("mirrored %v: got error %v, events %v, want a warning", mirrored, err, r.events)
					}
					r.checkFile(res.Target, r.f)
				})
			})
		}
	}
}

// Two mirrors may have copied the same wrong byte; a third one has the right piece.
func TestWrongPieceOfTwoSources(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newMirrorRig(t, 4<<20)
		third := r.newServer()
		third.Put("f", r.f)
		r.srv.Set(always(2<<20), faultserver.Rate(10<<20))
		r.mirror.Set(always(2<<20), faultserver.Rate(10<<20))
		r.mustGet("f", r.f, func(q *Request) {
			q.Pieces = piecesOf(t, r.f, 256<<10)
			q.Mirrors = []string{r.mirrorURL(), third.URL + "/f"}
		})
		if !r.warned(r.srv.URL+"/f") || !r.warned(r.mirrorURL()) || r.warned(third.URL) {
			t.Errorf("got events %v, want warnings about two sources", r.events)
		}
	})
}

// A server without ranges sends a wrong piece again with the whole file.
func TestWrongPieceNoRanges(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newMirrorRig(t, 4<<20)
		r.srv.Set(faultserver.CorruptOnce(3<<20), faultserver.NoRanges)
		r.mustGet("f", r.f, func(q *Request) { q.Pieces = piecesOf(t, r.f, 256<<10) })
		if r.srv.FaultCount() == 0 {
			t.Error("no fault acted")
		}
	})
}

// The bytes of an earlier run are verified, too, whether or not they are the whole file.
func TestWrongPieceOfEarlierRun(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := faultserver.NewFile(8<<20, 1)
		r := newInterruptedRig(t, f, 4<<20, always(100_000))
		r.mustGet("f", f, func(q *Request) { q.Pieces = piecesOf(t, f, 256<<10) })
		if !r.warned("an earlier run") {
			t.Errorf("got events %v, want a warning about an earlier run", r.events)
		}
		if sent := r.srv.Sent(); sent > 6<<20 {
			t.Errorf("got %d bytes, want at most 6 MiB", sent)
		}
	})
}

// A size that becomes known only at the end does not keep the pieces from being verified.
func TestWrongPieceUnknownSize(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newMirrorRig(t, 2<<20)
		r.srv.Set(faultserver.CorruptOnce(1<<20), faultserver.NoLength, faultserver.NoRanges)
		r.mustGet("f", r.f, func(q *Request) { q.Pieces = piecesOf(t, r.f, 256<<10) })
		if r.srv.FaultCount() == 0 {
			t.Error("no fault acted")
		}
	})
}
