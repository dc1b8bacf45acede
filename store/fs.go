package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// FS is what this package asks of the file system that part files live in. It
// is an interface so that tests can crash it at any step; paths are absolute. A
// method whose system call fails returns its error, or errors.ErrUnsupported if there
// is no such call. Only lacks.go decides which of them the caller sees.
type FS interface {
	// Lock takes the advisory lock of a part file without waiting, and creates
	// the file, for this user alone, if create is set. ErrBusy says that another holds the lock,
	// fs.ErrNotExist that there is no file, and another *fs.PathError that it cannot be
	// opened. The error of the lock call itself must not be a *fs.PathError. Closing
	// releases the lock.
	Lock(part string, create bool) (io.Closer, error)
	// Open opens an existing regular file for reading and writing.
	Open(name string) (File, error)
	// CreateTemp opens a new file in dir that has no name, for Link to give it one.
	CreateTemp(dir string) (File, error)
	// Link gives an unnamed file its name; fs.ErrExist where that is taken.
	LinkTemp(f File, name string) error
	// OpenRead opens an existing regular file for reading only.
	OpenRead(name string) (ReadFile, error)
	Lstat(name string) (fs.FileInfo, error)
	// Alone returns an ErrNotOurs unless the regular file at name, which info is about,
	// belongs to this user and has no other name.
	CheckPrivate(name string, info fs.FileInfo) error
	// SameFile reports whether both are of one file.
	SameFile(a, b fs.FileInfo) bool
	// Mkdir creates a directory whose parent exists.
	Mkdir(dir string) error
	// Rename fails with fs.ErrExist where to exists, unless replace is set.
	Rename(from, to string, replace bool) error
	// Hardlink gives a file a second name; fs.ErrExist where that is taken.
	Hardlink(from, to string) error
	Remove(name string) error
	// SyncDir makes the entries of dir durable.
	SyncDir(dir string) error
	// Free returns how many bytes the user may still write below dir.
	FreeSpace(dir string) (int64, error)
}

// ReadFile is a finished file, open for reading.
type ReadFile interface {
	io.ReaderAt
	io.Closer
}

// File is an open part file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	// Sync makes data and metadata durable, DataSync only what is needed to
	// read the data back.
	Sync() error
	DataSync() error
	// StartSync lets the disk begin with what a Sync that follows waits for.
	StartSync()
	SetModTime(t time.Time) error
	Chmod(mode fs.FileMode) error
	// Reserve asks the file system for the blocks of r where it gives them
	// without writing zeros, and does nothing elsewhere. The size of the file
	// stays. It blocks writers for as long as it takes.
	Reserve(off, length int64) error
	// Unreserve gives back the blocks of a range that has no bytes of ours, where Reserve
	// asks for them. The size of the file stays.
	Unreserve(off, length int64) error
}

// osFS is the real file system.
type osFS struct{}

// osFile is a real file.
type osFile struct{ *os.File }

func (osFS) Lstat(name string) (fs.FileInfo, error) { return os.Lstat(name) }
func (osFS) SameFile(a, b fs.FileInfo) bool         { return os.SameFile(a, b) }
func (osFS) Remove(name string) error               { return os.Remove(name) }
func (osFS) Mkdir(dir string) error                 { return os.Mkdir(dir, 0o777) }

// partMode is the mode of a part file: whoever may read a file may lock it.
const partMode = 0o600

// Lock takes the lock and makes sure that it is that of the file now at the
// path: another process may have renamed the locked one to its final name.
func (osFS) Lock(part string, create bool) (io.Closer, error) {
	flag := os.O_RDWR | openNoFollow
	if create || lockSuffix != "" {
		flag |= os.O_CREATE
	}
	if lockSuffix != "" && !create { // the lock file is not the part file
		if _, err := os.Lstat(part); err != nil {
			return nil, err
		}
	}
	name := part + lockSuffix
	for range 10 {
		lock := flock.New(name, flock.SetFlag(flag), flock.SetPermissions(partMode))
		if ok, err := tryLock(lock); err != nil {
			return nil, err
		} else if !ok {
			return nil, ErrBusy
		}
		locked, err := lock.Stat()
		if err == nil {
			var there fs.FileInfo
			there, err = os.Lstat(name)
			if err == nil && os.SameFile(locked, there) {
				return fileLock{lock}, nil
			}
		}
		lock.Close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%q keeps changing: %w", name, ErrBusy)
}

// uninterrupted calls do again if a signal interrupts it: a hundred times, because a
// file system may never do better.
func retryInterrupted(do func() error) (err error) {
	for range 100 {
		if err = do(); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	return err
}

// tryLock takes a lock without waiting.
func tryLock(lock *flock.Flock) (ok bool, err error) {
	err = retryInterrupted(func() (err error) {
		ok, err = lock.TryLock()
		return err
	})
	return ok, err
}

// heldLock is a lock that takes its own file with it, where there is one.
type fileLock struct{ *flock.Flock }

func (l fileLock) Close() error {
	err := l.Flock.Close()
	if lockSuffix != "" {
		os.Remove(l.Path()) // fails where another process has it locked by now
	}
	return err
}

func (osFS) Open(name string) (File, error) {
	f, err := openRegular(name, os.O_RDWR|openNoFollow, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) OpenRead(name string) (ReadFile, error) {
	return openRegular(name, os.O_RDONLY|openNoFollow, 0)
}

// openRegular is os.OpenFile for regular files only.
func openRegular(name string, flag int, perm fs.FileMode) (*os.File, error) {
	f, err := os.OpenFile(name, flag|openNonblock, perm)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: errors.New("not a regular file")}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (osFS) Rename(from, to string, replace bool) error {
	if replace {
		return os.Rename(from, to)
	}
	return renameNoReplace(from, to)
}

// SetModTime works on the path, as the os package has no call for an open file. It sets
// the time of access too, because file systems made with libfuse 2 ignore a call that
// sets one of the two.
func (f osFile) SetModTime(t time.Time) error { return setTimes(f.Name(), t) }
