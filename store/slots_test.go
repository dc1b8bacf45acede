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

// recount makes the next call of Share count the members.
func recount(all []*Slots) {
	for _, s := range all {
		s.countedAt = time.Time{}
	}
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

func TestShareOf(t *testing.T) {
	for _, c := range []struct {
		n, members int
		want       string // shares by rank
	}{
		{8, 1, "8"}, {8, 2, "44"}, {8, 3, "332"}, {8, 5, "22211"}, {8, 8, "11111111"}, {1, 1, "1"}, {3, 2, "21"},
	} {
		got := ""
		for rank := range c.members {
			got += string(rune('0' + shareOf(c.n, c.members, rank, time.Now())))
		}
		if got != c.want {
			t.Errorf("%d slots, %d members: got %s, want %s", c.n, c.members, got, c.want)
		}
	}
}

// If there are more members than slots, all slots are in use at any time, and each member
// has its turn equally often.
func TestShareOfInTurn(t *testing.T) {
	for members := 2; members <= 12; members++ {
		for n := 1; n < members; n++ {
			turns := make([]int, members)
			for turn := range members {
				now, sum := time.Unix(1e9, 0).Add(time.Duration(turn)*turnInterval), 0
				for rank := range members {
					share := shareOf(n, members, rank, now)
					turns[rank] += share
					sum += share
				}
				if sum != n {
					t.Errorf("%d slots, %d members, turn %d: %d given", n, members, turn, sum)
				}
			}
			for rank, got := range turns {
				if got != n {
					t.Errorf("%d slots, %d members: rank %d has %d turns of %d, want %d", n, members, rank, got, members, n)
				}
			}
		}
	}
}

// The first process has all slots until it releases some; then each process has its
// share. The others get the slots of a process that has ended.
func TestSlotsShared(t *testing.T) {
	all := slotsOf(t, t.TempDir(), 8, 3)
	first := take(all[0])
	if len(first) != 8 || all[0].Held() != 8 {
		t.Fatalf("alone: got %d slots, %d held, want 8", len(first), all[0].Held())
	}
	if got := len(take(all[1])) + len(take(all[2])); got != 0 {
		t.Errorf("while one has all: the others got %d", got)
	}
	recount(all)
	if got := all[0].Share(); got != 3 {
		t.Errorf("share of the first of three: got %d, want 3", got)
	}
	for _, c := range first[:5] {
		must(t, c.Close(), c.Close())
	}
	if got := len(take(all[0])); got != 0 {
		t.Errorf("beyond its share: got %d", got)
	}
	if a, b := len(take(all[1])), len(take(all[2])); a != 3 || b != 2 {
		t.Errorf("given back: got %d and %d, want 3 and 2", a, b)
	}
	all[1].Close()
	recount(all)
	if a, b := len(take(all[0])), len(take(all[2])); a != 1 || b != 2 {
		t.Errorf("after one has ended: got %d and %d more, want 1 and 2", a, b)
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

// A process that only asks for its share is not a member.
func TestSlotsShareWithoutMembership(t *testing.T) {
	all := slotsOf(t, t.TempDir(), 8, 2)
	take(all[0])
	must(t, os.WriteFile(all[0].memberFile(1), nil, 0o600)) // as a killed process leaves it
	observer := flock.New(all[0].memberFile(1), flock.SetFlag(os.O_RDONLY))
	if ok, err := observer.TryRLock(); !ok || err != nil {
		t.Fatal(ok, err)
	}
	defer observer.Close()
	recount(all)
	if got := all[0].Share(); got != 8 {
		t.Errorf("got a share of %d, want 8", got)
	}
}

// The members are not counted in each call.
func TestSlotsCountSeldom(t *testing.T) {
	all := slotsOf(t, t.TempDir(), 8, 2)
	take(all[0])
	at := all[0].countedAt
	take(all[1])
	for at := at; at.Before(all[0].countedAt.Add(memberInterval)); at = at.Add(memberInterval / 4) {
		if got := all[0].share(at); got != 8 {
			t.Errorf("%v after a count: got a share of %d, want 8", at.Sub(all[0].countedAt), got)
		}
	}
	if got := all[0].share(at.Add(memberInterval)); got != 4 {
		t.Errorf("at the next count: got a share of %d, want 4", got)
	}
}

// A process with fewer slots finds some that a process with more slots leaves free.
func TestSlotsNumbers(t *testing.T) {
	state := t.TempDir()
	many, few := slotsOf(t, state, 16, 1)[0], slotsOf(t, state, 8, 1)[0]
	few.join()
	if a, b := len(take(many)), len(take(few)); a != 8 || b != 4 {
		t.Errorf("got %d of 16 and %d of 8, want 8 and 4", a, b)
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

// If all member files are taken, one more process still has a share.
func TestSlotsMany(t *testing.T) {
	all := slotsOf(t, t.TempDir(), 100, maxMembers+1)
	for _, s := range all {
		s.join()
	}
	last := all[maxMembers]
	if last.member != nil || last.Share() != 1 {
		t.Errorf("got member %v, share %d, want none, 1", last.member, last.Share())
	}
	if _, ok := last.Try(); !ok {
		t.Error("it gets no slot")
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
	must(t, os.Symlink(aim, s.memberFile(0)))
	if _, ok := s.Try(); !ok {
		t.Error("got no slot")
	}
	if _, err := os.Lstat(aim); err == nil {
		t.Error("the link was followed")
	}
}

// Whatever the processes do, no slot is taken twice, no process takes more than its
// share, and only empty files remain.
func TestSlotsRandom(t *testing.T) {
	for seed := range uint64(30) {
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
				recount(all)
				if c, ok := s.Try(); ok {
					held[i] = append(held[i], c)
					if share := s.Share(); s.total >= len(all) && len(held[i]) > share {
						t.Fatalf("seed %d: took more than its share of %d", seed, share)
					}
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
	for _, c := range []struct {
		name      string
		processes int
	}{{"alone", 1}, {"three", 3}} {
		b.Run(c.name, func(b *testing.B) {
			all := slotsOf(b, b.TempDir(), 16, c.processes)
			for _, s := range all {
				s.join()
			}
			for b.Loop() {
				c, ok := all[0].Try()
				if !ok {
					b.Fatal("got no slot")
				}
				c.Close()
			}
		})
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
