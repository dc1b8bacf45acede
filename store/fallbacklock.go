package store

// This file handles part files that cannot be locked, for example on some network file
// systems. A file in the state directory is locked instead, so that processes with the
// same state directory still exclude each other.

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

const locksName = "locks"

// Lock locks the part file or, if the file system has no locks, STATE/locks/HASH.lock. A
// process that can lock the part file must respect the fallback lock, too, because
// another process may have been unable to lock the part file.
func (t *tolerantFS) Lock(part string, create bool) (io.Closer, error) {
	lock, err := t.FS.Lock(part, create)
	switch {
	case cannotLock(err):
		return t.lockFallback(part, create)
	case err != nil:
		return nil, err
	}
	other, err := acquireFallbackLock(t.lockDir, part, false)
	switch {
	case errors.Is(err, fs.ErrNotExist): // nobody has needed the fallback lock
		return lock, nil
	case err != nil:
		lock.Close()
		return nil, err
	}
	return lockPair{lock, other}, nil
}

// lockFallback locks STATE/locks/HASH.lock for a part file that cannot be locked.
func (t *tolerantFS) lockFallback(part string, create bool) (io.Closer, error) {
	lock, err := acquireFallbackLock(t.lockDir, part, true)
	if err != nil {
		return nil, err
	}
	own, err := t.FS.Lock(part, create) // again: the last holder may have renamed the part file since
	switch {
	case err == nil:
		return lockPair{own, lock}, nil
	case !cannotLock(err):
		lock.Close()
		return nil, err
	}
	t.noteLimitation(noLocks, fmt.Errorf("lock %q: %w", part, err))
	return lock, nil
}

// Locked reports whether somebody holds a lock of the part file. It creates no file and
// does not warn.
func (t *tolerantFS) Locked(part string) bool {
	lock, err := t.FS.Lock(part, false)
	if err == nil {
		lock.Close()
	}
	if err == nil || cannotLock(err) {
		if lock, err = acquireFallbackLock(t.lockDir, part, false); err == nil {
			lock.Close()
		}
	}
	return errors.Is(err, ErrBusy)
}

// cannotLock reports whether err means that the file system has no locks, rather than
// that the file cannot be opened.
func cannotLock(err error) bool {
	var open *fs.PathError
	return noLocks.explains(err) && !errors.As(err, &open)
}

// A lockPair is the lock of a part file together with its fallback lock.
type lockPair struct{ own, fallback io.Closer }

func (l lockPair) Close() error { return errors.Join(l.own.Close(), l.fallback.Close()) }

// acquireFallbackLock takes the advisory lock DIR/HASH.lock without waiting. HASH is the
// first 16 hex digits of the SHA-256 of the part file's absolute path. If create is false
// and the lock file does not exist, the error is fs.ErrNotExist. If another process holds
// the lock, the error is ErrBusy. Close releases the lock and removes the lock file.
func acquireFallbackLock(dir, part string, create bool) (io.Closer, error) {
	path := filepath.Join(dir, hashName(part)+".lock")
	flag := os.O_RDWR | openNoFollow | openNonblock
	if create {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrState, err)
		}
		flag |= os.O_CREATE
	}
	for range 10 {
		lock := flock.New(path, flock.SetFlag(flag), flock.SetPermissions(0o600))
		ok, err := tryLock(lock)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, err
		case err != nil:
			return nil, fmt.Errorf("%w: lock %q: %w", ErrState, path, err)
		case !ok:
			return nil, ErrBusy
		case isAtPath(lock):
			return fallbackLock{lock}, nil
		}
		lock.Close()
	}
	return nil, fmt.Errorf("%q keeps changing: %w", path, ErrBusy)
}

// A fallbackLock is a lock of acquireFallbackLock.
type fallbackLock struct{ lock *flock.Flock }

func (l fallbackLock) Close() error { return unlockAndRemove(l.lock) }
