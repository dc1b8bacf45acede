package store

// This file decides what happens if the file system of the part files lacks a call.
// The table says which errors mean that, and what the user reads. A tolerantFS goes on
// without the call.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// A lack is a call that a file system may not have.
type limitation int

const (
	noLocks     limitation = iota
	noDirSync              // open and fsync of a directory
	noDataSync             // fdatasync
	noSync                 // fsync of a file
	noTimes                // utimensat
	noModes                // fchmod
	noTruncate             // ftruncate
	noExclusive            // rename without replacing
	noHardlinks            // link of a named file
	noTempFiles            // open with O_TMPFILE
	noTempLinks            // link of an unnamed file
	limitationCount
)

// lacks is the table. ENOSYS, ENOTSUP and EOPNOTSUPP mean a lack whatever the call.
var limitations = [limitationCount]struct {
	errs   []syscall.Errno // further errors that mean the lack
	others bool            // errs do not mean it, and all other errors do
	weaker string          // what the user reads, once; "" if no promise becomes weaker
}{
	noLocks: {
		others: true,
		weaker: "this file system cannot lock files; do not download to the same file from two machines",
	},
	noDirSync: { // EACCES and EPERM: a directory that one may write but not read
		errs:   []syscall.Errno{syscall.EINVAL, syscall.EBADF, syscall.EISDIR, syscall.EPERM, syscall.EACCES},
		weaker: "this file system cannot sync directories; a power cut may lose the file's name",
	},
	// Not EPERM and EACCES, with which NFS reports lost bytes: the next sync would
	// succeed, and the bytes would still be lost.
	noDataSync: {errs: []syscall.Errno{syscall.EINVAL}},
	noSync: {
		errs:   []syscall.Errno{syscall.EINVAL},
		weaker: "this file system cannot sync files; a power cut may lose what was downloaded",
	},
	noTimes: {
		others: true,
		weaker: "this file system cannot set the time of a file; files have the time of their download",
	},
	noModes:    {others: true}, // such a file system has one mode for all files
	noTruncate: {errs: []syscall.Errno{syscall.EINVAL, syscall.EPERM, syscall.EACCES}},
	noExclusive: {
		errs: []syscall.Errno{syscall.EEXIST}, others: true,
		weaker: "this file system cannot rename without replacing; a file that gets the same name at that moment is lost",
	},
	noHardlinks: {errs: []syscall.Errno{syscall.EEXIST}, others: true},
	noTempFiles: {
		errs: []syscall.Errno{syscall.ENOENT, syscall.ENOTDIR, syscall.EMFILE, syscall.ENFILE,
			syscall.ENOSPC, syscall.EDQUOT, syscall.EIO},
		others: true,
	},
	noTempLinks: { // ENOENT: /proc is not there
		errs: []syscall.Errno{syscall.EEXIST, syscall.ENAMETOOLONG,
			syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EROFS},
		others: true,
	},
}

// means reports whether err means the lack. An error that the system did not
// return means none.
func (l limitation) explains(err error) bool {
	if errors.Is(err, errors.ErrUnsupported) {
		return true
	}
	var errno syscall.Errno
	return errors.As(err, &errno) && slices.Contains(limitations[l].errs, errno) != limitations[l].others
}

// A tolerantFS does without what its FS lacks. If a promise becomes weaker it warns,
// once for each lack. Safe for concurrent use.
type tolerantFS struct {
	FS
	lockDir string // directory of the locks for files that cannot be locked
	warn    func(string)

	mu    sync.Mutex
	found [limitationCount]bool // guarded by mu
}

// note records that the file system lacks l, as err shows, and warns the first time.
func (t *tolerantFS) noteLimitation(l limitation, err error) {
	t.mu.Lock()
	known := t.found[l]
	t.found[l] = true
	t.mu.Unlock()
	if text := limitations[l].weaker; text != "" && !known {
		t.warn(fmt.Sprintf("%s (%v)", text, err))
	}
}

// skip returns nil if err means l, and err otherwise.
func (t *tolerantFS) tolerate(l limitation, err error) error {
	if !l.explains(err) {
		return err
	}
	t.noteLimitation(l, err)
	return nil
}

// knows reports whether the file system was found to lack l.
func (t *tolerantFS) hasLimitation(l limitation) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.found[l]
}

func (t *tolerantFS) Open(name string) (File, error) {
	f, err := t.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return tolerantFile{f, t}, nil
}

// CreateTemp returns errors.ErrUnsupported once Link has.
func (t *tolerantFS) CreateTemp(dir string) (File, error) {
	if t.hasLimitation(noTempLinks) {
		return nil, errors.ErrUnsupported
	}
	f, err := t.FS.CreateTemp(dir)
	switch {
	case noTempFiles.explains(err):
		return nil, unsupportedError{err}
	case err != nil:
		return nil, err
	}
	return tolerantFile{f, t}, nil
}

// Link returns errors.ErrUnsupported if the file cannot get a name, though its bytes
// are all there.
func (t *tolerantFS) LinkTemp(f File, name string) error {
	err := t.FS.LinkTemp(f.(tolerantFile).File, name)
	if !noTempLinks.explains(err) {
		return err
	}
	t.noteLimitation(noTempLinks, err)
	return unsupportedError{err}
}

// MkdirAll creates a directory and its parents, durably.
func (t *tolerantFS) MkdirAll(dir string) error {
	if _, err := t.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := t.MkdirAll(parent); err != nil {
		return err
	}
	if err := t.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := t.SyncDir(parent); err != nil {
		t.Remove(dir) // so that the next call does not take it for durable
		return err
	}
	return nil
}

func (t *tolerantFS) SyncDir(dir string) error { return t.tolerate(noDirSync, t.FS.SyncDir(dir)) }

// Rename without replacing falls back to a link, which fails if the new name exists,
// and then removes the old name. A crash between the two leaves one file with both
// names. Without links it looks first, which leaves a window of microseconds.
func (t *tolerantFS) Rename(from, to string, replace bool) error {
	err := t.FS.Rename(from, to, replace)
	if replace || !noExclusive.explains(err) {
		return err
	}
	err = t.Hardlink(from, to)
	if err == nil {
		return t.Remove(from)
	}
	if !noHardlinks.explains(err) {
		return err
	}
	if _, lstatErr := t.Lstat(to); lstatErr == nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: fs.ErrExist}
	} else if !errors.Is(lstatErr, fs.ErrNotExist) {
		return lstatErr
	}
	if renameErr := t.FS.Rename(from, to, true); renameErr != nil {
		return renameErr
	}
	t.noteLimitation(noExclusive, err)
	return nil
}

// A tolerantFile does without what the file system lacks.
type tolerantFile struct {
	File
	fs *tolerantFS
}

// DataSync syncs everything if it cannot sync the data alone.
func (f tolerantFile) DataSync() error {
	if err := f.File.DataSync(); !noDataSync.explains(err) {
		return err
	}
	return f.Sync()
}

func (f tolerantFile) Sync() error { return f.fs.tolerate(noSync, f.File.Sync()) }

// SetModTime may leave the time as it is. Stat reports the time that the file has.
func (f tolerantFile) SetModTime(t time.Time) error {
	return f.fs.tolerate(noTimes, f.File.SetModTime(t))
}

// Chmod may leave the mode as it is.
func (f tolerantFile) Chmod(mode fs.FileMode) error {
	return f.fs.tolerate(noModes, f.File.Chmod(mode))
}

// Truncate returns errors.ErrUnsupported if files cannot be cut.
func (f tolerantFile) Truncate(size int64) error {
	err := f.File.Truncate(size)
	if noTruncate.explains(err) {
		return unsupportedError{err}
	}
	return err
}

// An unsupportedError is an errors.ErrUnsupported that says what has failed.
type unsupportedError struct{ error }

func (e unsupportedError) Unwrap() error        { return e.error }
func (e unsupportedError) Is(target error) bool { return target == errors.ErrUnsupported }
