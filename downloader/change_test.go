package downloader

// This file tests that a download never mixes two versions of a file, and that it starts over only
// if the file has really changed.

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

// A whole file in response to a request for a sample does not prove that the held bytes are
// still right.
func TestWholeFileIsNoSample(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, etag := range []string{"", `W/"a"`} {
			old := faultserver.File{Size: 24 << 20, Seed: 1, ETag: etag}
			next := old
			next.Seed = 2
			r := newInterruptedRig(t, old, 10<<20)
			r.srv.Put("f", next)
			r.srv.Set(faultserver.First(1, faultserver.NoRanges))
			r.mustGet("f", next)
		}
	})
}

// If the bytes change during a download while the validators stay, are weak or are missing, the
// new version is downloaded, and not a mixture.
func TestChangedWithoutNotice(t *testing.T) {
	old, now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), bubbleStart
	file := func(seed uint64, etag string, modified time.Time) faultserver.File {
		return faultserver.File{Size: 24 << 20, Seed: seed, ETag: etag, Modified: modified}
	}
	tests := []struct {
		name      string
		old, next faultserver.File
		fault     faultserver.Fault
	}{
		{"no validator", file(1, "", time.Time{}), file(2, "", time.Time{}), nil},
		{"the same weak ETag", file(1, `W/"a"`, time.Time{}), file(2, `W/"a"`, time.Time{}), nil},
		{"the same Last-Modified, long ago", file(1, "", old), file(2, "", old), nil},
		{"the same Last-Modified, just now", file(1, "", now), file(2, "", now), nil},
		{"the ETag disappears, and If-Range is ignored", file(1, `"a"`, time.Time{}), file(2, "", time.Time{}), faultserver.IgnoreIfRange},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
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
		})
	}
}

// A download to Request.Stream cannot start over, so it fails if the file changes.
func TestChangedStream(t *testing.T) {
	inBubble(t, func(t *testing.T) {
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
			_, err := r.get(t.Context(), "f", func(q *Request) { q.Into = Stream{&out} })
			if change && !errors.Is(err, failure.ErrChanged) {
				t.Errorf("changed: got error %v, want ErrChanged", err)
			}
			if !change && (err != nil || old.Check(&out) != nil) {
				t.Errorf("unchanged: got error %v, or wrong bytes", err)
			}
		}
	})
}

// If the body is cut while its bytes are compared with the held ones, that is no change.
func TestCutWhileCompared(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := faultserver.NewFile(24<<20, 1)
		r := newInterruptedRig(t, f, 10<<20, faultserver.NoLength)
		r.srv.Set(faultserver.NoLength, faultserver.First(1, faultserver.Cut(5<<20)))
		r.mustGet("f", f, func(q *Request) { q.Existing.FailOnChange = true })
		if r.countEvents(Restarted) > 0 {
			t.Error("the download started over")
		}
	})
}

// If the file has changed and the server no longer serves ranges, Existing.FailOnChange keeps
// the held bytes. A download that continues at another URL keeps them in any case.
func TestFailOnChangeKeepsBytes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, moved := range []bool{false, true} {
			r := newRig(t)
			f, other := faultserver.File{Size: 24 << 20, Seed: 1}, faultserver.File{Size: 24 << 20, Seed: 2}
			r.srv.Put("f", f)
			r.srv.Set(faultserver.Rate(40<<20), faultserver.First(1, faultserver.ConnRate(200<<10)))
			r.opts.SplitUnverified = true // so that the first bytes are missing: their connection is slow
			if err := r.getUntilSent(12<<20, "f"); !errors.Is(err, errTestCancel) {
				t.Fatal(err)
			}
			before := r.record()
			r.srv.Put("f", other)
			r.srv.Put("g", other)
			r.srv.Set(faultserver.NoRanges)
			_, err := r.get(t.Context(), "", func(q *Request) {
				*q = Request{Into: Recorded{before.ID}, Existing: Existing{FailOnChange: !moved}}
				if moved {
					q.URL = r.srv.URL + "/g"
				}
			})
			if after := r.record(); !errors.Is(err, failure.ErrChanged) || !after.Held.Equal(before.Held) {
				t.Errorf("moved %v: got error %v, held %s, want ErrChanged, %s", moved, err, after.Held, before.Held)
			}
		}
	})
}

// A damaged part file does not look like a changed remote file. It costs the damaged piece.
func TestDamageIsNoChange(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for name, fault := range map[string]faultserver.Fault{"samples": faultserver.NoValidators, "whole": faultserver.NoRanges} {
			f := faultserver.File{Size: 24 << 20, Seed: 1}
			r := newInterruptedRig(t, f, 12<<20)
			damage(t, filepath.Join(r.dir, "f.part"))
			r.srv.Set(fault)
			r.mustGet("f", f, func(q *Request) { q.Existing.FailOnChange = true })
			if r.countEvents(Lost) != 1 || r.countEvents(Restarted) != 0 {
				t.Errorf("%s: got %d Lost and %d Restarted events, want 1 and 0", name, r.countEvents(Lost), r.countEvents(Restarted))
			}
		}
	})
}

// A download can continue at another URL that has another ETag for the same bytes.
func TestNewURLWithOtherETag(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := faultserver.NewFile(24<<20, 1)
		r := newInterruptedRig(t, f, 12<<20)
		other := f
		other.ETag = `"another"`
		r.srv.Put("g", other)
		r.mustGet("", f, func(q *Request) { *q = Request{Into: Recorded{r.record().ID}, URL: r.srv.URL + "/g"} })
		if ratio := float64(r.srv.Sent()) / float64(f.Size); ratio > 0.8 {
			t.Errorf("sent bytes / size: got %.2f, want at most 0.8", ratio)
		}
	})
}

// A small text without validators, with or without Content-Length, is no new version of the
// file. An unfinished download retries and then fails, and keeps the held bytes. A finished
// file stays.
func TestSubstituteIsNoChange(t *testing.T) {
	inBubble(t, func(t *testing.T) {
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
				t.Errorf("unfinished file: got error %v, want ErrPage", err)
			}
			if after := r.record().Held; !after.Equal(before) {
				t.Errorf("got held bytes %s, want %s", after, before)
			}
			r.srv.Set(faultserver.First(2, notice(length)))
			r.mustGet("f", f)
			if r.countEvents(Restarted) > 0 {
				t.Error("the download started over")
			}
			r.srv.Set(notice(length))
			if _, err := r.get(t.Context(), "f"); length && !errors.Is(err, failure.ErrPage) {
				t.Errorf("finished file: got error %v, want ErrPage", err)
			}
			r.checkFile(filepath.Join(r.dir, "f"), f)
		}
	})
}

// If the file changes while the verifier hashes the old version, the digest is compared with
// the new version only.
func TestDigestAfterChange(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		old, next := faultserver.NewFile(3<<20, 1), faultserver.NewFile(3<<20, 2)
		r := newInterruptedRig(t, old, 2<<20, faultserver.NoRanges)
		r.srv.Put("f", next)
		r.srv.Set(faultserver.NoRanges, faultserver.Rate(4<<20)) // slow enough for the verifier to follow
		r.mustGet("f", next, func(q *Request) { q.Sum = digestOf(t, "sha256", next) })
	})
}

// Existing.FailOnChange keeps the held bytes also if the first bytes of the file are not held,
// so that a whole file cannot be compared with them.
func TestFailOnChangeKeepsBytesWithoutStart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, other := faultserver.File{Size: 24 << 20, Seed: 1, ETag: `W/"1"`}, faultserver.File{Size: 24 << 20, Seed: 2, ETag: `W/"2"`}
		r := newInterruptedRig(t, f, 12<<20)
		rec := r.record()
		part, err := r.store.Resume(rec.ID)
		if err != nil {
			t.Fatal(err)
		}
		for i, more := 0, true; more; i++ { // the verification of piece 0 finds the damage
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
			t.Fatalf("got held bytes %s, want some, without byte 0", before)
		}
		r.srv.Put("f", other)
		r.srv.Set(faultserver.NoRanges)
		_, err = r.get(t.Context(), "f", func(q *Request) { q.Existing.FailOnChange = true })
		if after := r.record().Held; !errors.Is(err, failure.ErrChanged) || !after.Equal(before) {
			t.Errorf("got error %v, held %s, want ErrChanged, %s", err, after, before)
		}
	})
}

// After the download has started over, received bytes refill the retry budget from byte 0 on.
func TestRetryBudgetAfterChange(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		r.opts.Connections, r.opts.Retry.Tries = 1, 6
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
	})
}

// Apache marks the ETag of a young file as weak, and no longer a second later. The strong ETag
// is no other version.
func TestETagBecomesStrong(t *testing.T) {
	inBubble(t, func(t *testing.T) {
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
			t.Errorf("second run: got %+v, want a current file", res)
		}
		if n := r.countEvents(Restarted); n != 0 {
			t.Errorf("the download started over %d times, want 0", n)
		}
	})
}

// If the remote file changes during a download or before it is resumed, the download starts
// over, reports that, and never mixes the versions.
func TestChanged(t *testing.T) {
	tests := []struct {
		name      string
		old, next faultserver.File
	}{
		{"new etag", faultserver.NewFile(12<<20, 1), faultserver.File{Size: 12 << 20, Seed: 2, ETag: `"b"`}},
		{"larger", faultserver.NewFile(12<<20, 1), faultserver.NewFile(13<<20, 2)},
		{"smaller", faultserver.NewFile(12<<20, 1), faultserver.NewFile(3<<20, 2)},
		{"empty", faultserver.NewFile(12<<20, 1), faultserver.NewFile(0, 2)},
		{"only last-modified", faultserver.File{Size: 12 << 20, Seed: 1, Modified: time.Unix(1e9, 0)}, faultserver.File{Size: 12 << 20, Seed: 2, Modified: time.Unix(11e8, 0)}},
		{"weak etag", faultserver.File{Size: 12 << 20, Seed: 1, ETag: `W/"a"`}, faultserver.File{Size: 12 << 20, Seed: 2, ETag: `W/"b"`}},
	}
	for _, tt := range tests {
		for _, resumed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/resumed=%v", tt.name, resumed), func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					r := newRig(t)
					r.srv.Put("f", tt.old)
					r.srv.Set(faultserver.Rate(64 << 20))
					if resumed {
						if err := r.getUntilSent(5<<20, "f"); !errors.Is(err, errTestCancel) {
							t.Fatal(err)
						}
						r.srv.Put("f", tt.next)
					} else {
						r.srv.Set(faultserver.CutAt(1<<20, func() { r.srv.Put("f", tt.next) }), faultserver.Rate(64<<20))
					}
					r.mustGet("f", tt.next)
					if r.countEvents(Restarted) == 0 {
						t.Error("got no Restarted event")
					}
				})
			})
		}
	}
}
