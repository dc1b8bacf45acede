package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

const (
	hostsName = "hosts" // directory of the lock files

	// maxMembers is the number of member files, so also of lock calls per count. Further
	// processes share the slots as if they had the highest rank. A guess.
	maxMembers = 64

	// memberInterval is the time between two counts of the members. Twice as long delays
	// the share of a new process for longer; half as long doubles the lock calls. A guess.
	memberInterval = 200 * time.Millisecond

	// turnInterval is how long a member keeps its turn if there are more members than
	// slots. Half of it interrupts more requests, because a member must give its slot
	// back at the end of its turn; twice as long lets the others wait longer. A guess.
	turnInterval = 5 * time.Second
)

// Slots is a number of slots that the processes of one state directory share fairly, for
// example the connections to one server. A slot is an advisory lock on
//
//	STATE/hosts/HASH.slotN     N from 0 to the number of slots minus 1
//
// and a process that uses or wants slots holds the lock of one member file
//
//	STATE/hosts/HASH.memberN   N below 64
//
// HASH is the first 16 hex digits of the SHA-256 of the name. The locks of the member
// files make the members countable, and a killed process leaves only empty files behind.
// If the state directory has no locks, every process may use all slots.
//
// A Slots is safe for concurrent use. No method waits for another process.
type Slots struct {
	base  string // path of the files without the suffix .slotN or .memberN
	total int

	mu        sync.Mutex
	held      map[int]*slot // by number; guarded by mu, as all fields below
	member    *flock.Flock  // nil if this process has no member file
	joined    bool          // counts as a member, even if no member file was free
	lockless  bool          // locks do not work here
	countedAt time.Time     // time of the last countMembers
	others    int           // number of other members
	rank      int           // number of members with a lower number
}

// Slots returns n slots with the given name. It touches no file yet. A process must have
// one Slots per name. If processes use different n, each has the slots below its own n.
func (s *Store) Slots(name string, n int) *Slots {
	return &Slots{base: filepath.Join(s.dir, hostsName, hashName(name)), total: n, held: make(map[int]*slot)}
}

// hashName returns a form of name that is valid in a file name.
func hashName(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:8])
}

// A slot is a slot that this process holds.
type slot struct {
	slots *Slots
	n     int
	lock  *flock.Flock
}

// Close releases the slot. It may be called again.
func (sl *slot) Close() error {
	s := sl.slots
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[sl.n] != sl { // already released
		return nil
	}
	delete(s.held, sl.n)
	return unlockAndRemove(sl.lock)
}

// Try takes a slot. Closing the result releases it. Try returns false if no slot is free
// or this process has its fair share. The first Try makes this process a member, until
// Close.
func (s *Slots) Try() (io.Closer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.join()
	if !s.lockless && len(s.held) >= s.share(time.Now()) {
		return nil, false
	}
	for n := s.total - 1; n >= 0 && !s.lockless; n-- { // downwards, because a process with a smaller total can use only the low numbers
		if s.held[n] != nil {
			continue
		}
		if lock := s.lock(fmt.Sprint(s.base, ".slot", n)); lock != nil {
			s.held[n] = &slot{s, n, lock}
			return s.held[n], true
		}
	}
	if s.lockless {
		return io.NopCloser(nil), true
	}
	return nil, false
}

// lock creates the file at path and takes its lock. It returns nil if it cannot;
// s.lockless then says whether it never can. The caller must hold s.mu.
func (s *Slots) lock(path string) *flock.Flock {
	lock := flock.New(path, flock.SetFlag(os.O_RDWR|os.O_CREATE|openNoFollow|openNonblock), flock.SetPermissions(0o600))
	ok, err := lock.TryLock()
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			ok, err = lock.TryLock()
		}
	}
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return nil // for now; files will be closed
	}
	s.lockless = s.lockless || err != nil
	if !ok || !isAtPath(lock) {
		lock.Close()
		return nil
	}
	return lock
}

// isAtPath reports whether the locked file is still at its path. The last holder may have
// removed it, and then the lock protects nothing.
func isAtPath(lock *flock.Flock) bool {
	locked, err := lock.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(lock.Path())
	return err == nil && os.SameFile(locked, there)
}

// unlockAndRemove releases a lock and removes its file, so that the directory has no more
// files than there are connections.
func unlockAndRemove(lock *flock.Flock) error {
	os.Remove(lock.Path()) // fails on Windows, because the file is open
	return lock.Close()
}

// join makes this process a member. The caller must hold s.mu.
func (s *Slots) join() {
	for n := 0; n < maxMembers && !s.joined && !s.lockless; n++ {
		s.member = s.lock(s.memberFile(n))
		s.joined = s.member != nil
		s.countedAt = time.Time{}
	}
	s.joined = true
}

// memberFile returns the path of member file n.
func (s *Slots) memberFile(n int) string { return fmt.Sprint(s.base, ".member", n) }

// Share returns how many slots this process may hold now: all if it is alone or not a
// member, else an equal share; a remainder goes to the members with the lowest numbers.
// If there are more members than slots, the share is 1 or 0, in turn.
func (s *Slots) Share() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.share(time.Now())
}

// share is Share with s.mu held.
func (s *Slots) share(now time.Time) int {
	if s.lockless || !s.joined {
		return s.total
	}
	if since := now.Sub(s.countedAt); since < 0 || since >= memberInterval {
		s.countMembers()
		s.countedAt = now
	}
	return shareOf(s.total, s.others+1, s.rank, now)
}

// shareOf returns the share of the member with the given rank, if n slots are divided
// among members. The turn follows from the clock, which all processes of a machine share.
func shareOf(n, members, rank int, now time.Time) int {
	if members <= n {
		share := n / members
		if rank < n%members {
			share++
		}
		return share
	}
	first := int(now.UnixNano() / int64(turnInterval) % int64(members) * int64(n) % int64(members))
	if (rank-first+members)%members < n {
		return 1
	}
	return 0
}

// countMembers counts the members by trying shared locks on the member files. Processes
// that count at the same time do not deny each other a shared lock. The caller must hold
// s.mu.
func (s *Slots) countMembers() {
	s.others, s.rank = 0, 0
	ranked := false
	for n := range maxMembers {
		path := s.memberFile(n)
		if s.member != nil && s.member.Path() == path {
			ranked = true
			continue
		}
		probe := flock.New(path, flock.SetFlag(os.O_RDONLY|openNoFollow|openNonblock))
		free, err := probe.TryRLock()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			break
		}
		probe.Close()
		if free {
			continue
		}
		s.others++
		if !ranked {
			s.rank++
		}
	}
}

// Held returns how many slots this process holds.
func (s *Slots) Held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// Close releases all slots and ends the membership. The next Try starts anew.
func (s *Slots) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for n, sl := range s.held {
		errs = append(errs, unlockAndRemove(sl.lock))
		delete(s.held, n)
	}
	if s.member != nil {
		errs = append(errs, unlockAndRemove(s.member))
	}
	s.member, s.joined, s.lockless = nil, false, false
	return errors.Join(errs...)
}
