package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

const (
	// targetFile has the ID of a shared directory, so that a worker notices that the file system is not mounted.
	targetFile = ".pawl-target"
	// lockPrefix begins the names of the files in a shared directory that processes of a fleet hold locks on.
	lockPrefix, lockSuffix = ".pawl-fleet-", ".lock"
	// lockPoll is how often a process looks whether another one, whose lock is free, still renews its session.
	lockPoll = time.Second
	// oldLock is how old the file of a lock must be to be removed, if it is free: longer than a process takes to lock it, and than the
	// session of a killed process lasts.
	oldLock = time.Hour
	// maxNames limits the names of a directory among which old locks are looked for. It may have millions of files.
	maxNames = 10_000
)

var (
	errNoTarget = errors.New("no ID of a shared directory in the file " + targetFile)
	// ErrLocks reports a directory in which a lock is not seen by other machines.
	ErrLocks = errors.New("other machines do not see locks in this directory")
)

// PrepareTarget returns the ID of a shared directory. It creates the directory and the file with the ID if they are
// missing.
func PrepareTarget(dir string) (id string, err error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	id = newSessionID()
	temp := filepath.Join(dir, targetFile+"."+id)
	if err := os.WriteFile(temp, []byte(id+"\n"), 0o644); err != nil {
		return "", err
	}
	defer os.Remove(temp)
	err = os.Link(temp, filepath.Join(dir, targetFile)) // complete from the beginning, if two processes do it
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = createTarget(dir, id) // a file system without hard links
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return ReadTarget(dir)
}

func createTarget(dir, id string) error {
	f, err := os.OpenFile(filepath.Join(dir, targetFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(id + "\n")
	return errors.Join(err, f.Close())
}

// ReadTarget returns the ID of a shared directory. The error is fs.ErrNotExist if it has none.
func ReadTarget(dir string) (id string, err error) {
	b, err := os.ReadFile(filepath.Join(dir, targetFile))
	if err != nil {
		return "", err
	}
	if id = strings.TrimSpace(string(b)); !isSessionID(id) {
		return "", fmt.Errorf("%q: %w", dir, errNoTarget)
	}
	return id, nil
}

// A TargetLock is a lock in a shared directory that a process holds as long as it works there.
type TargetLock struct {
	name string
	path string
	lock *flock.Flock
}

// LockTarget takes a lock in a shared directory, whose ID is target, and tests that the locks of processes on other machines are
// seen here: two workers must not write to one part file. host is the name of this machine. The error is ErrLocks if they are not,
// or if a live process of the same directory has no lock here. If such a process may have ended, LockTarget waits until its session has.
func LockTarget(ctx context.Context, b Broker, dir, target, host string) (*TargetLock, error) {
	name := newSessionID()
	l := &TargetLock{name: name, path: lockPath(dir, name)}
	lock, err := tryLock(l.path, true)
	if err != nil {
		return nil, fmt.Errorf("%q: files cannot be locked there: %w", dir, errors.Join(ErrLocks, err))
	}
	l.lock = lock
	removeOldLocks(dir, l.path)
	if err := testLocks(ctx, b, dir, target, host); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// removeOldLocks removes the files of processes that have been killed. It compares times of the file system only. Best effort.
func removeOldLocks(dir, own string) {
	now, err := os.Stat(own)
	if err != nil {
		return
	}
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	defer d.Close()
	names, _ := d.Readdirnames(maxNames)
	for _, name := range names {
		path := filepath.Join(dir, name)
		if !strings.HasPrefix(name, lockPrefix) || !strings.HasSuffix(name, lockSuffix) {
			continue
		}
		info, err := os.Lstat(path)
		if err != nil || !info.Mode().IsRegular() || now.ModTime().Sub(info.ModTime()) < oldLock {
			continue
		}
		if lock, err := tryLock(path, false); err == nil { // held for as long as its process lives
			os.Remove(path)
			lock.Close()
		}
	}
}

// Name returns the name of the lock, for SessionOptions.Lock.
func (l *TargetLock) Name() string { return l.name }

// Close releases the lock and removes its file.
func (l *TargetLock) Close() error {
	os.Remove(l.path)       // first, so that nobody finds the lock free
	defer os.Remove(l.path) // on Windows, an open file stays
	return l.lock.Close()
}

func lockPath(dir, name string) string { return filepath.Join(dir, lockPrefix+name+lockSuffix) }

// errLocked means that another process holds a lock, as it must be.
var errLocked = errors.New("locked")

// tryLock takes the lock on a file without waiting.
func tryLock(path string, create bool) (*flock.Flock, error) {
	flag := os.O_RDWR
	if create {
		flag |= os.O_CREATE | os.O_EXCL
	}
	lock := flock.New(path, flock.SetFlag(flag), flock.SetPermissions(0o600))
	switch ok, err := lock.TryLock(); {
	case err != nil:
		return nil, err
	case !ok:
		lock.Close()
		return nil, errLocked
	}
	return lock, nil
}

// testLocks tries the locks of the live processes of other machines until one is found to be held, and fails if one is free
// although its process lives.
func testLocks(ctx context.Context, b Broker, dir, target, host string) error {
	seen := make(map[string]uint64) // revisions of the sessions whose lock was free
	for {
		sessions, err := otherSessions(ctx, b, target, host)
		if err != nil {
			return err
		}
		again := false
		for _, s := range sessions {
			lock, err := tryLock(lockPath(dir, s.info.Lock), false)
			if errors.Is(err, errLocked) {
				return nil // one is enough
			}
			if err == nil {
				lock.Close()
			} else if !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%q: %w", dir, err)
			}
			before, ok := seen[s.info.ID]
			if ok && before != s.revision {
				return fmt.Errorf("%w: %q on %s works there, but its lock is free or missing in %q here; mount it with locks that all machines see (NFS without nolock, Lustre with -o flock), or use --local", ErrLocks, s.info.Worker, s.info.Host, dir)
			}
			seen[s.info.ID], again = s.revision, true
		}
		if !again {
			return nil
		}
		timer := time.NewTimer(lockPoll)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// A seenSession is a session and the revision of its key, which grows when it is renewed.
type seenSession struct {
	info     SessionInfo
	revision uint64
}

// otherSessions returns the sessions of the same directory on other machines.
func otherSessions(ctx context.Context, b Broker, target, host string) (all []seenSession, err error) {
	places, err := b.Bucket(ctx, placesBucket, 0)
	if err != nil {
		return nil, err
	}
	l, err := readLease(ctx, places)
	if errors.Is(err, ErrNoKey) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	bucket, err := b.Bucket(ctx, aliveBucket, time.Duration(l))
	if err != nil {
		return nil, err
	}
	values, err := bucket.List(ctx, sessionPrefix)
	if err != nil {
		return nil, err
	}
	for key, v := range values {
		var info SessionInfo
		if string(v.Data) == deadMark || json.Unmarshal(v.Data, &info) != nil {
			continue
		}
		info.ID = strings.TrimPrefix(key, sessionPrefix)
		if info.Target == target && info.Host != host && isSessionID(info.Lock) {
			all = append(all, seenSession{info, v.Revision})
		}
	}
	return all, nil
}

var _ io.Closer = (*TargetLock)(nil)
