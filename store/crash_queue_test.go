package store

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sectorSize is the largest part of a write that a disk does whole, in bytes.
const sectorSize = 512

// TestCrashInQueue cuts the power at every point of transactions of the queue. The state file must have the entries
// from before the transaction or from after it, must not count as damaged, and must accept the next transaction.
//
// bbolt writes the new pages, syncs, writes one of the two meta pages, which is the commit point, and syncs. So before
// the commit point any sectors of the new pages may be on disk, and after it all of them.
func TestCrashInQueue(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(memDir(t), "state")
	s, err := Open(dir, Options{})
	must(t, err)
	_, err = s.Queue()
	must(t, err)
	path := filepath.Join(dir, FileName)
	many := func(from, to int, value string) map[string][]byte {
		m := make(map[string][]byte)
		for i := from; i < to; i++ {
			if m[fmt.Sprintf("%016x", i)] = nil; value != "" {
				m[fmt.Sprintf("%016x", i)] = []byte(strings.Repeat(value, 40))
			}
		}
		return m
	}
	rng := rand.New(rand.NewPCG(7, 0))
	for i, change := range []map[string][]byte{
		many(0, 1, "first"), many(1, 60, "second"), many(30, 35, "changed"), many(10, 50, ""), many(0, 1, ""), many(100, 300, "more"), many(0, 300, ""),
	} {
		before, err := s.Queue()
		must(t, err)
		old, err := os.ReadFile(path)
		must(t, err, s.ChangeQueue(change))
		after, err := s.Queue()
		must(t, err)
		written, err := os.ReadFile(path)
		must(t, err)
		for name, c := range cuts(t, rng, old, written) {
			got := reopenQueue(t, fmt.Sprintf("transaction %d, %s", i, name), c.file)
			if want := map[bool]map[string][]byte{false: before, true: after}[c.committed]; !maps.EqualFunc(got, want, bytes.Equal) {
				t.Errorf("transaction %d, %s: %d entries, want %d", i, name, len(got), len(want))
			}
		}
	}
}

// A cut is a state file as a power failure in a transaction may leave it.
type cut struct {
	file      []byte
	committed bool
}

// cuts returns the files that a power failure may leave, when the file before a transaction is old and the one
// after it is written.
func cuts(t *testing.T, rng *rand.Rand, old, written []byte) map[string]cut {
	t.Helper()
	page := os.Getpagesize()
	padded := append(bytes.Clone(old), make([]byte, max(0, len(written)-len(old)))...)
	meta := -1              // offset of the meta page of the transaction
	var data []int          // offsets of the other sectors that it writes
	pages := map[int]bool{} // numbers of their pages
	for off := 0; off < len(written); off += sectorSize {
		switch end := min(off+sectorSize, len(written)); {
		case bytes.Equal(padded[off:end], written[off:end]):
		case off >= 2*page:
			data = append(data, off)
			pages[off/page] = true
		case meta >= 0:
			t.Fatal("the transaction writes more than one sector of the meta pages")
		default:
			meta = off
		}
	}
	if meta < 0 || len(pages) < 2 {
		t.Fatalf("the transaction writes a meta page at %d and %d other pages", meta, len(pages))
	}
	with := func(sectors []int) []byte {
		file := bytes.Clone(padded)
		for _, off := range sectors {
			copy(file[off:], written[off:off+sectorSize])
		}
		return file
	}
	all := map[string]cut{
		"nothing written":         {old, false},
		"only grown":              {padded, false},
		"all but the commit":      {with(data), false},
		"committed":               {with(append(slices.Clone(data), meta)), true},
		"in the middle of a meta": {append(with(data)[:meta], slices.Concat(written[meta:meta+40], with(data)[meta+40:])...), false},
	}
	for n := range pages {
		of := func(off int) bool { return off/page == n }
		all[fmt.Sprintf("only page %d", n)] = cut{with(slices.DeleteFunc(slices.Clone(data), func(off int) bool { return !of(off) })), false}
		all[fmt.Sprintf("all but page %d", n)] = cut{with(slices.DeleteFunc(slices.Clone(data), of)), false}
	}
	for i := range 8 {
		some := slices.DeleteFunc(slices.Clone(data), func(int) bool { return rng.IntN(2) == 0 })
		all[fmt.Sprintf("some sectors, %d", i)] = cut{with(some), false}
	}
	return all
}

// reopenQueue returns the entries in a state file, and then changes one of them.
func reopenQueue(t *testing.T, name string, file []byte) map[string][]byte {
	t.Helper()
	dir := memDir(t)
	defer os.RemoveAll(dir)
	must(t, os.WriteFile(filepath.Join(dir, FileName), file, 0o600))
	s, err := Open(dir, Options{Warn: func(msg string) { t.Errorf("%s: %s", name, msg) }})
	must(t, err)
	got, err := s.Queue()
	must(t, err, s.ChangeQueue(map[string][]byte{"next": []byte("1")}))
	next, err := s.Queue()
	if _, ok := got["next"]; err != nil || ok || len(next) != len(got)+1 || string(next["next"]) != "1" {
		t.Errorf("%s: the next transaction: %v, %d entries after %d", name, err, len(next), len(got))
	}
	return got
}
