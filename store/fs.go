package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// FS is the file system of the part files. It is an interface so that tests can simulate
// a crash at any step. All paths are absolute. A method whose system call fails must
// return that error, or errors.ErrUnsupported if the system has no such call. Only
// tolerantFS decides which errors the caller sees.
type FS interface {
	// Lock takes the advisory lock of a part file without waiting. With create it
	// creates a missing file that only this user may read and write. The errors are
	// ErrBusy if somebody else holds the lock, fs.ErrNotExist if there is no file,
	// and another *fs.PathError if the file cannot be opened. The error of the lock
	// call itself must not be a *fs.PathError, because tolerantFS distinguishes the two
	// by it. Close releases the lock.
	Lock(part string, create bool) (io.Closer, error)
	// Open opens an existing regular file for reading and writing.
	Open(name string) (File, error)
	// CreateTemp opens a new file in dir that has no name until LinkTemp names it.
	CreateTemp(dir string) (File, error)
	// LinkTemp gives a file of CreateTemp its name. If the name exists, the error is
	// fs.ErrExist.
	LinkTemp(f File, name string) error
	// OpenRead opens an existing regular file for reading only.
	OpenRead(name string) (ReadFile, error)
	Lstat(name string) (fs.FileInfo, error)
	// CheckPrivate returns an ErrNotOurs unless the regular file at name belongs to
	// this user and has no other name. info must be the result of Lstat or Stat for
	// the file.
	CheckPrivate(name string, info fs.FileInfo) error
	// SameFile reports whether a and b describe the same file.
	SameFile(a, b fs.FileInfo) bool
	// Mkdir creates a directory. Its parent must exist.
	Mkdir(dir string) error
	// Rename renames from to to. If to exists and replace is false, the error is
	// fs.ErrExist.
	Rename(from, to string, replace bool) error
	// Hardlink gives the file from the second name to. If to exists, the error is
	// fs.ErrExist.
	Hardlink(from, to string) error
	Remove(name string) error
	// NamesWith returns the names in dir that begin with prefix, in any order.
	NamesWith(dir, prefix string) ([]string, error)
	// SyncDir makes the entries of dir durable.
	SyncDir(dir string) error
	// FreeSpace returns how many bytes the user may still write below dir.
	FreeSpace(dir string) (int64, error)
}

// A ReadFile is a finished file, open for reading.
type ReadFile interface {
	io.ReaderAt
	io.Closer
}

// A File is an open part file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	// Sync makes data and metadata durable. DataSync makes the data durable, and only
	// the metadata that is needed to read it.
	Sync() error
	DataSync() error
	// StartSync starts writing to the disk, so that a following Sync has less to wait
	// for. It does not wait and returns no error.
	StartSync()
	SetModTime(t time.Time) error
	Chmod(mode fs.FileMode) error
	// Reserve allocates disk blocks for a range if the file system can do so without
	// writing zeros; otherwise it does nothing. It must not change the size of the
	// file. It blocks writers while it runs.
	Reserve(off, length int64) error
	// Unreserve frees the disk blocks of a range that holds no received bytes, on
	// file systems on which Reserve allocates them. It must not change the size of
	// the file.
	Unreserve(off, length int64) error
}

// osFS is the real file system.
type osFS struct{}

// osFile is a file of osFS.
type osFile struct{ *os.File }

func (osFS) Lstat(name string) (fs.FileInfo, error) { return os.Lstat(name) }
func (osFS) SameFile(a, b fs.FileInfo) bool         { return os.SameFile(a, b) }
func (osFS) Remove(name string) error               { return os.Remove(name) }
func (osFS) Mkdir(dir string) error                 { return os.Mkdir(dir, 0o777) }

// NamesWith reads a thousand names at a time, because dir may have millions.
func (osFS) NamesWith(dir, prefix string) (names []string, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	for {
		some, err := d.Readdirnames(1000)
		for _, name := range some {
			if strings.HasPrefix(name, prefix) {
				names = append(names, name)
			}
		}
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return names, err
		}
	}
}

// partMode is the mode of a part file. Other users must not be able to read it, because a
// user who can open a file can lock it and so block the download.
const partMode = 0o600

// Lock takes the lock and then checks that the locked file is still at the path: another
// process may have renamed it to its final name between the open and the lock. Such a
// lock would protect the wrong file, so Lock tries again, ten times.
func (osFS) Lock(part string, create bool) (io.Closer, error) {
	flag := os.O_RDWR | openNoFollow
	if create || lockSuffix != "" {
		flag |= os.O_CREATE
	}
	if lockSuffix != "" && !create { // do not create a lock file for a part file that does not exist
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

// retryInterrupted calls do again while a signal interrupts it, 100 times at most,
// because a broken file system may always return EINTR.
func retryInterrupted(do func() error) (err error) {
	for range 100 {
		if err = do(); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	return err
}

// tryLock takes the lock without waiting.
func tryLock(lock *flock.Flock) (ok bool, err error) {
	err = retryInterrupted(func() (err error) {
		ok, err = lock.TryLock()
		return err
	})
	return ok, err
}

// A fileLock removes its own lock file on Close, on systems on which the lock is not on
// the part file itself.
type fileLock struct{ *flock.Flock }

func (l fileLock) Close() error {
	err := l.Flock.Close()
	if lockSuffix != "" {
		os.Remove(l.Path()) // fails if another process holds the lock by now, which is fine
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

// openRegular is os.OpenFile, but fails if the file is not a regular one. It does not
// wait for the other end of a pipe.
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

// SetModTime works on the path, because package os has no call for an open file. It sets
// the access time, too: file systems made with libfuse 2 ignore a call that sets only one
// of the two.
func (f osFile) SetModTime(t time.Time) error { return setTimes(f.Name(), t) }
