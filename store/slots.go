package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

const (
	hostsName = "hosts" // directory of the lock files

	// countInterval is the time between two looks at the slots of the others. Twice as long
	// makes a newcomer wait for longer; half as long doubles the lock calls. A guess.
	countInterval = 200 * time.Millisecond

	// minHold is how long a process may keep its only slot while another one has none. Half
	// of it interrupts more requests; twice as long breaks the promise that a newcomer has a
	// slot within ten seconds.
	minHold = 5 * time.Second

	// maxGiveDelay is the longest delay, drawn at random, before a slot is given back, so that
	// not all processes give one to the same newcomer. At half, more of them do; twice as long
	// delays the newcomer. A guess.
	maxGiveDelay = time.Second
)

// Slots is a number of slots that the processes of one state directory share, for example
// the connections to one server. A slot is an advisory lock on
//
//	STATE/hosts/HASH.slotN     N from 0 to the number of slots minus 1
//
// HASH is the first 16 hex digits of the SHA-256 of the name. A killed process leaves only
// empty files behind. If the state directory has no locks, every process may use all slots.
//
// The processes take slots first come, first served, except that each gets a first one: a
// process without a slot that finds none free locks
//
//	STATE/hosts/HASH.next
//
// until it has one. Meanwhile no other process takes a slot, and one of the processes with
// slots gives one back: a process that has several soon, and a process that has one only after
// minHold.
//
// A Slots is safe for concurrent use. No method waits for another process.
type Slots struct {
	base  string // path of the files without the suffix .slotN or .next
	total int

	mu       sync.Mutex
	held     map[int]*slot // by number; guarded by mu, as all fields below
	next     *flock.Flock  // lock of the file .next; nil unless this process has it
	lockless bool          // locks do not work here

	heldSince time.Time // when this process took its first slot
	countedAt time.Time // time of the last count
	allowed   int       // result of the last count
	giveAt    time.Time // when to give a slot back; zero if no other process needs one
	keep      int       // number of slots to keep then
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

// Try takes a slot. Closing the result releases it. Try returns false if no slot is free, or
// if another process must get the next one.
func (s *Slots) Try() (io.Closer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next == nil && s.isLocked(s.nextFile()) {
		return nil, false
	}
	for n := s.total - 1; n >= 0 && !s.lockless; n-- { // downwards, because a process with a smaller total can use only the low numbers
		if s.held[n] != nil {
			continue
		}
		if lock := s.lock(s.slotFile(n)); lock != nil {
			return s.hold(n, lock), true
		}
	}
	if s.lockless {
		return io.NopCloser(nil), true
	}
	if len(s.held) == 0 && s.next == nil {
		s.next = s.lock(s.nextFile())
	}
	return nil, false
}

// hold makes this process the holder of slot n. The caller must hold s.mu.
func (s *Slots) hold(n int, lock *flock.Flock) *slot {
	if len(s.held) == 0 {
		s.heldSince = time.Now()
	}
	s.held[n] = &slot{s, n, lock}
	s.leaveQueue()
	return s.held[n]
}

// leaveQueue releases the lock of the file .next. The caller must hold s.mu.
func (s *Slots) leaveQueue() error {
	if s.next == nil {
		return nil
	}
	next := s.next
	s.next = nil
	return unlockAndRemove(next)
}

func (s *Slots) slotFile(n int) string { return fmt.Sprint(s.base, ".slot", n) }
func (s *Slots) nextFile() string      { return s.base + ".next" }

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

// isLocked reports whether another process has locked the file at path. Its shared lock
// does not make another process that asks the same believe so.
func (s *Slots) isLocked(path string) bool {
	probe := flock.New(path, flock.SetFlag(os.O_RDONLY|openNoFollow|openNonblock))
	free, err := probe.TryRLock()
	if err != nil { // in most cases there is no such file
		return false
	}
	probe.Close()
	return !free
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

// Share returns how many slots this process may hold now: its own and the free ones, or
// fewer than it has if it must give one to another process.
func (s *Slots) Share() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.share(time.Now())
}

// share is Share with s.mu held.
func (s *Slots) share(now time.Time) int {
	if s.lockless {
		return s.total
	}
	if since := now.Sub(s.countedAt); since < 0 || since >= countInterval {
		s.countedAt, s.allowed = now, s.count(now)
	}
	return s.allowed
}

// count looks at the lock files and returns how many slots this process may hold. The caller
// must hold s.mu.
func (s *Slots) count(now time.Time) int {
	held := len(s.held)
	if s.next != nil || !s.isLocked(s.nextFile()) {
		s.giveAt = time.Time{}
		return held + s.countFree()
	}
	if s.giveAt.IsZero() || held <= s.keep { // a newcomer, or the next one
		s.giveAt, s.keep = now.Add(rand.N(maxGiveDelay)), max(0, held-1)
		if held == 1 {
			s.giveAt = s.giveAt.Add(max(0, minHold-now.Sub(s.heldSince)))
		}
	}
	if now.Before(s.giveAt) {
		return held
	}
	return s.keep
}

// countFree returns how many slots no process holds. The caller must hold s.mu.
func (s *Slots) countFree() (free int) {
	for n := range s.total {
		if s.held[n] == nil && !s.isLocked(s.slotFile(n)) {
			free++
		}
	}
	return free
}

// Held returns how many slots this process holds.
func (s *Slots) Held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// Close releases all slots, and the turn to get the next one. The next Try starts anew.
func (s *Slots) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	errs := []error{s.leaveQueue()}
	for n, sl := range s.held {
		errs = append(errs, unlockAndRemove(sl.lock))
		delete(s.held, n)
	}
	s.lockless, s.countedAt, s.giveAt = false, time.Time{}, time.Time{}
	return errors.Join(errs...)
}
