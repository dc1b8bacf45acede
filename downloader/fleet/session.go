package fleet

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// DefaultLease is how long the broker remembers a session that is not renewed. At half of it,
	// an origin may still count the connections of a machine that vanished; double leaves its
	// share of the limits unused for two minutes.
	DefaultLease = time.Minute

	aliveBucket   = "PAWL_ALIVE"
	sessionPrefix = "s."
	leaseKey      = "lease" // in placesBucket; all processes of a fleet must have the same
	deadMark      = "dead"  // value of a session that has ended
	sessionFile   = "fleet-session"
)

// A lease is the time after which the broker forgets a session. All times of a session and of
// places are fractions of it, so that a test or --lease changes all of them.
type lease time.Duration

func (l lease) renewAfter() time.Duration { return time.Duration(l) / 4 }       // 15 s of 60 s
func (l lease) freshFor() time.Duration   { return time.Duration(l) * 3 / 4 }   // 45 s: then connections are given back
func (l lease) validFor() time.Duration   { return time.Duration(l) * 11 / 12 } // 55 s: the broker's clock may be ahead by 5 s
func (l lease) tick() time.Duration       { return time.Duration(l) / 60 }      // 1 s: between two looks at the clock
func (l lease) patience() time.Duration   { return time.Duration(l) / 12 }      // 5 s: for one call of the broker
func (l lease) plea() time.Duration       { return time.Duration(l) / 30 }      // 2 s: between two signals of the hungry
func (l lease) hold() time.Duration       { return time.Duration(l) / 2 }       // 30 s: then a place is given to the hungry
func (l lease) rest() time.Duration       { return time.Duration(l) / 12 }      // 5 s: without a place, after it was given to the hungry
func (l lease) surplus() time.Duration    { return time.Duration(l) / 6 }       // 10 s: then places without connections are given back

// SessionOptions are the options of OpenSession. The zero value is valid.
type SessionOptions struct {
	Lease  time.Duration // 0: the lease of the fleet, or DefaultLease if it has none yet
	Dir    string        // state directory, whose lock the caller must hold; "" if there is none
	Host   string        // name of the machine
	Worker string        // name of the worker
	Target string        // ID of the shared directory, see ReadTarget; "" for none
	Lock   string        // see TargetLock.Name
}

// SessionInfo is the value of the key of a session, for status.
type SessionInfo struct {
	Version int       `json:"v"`
	ID      string    `json:"-"`
	Host    string    `json:"host,omitempty"`
	Worker  string    `json:"worker,omitempty"`
	Since   time.Time `json:"since"`
	Busy    int       `json:"busy,omitempty"`   // files in work
	Rate    float64   `json:"rate,omitempty"`   // bytes per second
	Target  string    `json:"target,omitempty"` // ID of its shared directory; "" for none
	Lock    string    `json:"lock,omitempty"`   // name of the lock that it holds there
	Paused  string    `json:"paused,omitempty"` // why it takes no work; "" if it does
}

// A Session is the membership of a process in a fleet. It is a key that the process renews. The
// session is valid until 11/12 of the lease after the last successful renewal was sent, by the
// clock of the process; the broker forgets it no sooner than a lease after it has received that. So
// nobody compares the clocks of two machines.
//
// A Session is safe for concurrent use.
type Session struct {
	id     string
	bucket Bucket
	lease  lease
	dir    string
	lost   chan struct{}      // closed when the session is not valid any more
	cancel context.CancelFunc // ends keep
	done   chan struct{}      // closed when keep has ended

	revision uint64 // owned by keep

	mu     sync.Mutex
	info   SessionInfo // guarded by mu, as all fields below
	sentAt time.Time   // when the last successful renewal was sent
	ended  bool
}

// OpenSession begins a session, and ends an earlier one with the same state directory. If the
// broker cannot be reached, it waits until ctx ends.
func OpenSession(ctx context.Context, b Broker, o SessionOptions) (*Session, error) {
	l, err := agreeLease(ctx, b, o.Lease)
	if err != nil {
		return nil, err
	}
	bucket, err := b.Bucket(ctx, aliveBucket, time.Duration(l))
	if err != nil {
		return nil, err
	}
	id := newSessionID()
	s := &Session{
		id: id, bucket: bucket, lease: l, dir: o.Dir, lost: make(chan struct{}), done: make(chan struct{}),
		info: SessionInfo{Version: version, ID: id, Host: o.Host, Worker: o.Worker, Target: o.Target, Lock: o.Lock, Since: time.Now().UTC().Truncate(time.Second)},
	}
	if err := s.endPredecessor(ctx); err != nil {
		return nil, err
	}
	s.sentAt = time.Now()
	s.revision, err = bucket.Create(ctx, sessionPrefix+id, encode(s.info))
	if errors.Is(err, ErrConflict) { // it was done, and sent again, because the first answer was lost
		var v Value
		v, err = bucket.Get(ctx, sessionPrefix+id)
		s.revision = v.Revision
	}
	if err != nil {
		return nil, err
	}
	var keepCtx context.Context
	keepCtx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go s.keep(keepCtx)
	return s, nil
}

func newSessionID() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// agreeLease returns the lease of the fleet. The first process of the fleet sets it. want is 0 for
// any.
func agreeLease(ctx context.Context, b Broker, want time.Duration) (lease, error) {
	bucket, err := b.Bucket(ctx, placesBucket, 0)
	if err != nil {
		return 0, err
	}
	mine := want
	if mine == 0 {
		mine = DefaultLease
	}
	if _, err := bucket.Create(ctx, leaseKey, []byte(mine.String())); !errors.Is(err, ErrConflict) {
		return lease(mine), err
	}
	theirs, err := readLease(ctx, bucket)
	if err == nil && want != 0 && lease(want) != theirs {
		err = fmt.Errorf("the lease of this fleet is %v, not %v", time.Duration(theirs), want)
	}
	return theirs, err
}

// readLease returns the lease of the fleet, and ErrNoKey if no process has set it.
func readLease(ctx context.Context, bucket Bucket) (lease, error) {
	v, err := bucket.Get(ctx, leaseKey)
	if err != nil {
		return 0, err
	}
	l, err := time.ParseDuration(string(v.Data))
	if err != nil || l <= 0 {
		return 0, fmt.Errorf("the key %q of the bucket %q is not a duration", leaseKey, placesBucket)
	}
	return lease(l), nil
}

// endPredecessor ends the session whose ID is in the state directory, and writes the ID of s there.
// The process of the old session has ended, because the caller has the lock of the directory.
func (s *Session) endPredecessor(ctx context.Context) error {
	if s.dir == "" {
		return nil
	}
	path := filepath.Join(s.dir, sessionFile)
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if id := strings.TrimSpace(string(old)); isSessionID(id) {
		if _, err := s.bucket.Put(ctx, sessionPrefix+id, []byte(deadMark)); err != nil {
			return err
		}
	}
	return os.WriteFile(path, []byte(s.id+"\n"), 0o600)
}

func isSessionID(id string) bool {
	b, err := hex.DecodeString(id)
	return err == nil && len(b) == 8
}

// ID returns the name of the session: 16 hex digits that no other session ever has.
func (s *Session) ID() string { return s.id }

// Lost is closed when the session is not valid any more. Then everything that it allowed must be
// closed, and the caller may open another session.
func (s *Session) Lost() <-chan struct{} { return s.lost }

// Report sets the values that the others see from the next renewal on: files in work, bytes per
// second, and why the worker takes no work, "" if it does.
func (s *Session) Report(busy int, rate float64, paused string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.info.Busy, s.info.Rate, s.info.Paused = busy, rate, paused
}

// Valid reports whether the session is valid now. A process that was stopped, on a machine that may
// have been stopped, learns here whether its session has survived.
func (s *Session) Valid() bool { return s.age() < s.lease.validFor() }

// isFresh reports whether connections may be open. The rest of the time that the session is valid is
// for closing them.
func (s *Session) isFresh() bool { return s.age() < s.lease.freshFor() }

// age returns how long ago the last successful renewal was sent, and more than any limit if the
// session has ended. The clock that stands still while a machine is suspended does not count if
// the other one says more.
func (s *Session) age() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	age := max(now.Sub(s.sentAt), now.Round(0).Sub(s.sentAt.Round(0)))
	if age >= s.lease.validFor() {
		s.endLocked()
	}
	if s.ended {
		return time.Duration(s.lease)
	}
	return age
}

// end makes the session invalid for good.
func (s *Session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked()
}

func (s *Session) endLocked() {
	if !s.ended {
		s.ended = true
		close(s.lost)
	}
}

// keep renews the session until it is lost or ctx ends.
func (s *Session) keep(ctx context.Context) {
	defer close(s.done)
	tick := time.NewTicker(s.lease.tick())
	defer tick.Stop()
	for s.Valid() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if age := s.age(); age >= s.lease.renewAfter() && age < s.lease.validFor() {
			s.renew(ctx, s.lease.validFor()-age)
		}
	}
}

// renew tries to renew the session once, for as long as it is valid.
func (s *Session) renew(ctx context.Context, valid time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, min(valid, s.lease.patience()))
	defer cancel()
	s.mu.Lock()
	data := encode(s.info)
	s.mu.Unlock()
	sent := time.Now()
	revision, err := s.bucket.Update(ctx, sessionPrefix+s.id, data, s.revision)
	switch {
	case err == nil:
		s.revision = revision
		s.mu.Lock()
		s.sentAt = sent
		s.mu.Unlock()
	case errors.Is(err, ErrConflict), errors.Is(err, ErrNoKey):
		s.findRevision(ctx)
	}
}

// findRevision reads the key of the session after a failed renewal. Either the broker has forgotten
// the key, and the session is lost; or it has done an earlier renewal without confirming it.
func (s *Session) findRevision(ctx context.Context) {
	v, err := s.bucket.Get(ctx, sessionPrefix+s.id)
	switch {
	case errors.Is(err, ErrNoKey), err == nil && string(v.Data) == deadMark:
		s.end()
	case err == nil:
		s.revision = v.Revision
	}
}

// Close ends the session, so that others may take its places at once. The caller must have closed
// all connections. It may be called again.
func (s *Session) Close(ctx context.Context) error {
	s.cancel()
	<-s.done
	s.end()
	if _, err := s.bucket.Put(ctx, sessionPrefix+s.id, []byte(deadMark)); err != nil {
		return err
	}
	if s.dir == "" {
		return nil
	}
	err := os.Remove(filepath.Join(s.dir, sessionFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// Sessions returns the live sessions of the fleet, in the order of their machines and workers. The
// session of a process that has vanished is among them for up to a lease.
func Sessions(ctx context.Context, b Broker) ([]SessionInfo, error) {
	places, err := b.Bucket(ctx, placesBucket, 0)
	if errors.Is(err, ErrNoRun) { // as below, and this user may not create it
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	l, err := readLease(ctx, places)
	if errors.Is(err, ErrNoKey) { // there has never been a session
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	bucket, err := b.Bucket(ctx, aliveBucket, time.Duration(l))
	if errors.Is(err, ErrNoRun) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	values, err := bucket.List(ctx, sessionPrefix)
	if err != nil {
		return nil, err
	}
	var all []SessionInfo
	for key, v := range values {
		if string(v.Data) == deadMark {
			continue
		}
		var info SessionInfo
		if err := json.Unmarshal(v.Data, &info); err != nil {
			info = SessionInfo{Paused: err.Error()} // it is alive, whatever it says
		}
		info.ID = strings.TrimPrefix(key, sessionPrefix)
		all = append(all, info)
	}
	slices.SortFunc(all, func(a, b SessionInfo) int {
		return slices.Compare([]string{a.Host, a.Worker, a.ID}, []string{b.Host, b.Worker, b.ID})
	})
	return all, nil
}
