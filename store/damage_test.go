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
	"time"
)

// validState returns a state file whose trees have several levels, and which has free
// pages. Its bytes are always the same.
func validState(t *testing.T) []byte {
	t.Helper()
	l := newFixture(t)
	for n := range 300 {
		must(t, l.store.write(addRecord(n%100)))
	}
	b, err := os.ReadFile(l.dbPath())
	must(t, err)
	return b
}

// addRecord returns a transaction that writes record n.
func addRecord(n int) func(tx) error {
	return func(t tx) error {
		rec := Record{ID: ID(fmt.Sprintf("%016x", n)), URL: "https://example.com/", State: Active}
		rec.Target = fmt.Sprintf("/directory/file%d", n)
		return errors.Join(t.put(&rec), t.putIndex(&rec))
	}
}

const metaPage = 0x04

// wipe fills b with random bytes.
func wipe(b []byte, rng *rand.Rand) {
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
}

// wipeKind returns a function that wipes all pages of a kind.
func wipeKind(kind uint16) func([]byte, *rand.Rand) []byte {
	return func(b []byte, rng *rand.Rand) []byte {
		for page := range slices.Chunk(b, os.Getpagesize()) {
			if binary.NativeEndian.Uint16(page[8:]) == kind {
				wipe(page, rng)
			}
		}
		return b
	}
}

// validStateUnlocked returns validState, or skips the test if a damaged file would stay
// locked: the test would then wait for the lock timeout many times.
// TestDamagedStateUnlocks fails in that case.
func validStateUnlocked(t *testing.T) []byte {
	t.Helper()
	sound := validState(t)
	if err := lockAfterPanic(t, sound); err != nil {
		t.Fatalf("the state file stays locked after a panic: %v", err)
	}
	return sound
}

// A completely damaged state file is renamed, and work continues with a new one, whether
// the first access reads or writes.
func TestDamagedState(t *testing.T) {
	sound := validStateUnlocked(t)
	for name, damage := range map[string]func([]byte, *rand.Rand) []byte{
		"empty":        func(b []byte, _ *rand.Rand) []byte { return b[:0] },
		"garbage":      func([]byte, *rand.Rand) []byte { return []byte("not a state file\n") },
		"long garbage": func(b []byte, _ *rand.Rand) []byte { return bytes.Repeat([]byte("no\n"), len(b)/3) },
		"zeroed":       func(b []byte, _ *rand.Rand) []byte { return make([]byte, len(b)) },
		"one page":     func(b []byte, _ *rand.Rand) []byte { return b[:os.Getpagesize()] },
		"cut":          func(b []byte, _ *rand.Rand) []byte { return b[:5*os.Getpagesize()] },
		"a few bytes":  func(b []byte, _ *rand.Rand) []byte { return b[:100] },
		"no meta":      wipeKind(metaPage),
		"no freelist":  wipeKind(freelistPage),
	} {
		for _, readFirst := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, read first %t", name, readFirst), func(t *testing.T) {
				t.Parallel()
				damaged := damage(bytes.Clone(sound), rand.New(rand.NewPCG(1, 0)))
				l := newFixture(t)
				must(t, os.WriteFile(l.dbPath(), damaged, 0o600))
				if err := l.useDamaged(readFirst); err != nil {
					t.Fatalf("new download: got error %v", err)
				}
				l.wantDone()
				l.wantWarnings(1)
				aside, _ := filepath.Glob(l.dbPath() + ".damaged-*")
				if len(aside) != 1 {
					t.Fatalf("set aside: got %q, want one file", aside)
				}
				if kept, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(kept, damaged) {
					t.Errorf("file set aside: got %d bytes, %v, want the %d of the damaged one", len(kept), err, len(damaged))
				}
			})
		}
	}
}

// A panic of bbolt does not leave the file locked. Otherwise the transactions of all
// processes would wait until this process ends.
func TestDamagedStateUnlocks(t *testing.T) {
	sound := validState(t)
	for name, damaged := range map[string][]byte{
		"panic on opening":       wipeKind(freelistPage)(bytes.Clone(sound), rand.New(rand.NewPCG(1, 0))),
		"panic in a transaction": sound,
	} {
		if err := lockAfterPanic(t, damaged); err != nil {
			t.Errorf("%s: lock of the state file: got %v, want it free", name, err)
		}
	}
}

// lockAfterPanic returns the error of locking a state file on which withDB has panicked.
func lockAfterPanic(t *testing.T, state []byte) error {
	t.Helper()
	l := newFixture(t)
	must(t, os.WriteFile(l.dbPath(), state, 0o600))
	l.wantErr("withDB", withDB(l.dbPath(), false, panics), errDamaged)
	lock, err := osFS{}.Lock(l.dbPath(), false) // bbolt uses the same kind of lock
	if err == nil {
		lock.Close()
	}
	return err
}

// panics is a transaction that meets a damaged page.
func panics[DB any](DB) error { panic("a damaged page") }

// If some pages of the file are damaged, calls may fail and records may be missing. But
// nothing panics or hangs, and all errors are ErrState.
func TestDamagedPages(t *testing.T) {
	sound := validStateUnlocked(t)
	for name, damage := range map[string]func([]byte, *rand.Rand){
		"whole pages":  wipe,
		"page headers": func(page []byte, rng *rand.Rand) { wipe(page[:16], rng) },
		"page kinds":   func(page []byte, rng *rand.Rand) { page[8] = 1 << rng.IntN(5) },
		"page counts":  func(page []byte, rng *rand.Rand) { wipe(page[10:12], rng) },
		"elements":     wipeElements,
		"data":         func(page []byte, rng *rand.Rand) { wipe(page[1024:][:1+rng.IntN(1000)], rng) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, step := sampled(3)
			for seed := first; seed < 25; seed += step {
				rng := rand.New(rand.NewPCG(uint64(seed), 0))
				b := bytes.Clone(sound)
				for range 1 + rng.IntN(5) {
					size := os.Getpagesize()
					damage(b[size*rng.IntN(len(b)/size):][:size], rng)
				}
				l := newFixture(t)
				must(t, os.WriteFile(l.dbPath(), b, 0o600))
				err := l.useDamaged(rng.IntN(2) == 0)
				if err != nil && !errors.Is(err, ErrState) {
					t.Errorf("seed %d: got error %v, want none or %v", seed, err, ErrState)
				}
				if aside, _ := filepath.Glob(l.dbPath() + ".damaged-*"); len(aside) > len(l.warned) {
					t.Errorf("seed %d: got %q set aside and warnings %q", seed, aside, l.warned)
				}
			}
		})
	}
}

// wipeElements wipes the positions and sizes of the first elements of a page. Sizes stay
// below 64 KiB, because bbolt allocates as much memory as a size says, up to 4 GiB,
// before it notices the damage.
func wipeElements(page []byte, rng *rand.Rand) {
	for e := range slices.Chunk(page[16:16+16*(1+rng.IntN(10))], 16) {
		wipe(e, rng)
		for _, high := range []int{6, 7, 10, 11, 14, 15} {
			e[high] = 0
		}
	}
}

// useDamaged creates a download on a damaged state file and returns the first error.
func (l *fixture) useDamaged(readFirst bool) error {
	l.t.Helper()
	return l.withinTimeout(func() error { return l.newDownload(readFirst) })
}

// withinTimeout returns the result of f. It fails the test if f panics or does not
// return.
func (l *fixture) withinTimeout(f func() error) error {
	l.t.Helper()
	done := make(chan error, 1)
	go func() { // joined below, unless f hangs
		done <- panicking(f)
	}()
	select {
	case err := <-done:
		if errors.Is(err, errPanicked) {
			l.t.Fatal(err)
		}
		return err
	case <-time.After(lockTimeout * 2 / 3):
		l.t.Fatal("hangs")
		return nil
	}
}

func (l *fixture) newDownload(readFirst bool) error {
	if readFirst {
		l.store.Records() // may fail
		l.store.ByTarget("/directory/file7")
		l.store.Remove("0000000000000007", false) // its path may be damaged
	}
	p, err := l.store.Create(l.record())
	if err != nil {
		return err
	}
	defer p.Close()
	if _, err := p.WriteAt(l.data, 0); err != nil {
		return err
	}
	if err := p.Commit(0); err != nil {
		return err
	}
	return p.Finish(time.Time{})
}
