package downloader

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pawl/downloader/failure"
	"pawl/downloader/faultserver"
	"pawl/store"
)

// This file is about ways to mix two versions of a file, or to take something
// else for a change. Each was found by trying.

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

// TestProveWhole: a whole file in answer to a sample proves nothing.
func TestProveWhole(t *testing.T) {
	for _, tag := range []string{"", `W/"a"`} {
		old := faultserver.File{Size: 24 << 20, Seed: 1, ETag: tag}
		next := old
		next.Seed = 2
		r := begun(t, old, 10<<20)
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
			t.Errorf("changed: got error %v, want failure.ErrChanged", err)
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
	r := begun(t, f, 10<<20, faultserver.NoLength)
	r.srv.Set(faultserver.NoLength, faultserver.First(1, faultserver.Cut(5<<20)))
	r.mustGet("f", f, func(q *Request) { q.FailOnChange = true })
	if r.count(Restarted) > 0 {
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
		if err := r.getUntil(12<<20, "f"); !errors.Is(err, errTestCancel) {
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
			t.Errorf("moved %v: got error %v, held %s, want failure.ErrChanged, %s", moved, err, after.Held, before.Held)
		}
	}
}

// TestDamageIsNoChange: damage to the part file is not told as a change of the
// remote file, and costs one piece.
func TestDamageIsNoChange(t *testing.T) {
	for name, fault := range map[string]faultserver.Fault{"samples": faultserver.NoValidators, "whole": faultserver.NoRanges} {
		f := faultserver.File{Size: 24 << 20, Seed: 1}
		r := begun(t, f, 12<<20)
		damage(t, filepath.Join(r.dir, "f.part"))
		r.srv.Set(fault)
		r.mustGet("f", f, func(q *Request) { q.FailOnChange = true })
		if r.count(Lost) != 1 || r.count(Restarted) != 0 {
			t.Errorf("%s: lost %d times, restarted %d times, want once and never", name, r.count(Lost), r.count(Restarted))
		}
	}
}

// TestMirrorTag: a mirror has a tag of its own for the same bytes.
func TestMirrorTag(t *testing.T) {
	f := faultserver.NewFile(24<<20, 1)
	r := begun(t, f, 12<<20)
	m := f
	m.ETag = `"another"`
	r.srv.Put("g", m)
	r.mustGet("", f, func(q *Request) { *q = Request{ID: r.record().ID, URL: r.srv.URL + "/g"} })
	if over := float64(r.srv.Sent()) / float64(f.Size); over > 0.8 {
		t.Errorf("sent %.2f of the file again", over)
	}
}

// TestBroken: a URL that fails for ever is given up, also while another download
// of its host goes on.
func TestBroken(t *testing.T) {
	r := newRig(t)
	r.opts.Tries = 2
	d := New(r.store, r.opts)
	defer d.Close()
	r.srv.Put("slow", faultserver.NewFile(4<<20, 1))
	release := make(chan struct{})
	r.srv.Set(func(next http.Handler) http.Handler {
		broken := faultserver.Status(500, -1)(next)
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if strings.HasSuffix(q.URL.Path, "slow") {
				<-release
				next.ServeHTTP(w, q)
				return
			}
			broken.ServeHTTP(w, q)
		})
	})
	d.opts.StallTimeout = time.Minute
	var wg sync.WaitGroup
	wg.Go(func() { d.Get(t.Context(), Request{URL: r.srv.URL + "/slow", Dir: r.dir}) })
	for len(r.srv.Requests()) == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, err := d.Get(t.Context(), Request{URL: r.srv.URL + "/broken", Dir: r.dir}); !errors.Is(err, failure.ErrRefused) {
		t.Errorf("got error %v, want failure.ErrRefused", err)
	}
	close(release) // only now
	wg.Wait()
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
		r := begun(t, f, 12<<20)
		before := r.record().Held
		r.srv.Set(notice(length))
		if _, err := r.get(t.Context(), "f"); !errors.Is(err, failure.ErrPage) {
			t.Errorf("in the middle: got error %v, want failure.ErrPage", err)
		}
		if after := r.record().Held; !after.Equal(before) {
			t.Errorf("held %s, and now %s", before, after)
		}
		r.srv.Set(faultserver.First(2, notice(length)))
		r.mustGet("f", f)
		if r.count(Restarted) > 0 {
			t.Error("it started over")
		}
		r.srv.Set(notice(length))
		if _, err := r.get(t.Context(), "f"); length && !errors.Is(err, failure.ErrPage) {
			t.Errorf("when it is done: got error %v, want failure.ErrPage", err)
		}
		r.check(filepath.Join(r.dir, "f"), f)
	}
}

// TestChangedSum: the digest is that of the version that came in the end, not of
// bytes that were given up for it.
func TestChangedSum(t *testing.T) {
	old, next := faultserver.NewFile(3<<20, 1), faultserver.NewFile(3<<20, 2)
	r := begun(t, old, 2<<20, faultserver.NoRanges)
	r.srv.Put("f", next)
	r.srv.Set(faultserver.NoRanges, faultserver.Rate(4<<20)) // so that the verifier is ahead
	r.mustGet("f", next, func(q *Request) { q.Sum = sumOf(t, "sha256", next) })
}

// TestKeptWithoutStart: where nothing of the start is held, a whole file cannot be
// compared, and what is promised to be kept is.
func TestKeptWithoutStart(t *testing.T) {
	f, other := faultserver.File{Size: 24 << 20, Seed: 1, ETag: `W/"1"`}, faultserver.File{Size: 24 << 20, Seed: 2, ETag: `W/"2"`}
	r := begun(t, f, 12<<20)
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
		t.Errorf("got error %v, held %s, want failure.ErrChanged, %s", err, after, before)
	}
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
