package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pawl/chunk"
)

// A history is a state file together with everything that was ever on record in it.
type history struct {
	state []byte
	held  map[ID][]string // held ranges of each commit, oldest first
}

func historyID(n int) ID { return ID(fmt.Sprintf("%016x", n)) }

// newHistory returns a state file with trees of several levels, pages of checksums, and
// records that have grown. Its bytes are always the same.
func newHistory(t *testing.T) history {
	t.Helper()
	l := newFixture(t)
	dir, err := filepath.Abs("/directory")
	must(t, err)
	h := history{held: map[ID][]string{}}
	for commit := range 4 {
		// One bucket per transaction, because bbolt writes the buckets of a transaction in
		// the random order of a map.
		for _, put := range []func(tx, *Record, []byte) error{
			func(t tx, r *Record, _ []byte) error { return t.put(r) },
			func(t tx, r *Record, _ []byte) error {
				return t.Bucket(targetBucket).Put([]byte(r.Target), []byte(r.ID))
			},
			func(t tx, r *Record, _ []byte) error {
				return t.Bucket(urlBucket).Put(urlKey(dir, r.URL), []byte(r.ID))
			},
			func(t tx, r *Record, sums []byte) error { return t.putPages(r.ID, []sumPage{{0, addChecksum(sums)}}) },
		} {
			must(t, l.store.write(func(t tx) (err error) {
				for n := range 60 {
					rec := Record{ID: historyID(n), URL: fmt.Sprintf("https://example.com/%d", n), State: Active}
					rec.Target, rec.Size = filepath.Join(dir, fmt.Sprint("file", n)), 1<<30
					rec.Held = chunk.NewSet(chunk.Range{Off: int64(n), End: int64(100 * (n + commit + 1))})
					h.held[rec.ID] = append(h.held[rec.ID], rec.Held.String())
					err = errors.Join(err, put(t, &rec, bytes.Repeat([]byte{byte(n), byte(commit), 1, 2}, sumsPerPage)))
				}
				return err
			}))
		}
	}
	h.state, err = os.ReadFile(l.dbPath())
	must(t, err)
	return h
}

// check checks that every record that can be read from a damaged state file was committed
// at some time, and that a new download can be created on it.
func (h history) check(t *testing.T, damaged []byte) {
	t.Helper()
	l := newFixture(t)
	must(t, os.WriteFile(l.dbPath(), damaged, 0o600))
	err := l.withinTimeout(func() error {
		records, err := l.store.Records()
		for _, rec := range records {
			h.wantCommitted(t, rec)
		}
		errs := []error{err}
		for id := range h.held {
			rec, err := l.store.Get(id)
			if err == nil {
				h.wantCommitted(t, rec)
			} else if !errors.Is(err, ErrNotFound) {
				errs = append(errs, err)
			}
		}
		return errors.Join(append(errs, l.newDownload(false))...)
	})
	if err != nil {
		t.Errorf("got error %v", err)
		return
	}
	l.wantDone()
}

func (h history) wantCommitted(t *testing.T, rec Record) {
	t.Helper()
	if !slices.Contains(h.held[rec.ID], rec.Held.String()) {
		t.Errorf("%s: got %q held, want one of %q", rec.ID, rec.Held, h.held[rec.ID])
	}
}

// A zeroed page of the state file costs the records on it. Nothing panics or hangs, no
// false record appears, and work continues.
func TestZeroedPages(t *testing.T) {
	h := newHistory(t)
	if len(h.state) < 20*os.Getpagesize() {
		t.Fatalf("state file: got %d bytes, want more", len(h.state))
	}
	first, step := sampled(3)
	for off := first * 4096; off < len(h.state); off += step * 4096 {
		t.Run(fmt.Sprint(off/4096), func(t *testing.T) {
			t.Parallel()
			b := bytes.Clone(h.state)
			clear(b[off:][:4096])
			h.check(t, b)
		})
	}
}

// The same with flipped bits.
func TestFlippedBits(t *testing.T) {
	h := newHistory(t)
	first, step := sampled(3)
	for seed := first; seed < 60; seed += step {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(uint64(seed), 0))
			b := bytes.Clone(h.state)
			for range 1 + seed%4*20 {
				b[rng.IntN(len(b))] ^= 1 << rng.IntN(8)
			}
			h.check(t, b)
		})
	}
}

// The same with a value that lies beyond the end of the file.
func TestValueBeyondEnd(t *testing.T) {
	h := newHistory(t)
	const leafPage, position = 0x02, 16 + 4 // of the first element
	for off := 0; off < len(h.state); off += os.Getpagesize() {
		if binary.NativeEndian.Uint16(h.state[off+8:]) == leafPage {
			t.Run(fmt.Sprint(off/os.Getpagesize()), func(t *testing.T) {
				t.Parallel()
				b := bytes.Clone(h.state)
				binary.NativeEndian.PutUint32(b[off+position:], 1<<26)
				h.check(t, b)
			})
		}
	}
}
