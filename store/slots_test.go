package store

import (
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"
)

// slotsOf returns the Slots of several simulated processes. Separately opened files
// exclude each other like those of separate processes.
func slotsOf(t testing.TB, state string, n, processes int) []*Slots {
	t.Helper()
	all := make([]*Slots, processes)
	for i := range all {
		s, err := Open(state, Options{})
		if err != nil {
			t.Fatal(err)
		}
		all[i] = s.Slots("host:80", n)
		t.Cleanup(func() { all[i].Close() })
	}
	return all
}

// take takes slots until none is left, and returns them.
func take(s *Slots) (taken []io.Closer) {
	for {
		c, ok := s.Try()
		if !ok {
			return taken
		}
		taken = append(taken, c)
	}
}

// now returns the result of Share without the interval between two counts.
func (s *Slots) now(at time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.countedAt = time.Time{}
	return s.share(at)
}

// A process may hold what it has and what is free. If another process has none, it gets the
// next one, from a process that has several; the others then compete again.
func TestSlotsFirst(t *testing.T) {
	all := slotsOf(t, t.TempDir(), 8, 3)
	first := take(all[0])
	if len(first) != 8 || all[0].Held() != 8 || all[0].now(time.Now()) != 8 {
		t.Fatalf("alone: got %d slots, %d held, want 8", len(first), all[0].Held())
	}
	if got := len(take(all[1])) + len(take(all[2])); got != 0 {
		t.Errorf("while one has all: the others got %d", got)
	}
	now := time.Now()
	if got := all[0].now(now); got != 8 {
		t.Errorf("in the first instant: got a share of %d, want 8", got)
	}
	if got := all[0].now(now.Add(maxGiveDelay)); got != 7 {
		t.Errorf("after a while: got a share of %d, want 7", got)
	}
	must(t, first[0].Close(), first[0].Close())
	if got := len(take(all[0])) + len(take(all[2])); got != 0 {
		t.Errorf("others than the next got %d slots", got)
	}
	if got := len(take(all[1])); got != 1 {
		t.Errorf("the next process got %d slots, want 1", got)
	}
	must(t, first[1].Close(), first[2].Close())
	if got := len(take(all[2])); got != 2 {
		t.Errorf("nobody waits: got %d slots, want 2", got)
	}
	all[1].Close()
	if got := all[0].now(now); got != 6 {
		t.Errorf("after one has ended: got a share of %d, want 6", got)
	}
}

// A process gives its only slot to another one, after minHold, and then waits for the next.
func TestSlotsOnlyOne(t *testing.T) {
	all := slotsOf(t, t.TempDir(), 1, 2)
	held := take(all[0])
	take(all[1])
	now := time.Now()
	if got := all[0].now(now); got != 1 {
		t.Errorf("got a share of %d, want 1", got)
	}
	if got := all[0].now(now.Add(minHold - time.Second)); got != 1 {
		t.Errorf("too soon: got a share of %d, want 1", got)
	}
	if got := all[0].now(now.Add(minHold + maxGiveDelay)); got != 0 {
		t.Errorf("after the time of its turn: got a share of %d, want 0", got)
	}
	must(t, held[0].Close())
	if got := len(take(all[0])); got != 0 {
		t.Error("the process took its slot back")
	}
	if got := len(take(all[1])); got != 1 {
		t.Error("the other process got none")
	}
	if take(all[0]); all[1].now(now) != 1 || all[1].giveAt.IsZero() {
		t.Error("the first process does not wait for the next slot")
	}
}

// A process that no longer waits, or was killed while it did, keeps no slot from the others.
func TestSlotsNextLeaves(t *testing.T) {
	all := slotsOf(t, t.TempDir(), 1, 3)
	held := take(all[0])
	take(all[1])
	all[1].Close()
	must(t, os.WriteFile(all[0].nextFile(), nil, 0o600)) // as a killed process leaves it
	must(t, held[0].Close())
	if got := len(take(all[2])); got != 1 {
		t.Errorf("got %d slots, want 1", got)
	}
}

// A slot that was released is not released again by its former holder, whoever holds it
// now.
func TestSlotsClosedTwice(t *testing.T) {
	s := slotsOf(t, t.TempDir(), 1, 1)[0]
	first, _ := s.Try()
	must(t, first.Close())
	take(s)
	must(t, first.Close())
	if s.Held() != 1 || len(take(s)) > 0 {
		t.Errorf("got %d held, want 1", s.Held())
	}
}

// A process that only asks for its share takes nothing, and does not mistake another one that
// asks for one that waits.
func TestSlotsShareTakesNothing(t *testing.T) {
	all := slotsOf(t, t.TempDir(), 8, 2)
	must(t, os.MkdirAll(filepath.Dir(all[0].base), 0o700), os.WriteFile(all[0].nextFile(), nil, 0o600))
	observer := flock.New(all[0].nextFile(), flock.SetFlag(os.O_RDONLY))
	if ok, err := observer.TryRLock(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	defer observer.Close()
	if got := all[1].now(time.Now()); got != 8 {
		t.Errorf("got a share of %d, want 8", got)
	}
	if got := len(take(all[0])); got != 8 {
		t.Errorf("got %d slots, want 8", got)
	}
}

// The slots are not counted in each call.
func TestSlotsCountSeldom(t *testing.T) {
	all := slotsOf(t, t.TempDir(), 8, 2)
	now := time.Now()
	all[0].now(now)
	take(all[1])
	for at := now; at.Before(now.Add(countInterval)); at = at.Add(countInterval / 4) {
		if got := all[0].share(at); got != 8 {
			t.Errorf("%v after a count: got a share of %d, want 8", at.Sub(now), got)
		}
	}
	if got := all[0].share(now.Add(countInterval)); got != 0 {
		t.Errorf("at the next count: got a share of %d, want 0", got)
	}
}

// A process with fewer slots finds some that a process with more slots leaves free.
func TestSlotsNumbers(t *testing.T) {
	state := t.TempDir()
	many, few := slotsOf(t, state, 16, 1)[0], slotsOf(t, state, 8, 1)[0]
	for range 9 {
		many.Try()
	}
	if b := len(take(few)); b != 7 {
		t.Errorf("beside 9 of 16: got %d of 8, want 7", b)
	}
}

// Other names and other state directories have other slots.
func TestSlotsNames(t *testing.T) {
	s, err := Open(t.TempDir(), Options{})
	must(t, err)
	a, b := s.Slots("a:80", 2), s.Slots("a:81", 2)
	defer a.Close()
	defer b.Close()
	if x, y := len(take(a)), len(take(b)); x != 2 || y != 2 {
		t.Errorf("got %d and %d slots, want 2 and 2", x, y)
	}
}

// Without locks every process may use all slots.
func TestSlotsWithoutLocks(t *testing.T) {
	state := t.TempDir()
	all := slotsOf(t, state, 2, 2)
	must(t, os.WriteFile(filepath.Join(state, hostsName), nil, 0o600)) // a file instead of the directory
	for _, s := range all {
		for range 5 {
			if c, ok := s.Try(); !ok || c.Close() != nil {
				t.Fatal("got no slot")
			}
		}
		if s.Share() != 2 || s.Close() != nil {
			t.Errorf("got a share of %d, want 2", s.Share())
		}
	}
	must(t, os.Remove(filepath.Join(state, hostsName)))
	if got := len(take(all[0])); got != 2 {
		t.Errorf("after Close and with locks: got %d slots, want 2", got)
	}
}

// A planted symbolic link is not followed.
func TestSlotsSymlink(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("symbolic links need rights")
	}
	state := t.TempDir()
	s := slotsOf(t, state, 1, 1)[0]
	must(t, os.Mkdir(filepath.Join(state, hostsName), 0o700))
	aim := filepath.Join(t.TempDir(), "aim")
	must(t, os.Symlink(aim, s.slotFile(0)))
	if _, ok := s.Try(); !ok {
		t.Error("got no slot")
	}
	if _, err := os.Lstat(aim); err == nil {
		t.Error("the link was followed")
	}
}

// Whatever the processes do, no slot is taken twice, and only empty files remain.
func TestSlotsRandom(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 2))
		state, n := t.TempDir(), 1+r.IntN(6)
		all := slotsOf(t, state, n, 1+r.IntN(4))
		held := make([][]io.Closer, len(all))
		for range 200 {
			i, total := r.IntN(len(all)), 0
			switch s := all[i]; r.IntN(8) {
			case 0:
				s.Close()
				held[i] = nil
			case 1, 2:
				if k := len(held[i]); k > 0 {
					held[i][0].Close()
					held[i] = held[i][1:]
				}
			default:
				if c, ok := s.Try(); ok {
					held[i] = append(held[i], c)
				}
			}
			for i := range held {
				total += len(held[i])
				if all[i].Held() != len(held[i]) {
					t.Fatalf("seed %d: got %d held, want %d", seed, all[i].Held(), len(held[i]))
				}
			}
			if total > n {
				t.Fatalf("seed %d: %d of %d slots are taken", seed, total, n)
			}
		}
		files, _ := filepath.Glob(filepath.Join(state, "*", "*"))
		for _, name := range files {
			if info, err := os.Lstat(name); err != nil || info.Size() != 0 || !strings.Contains(name, hostsName) {
				t.Errorf("left: %s, %v", name, err)
			}
		}
	}
}

func BenchmarkSlot(b *testing.B) {
	s := slotsOf(b, b.TempDir(), 16, 1)[0]
	for b.Loop() {
		c, ok := s.Try()
		if !ok {
			b.Fatal("got no slot")
		}
		c.Close()
	}
}

// A process that has used many hosts leaves no files, and a lock of a removed file does
// not count.
func TestSlotsLeaveNoFiles(t *testing.T) {
	state := t.TempDir()
	all := slotsOf(t, state, 4, 2)
	held := take(all[0])
	stale := flock.New(all[0].held[3].lock.Path())
	must(t, held[0].Close())
	if ok, err := stale.TryLock(); !ok || err != nil { // a new file with the same name
		t.Fatal(ok, err)
	}
	must(t, os.Remove(stale.Path()))
	if isAtPath(stale) {
		t.Error("the lock of a removed file counts")
	}
	stale.Close()
	must(t, all[0].Close(), all[1].Close())
	if names, _ := filepath.Glob(filepath.Join(state, hostsName, "*")); len(names) != 0 {
		t.Errorf("got %q left", names)
	}
}
