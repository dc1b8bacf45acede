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
	hostsName      = "hosts"
	maxMembers     = 64
	memberInterval = 200 * time.Millisecond // between two looks who the members are
	turnInterval   = 5 * time.Second        // of those that have a slot, where there are more members than slots
)

// Slots are a number of places that the processes of one state directory share
// fairly, such as the connections to a server. A place is an advisory lock on
//
//	STATE/hosts/HASH.slotN     N from 0 on, one less than there are places at most
//	STATE/hosts/HASH.memberN   N below 64
//
// where HASH is the first 16 hex digits of the SHA-256 of the name. A process
// that uses or wants places is a member: it holds the lock of one member file.
// So the members can be counted, and a killed process leaves nothing behind but
// empty files. Where locks cannot be had, every process has all places.
//
// Safe for concurrent use. No method waits for another process.
type Slots struct {
	base  string // path of the files, without what their names end in
	total int

	mu        sync.Mutex
	held      map[int]*slot // by number
	member    *flock.Flock  // nil without membership
	joined    bool          // it counts as a member, even if no member file was free
	lockless  bool          // locks cannot be had
	countedAt time.Time     // when members and rank were found
	others    int           // members besides this process
	rank      int           // members with lower numbers
}

// Slots returns the n places of that name. It touches no file yet. A name has one
// Slots in a process; where processes have another n, each has its own places.
func (s *Store) Slots(name string, n int) *Slots {
	return &Slots{base: filepath.Join(s.dir, hostsName, hashName(name)), total: n, held: make(map[int]*slot)}
}

// hashed is a name as it may stand in that of a file.
func hashName(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:8])
}

// A slot is a place that is taken.
type slot struct {
	slots *Slots
	n     int
	lock  *flock.Flock
}

// Close gives the place back. It may be called again.
func (sl *slot) Close() error {
	s := sl.slots
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[sl.n] != sl { // it has been given back
		return nil
	}
	delete(s.held, sl.n)
	return unlockAndRemove(sl.lock)
}

// Try takes a place, and is a member from then on, until Close. It fails if none
// is free, and if this process has its share of them. Closing the place gives it
// back.
func (s *Slots) Try() (io.Closer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.join()
	if !s.lockless && len(s.held) >= s.share(time.Now()) {
		return nil, false
	}
	for n := s.total - 1; n >= 0 && !s.lockless; n-- { // downwards: a process with less places has but the lower ones
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

// lock takes the lock of a file, which it creates, or returns nil; then s.off
// says whether it never can. Called with s.mu held.
func (s *Slots) lock(path string) *flock.Flock {
	lock := flock.New(path, flock.SetFlag(os.O_RDWR|os.O_CREATE|openNoFollow|openNonblock), flock.SetPermissions(0o600))
	ok, err := lock.TryLock()
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			ok, err = lock.TryLock()
		}
	}
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return nil // for now
	}
	s.lockless = s.lockless || err != nil
	if !ok || !isAtPath(lock) {
		lock.Close()
		return nil
	}
	return lock
}

// inPlace reports whether what is locked still is the file at its path, which its
// last owner may have removed.
func isAtPath(lock *flock.Flock) bool {
	locked, err := lock.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(lock.Path())
	return err == nil && os.SameFile(locked, there)
}

// release gives up a lock, and removes its file, so that there are no more files
// than there are connections.
func unlockAndRemove(lock *flock.Flock) error {
	os.Remove(lock.Path()) // not on Windows, where it is open
	return lock.Close()
}

// join becomes a member. Called with s.mu held.
func (s *Slots) join() {
	for n := 0; n < maxMembers && !s.joined && !s.lockless; n++ {
		s.member = s.lock(s.memberFile(n))
		s.joined = s.member != nil
		s.countedAt = time.Time{}
	}
	s.joined = true
}

func (s *Slots) memberFile(n int) string { return fmt.Sprint(s.base, ".member", n) }

// Share returns how many places this process may have now: all if it is alone or
// no member, else as many as the others, what is left over going to the lowest
// numbers. Where there are more members than places, it is one or none in turn.
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

// shareOf divides n places among members. Turns go by the clock, which the
// processes of one machine have in common.
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

// look counts the members. It asks for shared locks, which those who look at the
// same time do not deny each other. Called with s.mu held.
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

// Held returns how many places are taken by this process.
func (s *Slots) Held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// Close gives all places back, and ends the membership. The next Try begins anew.
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
