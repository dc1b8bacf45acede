package downloader

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"pawl/downloader/failure"
	"pawl/downloader/faultserver"
)

// TestProveWhole: a whole file in answer to a sample proves nothing.
func TestProveWhole(t *testing.T) {
	for _, tag := range []string{"", `W/"a"`} {
		old := faultserver.File{Size: 24 << 20, Seed: 1, ETag: tag}
		next := old
		next.Seed = 2
		r := newInterruptedRig(t, old, 10<<20)
		r.srv.Put("f", next)
		r.srv.Set(faultserver.First(1, faultserver.NoRanges))
		r.mustGet("f", next)
	}
}

// TestChangedUnseen: content changes in mid-download, and no validator tells.
func TestChangedUnseen(t *testing.T) {
	old, now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), time.Now().Truncate(time.Second)
	file := func(seed uint64, tag string, modified time.Time) faultserver.File {
		return faultserver.File{Size: 24 << 20, Seed: seed, ETag: tag, Modified: modified}
	}
	tests := []struct {
		name      string
		old, next faultserver.File
		fault     faultserver.Fault
	}{
		{"none", file(1, "", time.Time{}), file(2, "", time.Time{}), nil},
		{"weak tag", file(1, `W/"a"`, time.Time{}), file(2, `W/"a"`, time.Time{}), nil},
		{"Last-Modified, old", file(1, "", old), file(2, "", old), nil},
		{"Last-Modified, new", file(1, "", now), file(2, "", now), nil},
		{"the tag is gone, If-Range ignored", file(1, `"a"`, time.Time{}), file(2, "", time.Time{}), faultserver.IgnoreIfRange},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.srv.Put("f", tt.old)
			r.opts.Connections = 1
			faults := []faultserver.Fault{faultserver.CutAt(10<<20, func() { r.srv.Put("f", tt.next) })}
			if tt.fault != nil {
				faults = append(faults, tt.fault)
			}
			r.srv.Set(faults...)
			r.mustGet("f", tt.next)
		})
	}
}

// TestChangedStream: a stream that cannot be taken back ends rather than mixes.
func TestChangedStream(t *testing.T) {
	old, next := faultserver.File{Size: 24 << 20, Seed: 1}, faultserver.File{Size: 24 << 20, Seed: 2}
	for _, change := range []bool{false, true} {
		r := newRig(t)
		r.srv.Put("f", old)
		r.srv.Set(faultserver.CutAt(10<<20, func() {
			if change {
				r.srv.Put("f", next)
			}
		}))
		var out bytes.Buffer
		_, err := r.get(t.Context(), "f", func(q *Request) { q.Stream = &out })
		if change && !errors.Is(err, failure.ErrChanged) {
			t.Errorf("changed: got error %v, want ErrChanged", err)
		}
		if !change && (err != nil || old.Check(&out) != nil) {
			t.Errorf("unchanged: got error %v, or other bytes", err)
		}
	}
}

// TestCutWhileCompared: a body that breaks off while it is compared with what is
// held is no change.
func TestCutWhileCompared(t *testing.T) {
	f := faultserver.NewFile(24<<20, 1)
	r := newInterruptedRig(t, f, 10<<20, faultserver.NoLength)
	r.srv.Set(faultserver.NoLength, faultserver.First(1, faultserver.Cut(5<<20)))
	r.mustGet("f", f, func(q *Request) { q.FailOnChange = true })
	if r.countEvents(Restarted) > 0 {
		t.Error("it started over")
	}
}

// TestKeptOnChange: what is promised to be kept is, also where ranges are gone.
func TestKeptOnChange(t *testing.T) {
	for _, moved := range []bool{false, true} {
		r := newRig(t)
		f, other := faultserver.File{Size: 24 << 20, Seed: 1}, faultserver.File{Size: 24 << 20, Seed: 2}
		r.srv.Put("f", f)
		r.srv.Set(faultserver.Rate(40<<20), faultserver.First(1, faultserver.ConnRate(200<<10)))
		if err := r.getUntilSent(12<<20, "f"); !errors.Is(err, errTestCancel) {
			t.Fatal(err)
		}
		before := r.record()
		r.srv.Put("f", other)
		r.srv.Put("g", other)
		r.srv.Set(faultserver.NoRanges)
		_, err := r.get(t.Context(), "", func(q *Request) {
			*q = Request{ID: before.ID, FailOnChange: !moved}
			if moved {
				q.URL = r.srv.URL + "/g"
			}
		})
		if after := r.record(); !errors.Is(err, failure.ErrChanged) || !after.Held.Equal(before.Held) {
			t.Errorf("moved %v: got error %v, held %s, want ErrChanged, %s", moved, err, after.Held, before.Held)
		}
	}
}

// TestDamageIsNoChange: damage to the part file is not told as a change of the
// remote file, and costs one piece.
func TestDamageIsNoChange(t *testing.T) {
	for name, fault := range map[string]faultserver.Fault{"samples": faultserver.NoValidators, "whole": faultserver.NoRanges} {
		f := faultserver.File{Size: 24 << 20, Seed: 1}
		r := newInterruptedRig(t, f, 12<<20)
		damage(t, filepath.Join(r.dir, "f.part"))
		r.srv.Set(fault)
		r.mustGet("f", f, func(q *Request) { q.FailOnChange = true })
		if r.countEvents(Lost) != 1 || r.countEvents(Restarted) != 0 {
			t.Errorf("%s: lost %d times, restarted %d times, want once and never", name, r.countEvents(Lost), r.countEvents(Restarted))
		}
	}
}

// TestMirrorTag: a mirror has a tag of its own for the same bytes.
func TestMirrorTag(t *testing.T) {
	f := faultserver.NewFile(24<<20, 1)
	r := newInterruptedRig(t, f, 12<<20)
	m := f
	m.ETag = `"another"`
	r.srv.Put("g", m)
	r.mustGet("", f, func(q *Request) { *q = Request{ID: r.record().ID, URL: r.srv.URL + "/g"} })
	if over := float64(r.srv.Sent()) / float64(f.Size); over > 0.8 {
		t.Errorf("sent %.2f of the file again", over)
	}
}

// TestImpostor: something small without validators in place of the file is no new
// version of it, whatever it calls itself.
func TestImpostor(t *testing.T) {
	f := faultserver.NewFile(24<<20, 1)
	notice := func(length bool) faultserver.Fault {
		return func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/plain")
				if !length {
					http.NewResponseController(w).Flush()
				}
				w.Write([]byte("down for maintenance, back soon\n"))
			})
		}
	}
	for _, length := range []bool{true, false} {
		r := newInterruptedRig(t, f, 12<<20)
		before := r.record().Held
		r.srv.Set(notice(length))
		if _, err := r.get(t.Context(), "f"); !errors.Is(err, failure.ErrPage) {
			t.Errorf("in the middle: got error %v, want ErrPage", err)
		}
		if after := r.record().Held; !after.Equal(before) {
			t.Errorf("held %s, and now %s", before, after)
		}
		r.srv.Set(faultserver.First(2, notice(length)))
		r.mustGet("f", f)
		if r.countEvents(Restarted) > 0 {
			t.Error("it started over")
		}
		r.srv.Set(notice(length))
		if _, err := r.get(t.Context(), "f"); length && !errors.Is(err, failure.ErrPage) {
			t.Errorf("when it is done: got error %v, want ErrPage", err)
		}
		r.checkFile(filepath.Join(r.dir, "f"), f)
	}
}

// TestChangedSum: the digest is that of the version that came in the end, not of
// bytes that were given up for it.
func TestChangedSum(t *testing.T) {
	old, next := faultserver.NewFile(3<<20, 1), faultserver.NewFile(3<<20, 2)
	r := newInterruptedRig(t, old, 2<<20, faultserver.NoRanges)
	r.srv.Put("f", next)
	r.srv.Set(faultserver.NoRanges, faultserver.Rate(4<<20)) // so that the verifier is ahead
	r.mustGet("f", next, func(q *Request) { q.Sum = digestOf(t, "sha256", next) })
}

// TestKeptWithoutStart: where nothing of the start is held, a whole file cannot be
// compared, and what is promised to be kept is.
func TestKeptWithoutStart(t *testing.T) {
	f, other := faultserver.File{Size: 24 << 20, Seed: 1, ETag: `W/"1"`}, faultserver.File{Size: 24 << 20, Seed: 2, ETag: `W/"2"`}
	r := newInterruptedRig(t, f, 12<<20)
	rec := r.record()
	part, err := r.store.Resume(rec.ID)
	if err != nil {
		t.Fatal(err)
	}
	for i, more := 0, true; more; i++ { // that of piece 0 finds damage
		if i == 0 {
			damage(t, filepath.Join(r.dir, "f.part"))
		}
		if _, more, err = part.VerifyNext(i); err != nil {
			t.Fatal(err)
		}
	}
	part.Close()
	before := r.record().Held
	if before.Prefix() != 0 || before.Len() == 0 {
		t.Fatalf("held %s, want something, but not the start", before)
	}
	r.srv.Put("f", other)
	r.srv.Set(faultserver.NoRanges)
	_, err = r.get(t.Context(), "f", func(q *Request) { q.FailOnChange = true })
	if after := r.record().Held; !errors.Is(err, failure.ErrChanged) || !after.Equal(before) {
		t.Errorf("got error %v, held %s, want ErrChanged, %s", err, after, before)
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
	if err := r.getUntilSent(6<<20, "f"); !errors.Is(err, errTestCancel) {
		t.Fatal(err)
	}
	f.ETag = `"a"`
	r.srv.Put("f", f)
	r.mustGet("f", f)
	if res := r.mustGet("f", f); !res.Current {
		t.Errorf("a second run: %+v", res)
	}
	if n := r.countEvents(Restarted); n != 0 {
		t.Errorf("the download started over %d times, want 0", n)
	}
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
					if err := r.getUntilSent(10<<20, "f"); !errors.Is(err, errTestCancel) {
						t.Fatal(err)
					}
					r.srv.Put("f", tt.next)
				} else {
					r.srv.Set(faultserver.CutAt(1<<20, func() { r.srv.Put("f", tt.next) }), faultserver.Rate(64<<20))
				}
				r.mustGet("f", tt.next)
				if r.countEvents(Restarted) == 0 {
					t.Error("the user was not told of the restart")
				}
			})
		}
	}
}
