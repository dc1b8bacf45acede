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

// soundState returns the bytes of a state file with so many records that its
// trees have more than one level, and with free pages. They are always the same.
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

// addRecord returns a transaction that writes the nth record.
func addRecord(n int) func(tx) error {
	return func(t tx) error {
		rec := Record{ID: ID(fmt.Sprintf("%016x", n)), URL: "https://example.com/", State: Active}
		rec.Target = fmt.Sprintf("/directory/file%d", n)
		return errors.Join(t.put(&rec), t.putIndex(&rec))
	}
}

const metaPage = 0x04

// wipe fills b with noise.
func wipe(b []byte, rng *rand.Rand) {
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
}

// wipeKind wipes all pages of a kind.
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

// soundAndFree returns the state that tests damage, if they can: they would hang
// for long where TestDamagedStateUnlocks fails.
func validStateUnlocked(t *testing.T) []byte {
	t.Helper()
	sound := validState(t)
	if err := lockAfterPanic(t, sound); err != nil {
		t.Fatalf("the state file stays locked after a panic: %v", err)
	}
	return sound
}

// A state file that is damaged as a whole is set aside, and work goes on with a
// new one, whether it is first read or written.
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

// A panic of bbolt does not leave the file locked: the next transaction of every
// process would wait for as long as this process lives.
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

// lockAfterPanic returns why a state file, on which withDB has panicked, cannot
// be locked.
func lockAfterPanic(t *testing.T, state []byte) error {
	t.Helper()
	l := newFixture(t)
	must(t, os.WriteFile(l.dbPath(), state, 0o600))
	l.wantErr("withDB", withDB(l.dbPath(), false, panics), errDamaged)
	lock, err := osFS{}.Lock(l.dbPath(), false) // bbolt's lock is of the same kind
	if err == nil {
		lock.Close()
	}
	return err
}

// panics is what a transaction does to which a damaged page has come.
func panics[DB any](DB) error { panic("a damaged page") }

// Where pages within the file are damaged, calls may fail or records be missing,
// but nothing panics or hangs, and what fails is said to be the state file.
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
			for seed := range uint64(25) {
				rng := rand.New(rand.NewPCG(seed, 0))
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

// wipeElements wipes the position, the size and what else a page says of its
// first elements. A size stays below 64 KiB: bbolt sets as much memory aside as
// it says, up to 4 GiB, before it can see that it is wrong.
func wipeElements(page []byte, rng *rand.Rand) {
	for e := range slices.Chunk(page[16:16+16*(1+rng.IntN(10))], 16) {
		wipe(e, rng)
		for _, high := range []int{6, 7, 10, 11, 14, 15} {
			e[high] = 0
		}
	}
}

// useDamaged makes a new download on a damaged state file and returns what kept
// it from that.
func (l *fixture) useDamaged(readFirst bool) error {
	l.t.Helper()
	return l.withinTimeout(func() error { return l.newDownload(readFirst) })
}

// unhung returns what f returns. It fails the test on a panic or when nothing
// comes back.
func (l *fixture) withinTimeout(f func() error) error {
	l.t.Helper()
	done := make(chan error, 1)
	go func() { // joined below, unless it hangs
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
		l.store.Remove("0000000000000007", false) // whatever its path says by now
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
