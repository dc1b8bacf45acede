package store

// This file makes pawl work on file systems that lack a call for part files. The table
// limitations has the errors that mean that a call is missing, and the warning for each. A
// tolerantFS works without the missing call.

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

// A limitation is a call that a file system lacks.
type limitation int

const (
	noLocks     limitation = iota
	noDirSync              // open or fsync of a directory
	noDataSync             // fdatasync
	noSync                 // fsync of a file
	noTimes                // utimensat
	noModes                // fchmod
	noTruncate             // ftruncate
	noExclusive            // rename that does not replace
	noReplace              // rename that replaces
	noHardlinks            // link of a file with a name
	noTempFiles            // open with O_TMPFILE
	noTempLinks            // link of a file without a name
	limitationCount
)

// limitations says which errors mean that a call is missing. ENOSYS, ENOTSUP and
// EOPNOTSUPP always do.
var limitations = [limitationCount]struct {
	errs   []syscall.Errno // further errors that mean the limitation
	others bool            // inverts errs: all errors except errs mean the limitation
	weaker string          // warning for the user, once per Store; "" if no promise becomes weaker
}{
	noLocks: {
		others: true,
		weaker: "this file system cannot lock files; do not download to the same file from two machines",
	},
	noDirSync: { // EACCES, EPERM: a directory that the user may write but not read
		errs:   []syscall.Errno{syscall.EINVAL, syscall.EBADF, syscall.EISDIR, syscall.EPERM, syscall.EACCES},
		weaker: "this file system cannot sync directories; a power cut may lose the file's name",
	},
	// EPERM and EACCES must not be in this list. NFS uses them to report lost bytes:
	// the next sync would succeed although the bytes are lost.
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
	noReplace: {
		errs:   []syscall.Errno{syscall.EEXIST, syscall.EPERM, syscall.EACCES, syscall.EINVAL},
		weaker: "this file system cannot replace a file in one step; a crash at that moment loses the old file",
	},
	noHardlinks: {errs: []syscall.Errno{syscall.EEXIST}, others: true},
	noTempFiles: {
		errs: []syscall.Errno{syscall.ENOENT, syscall.ENOTDIR, syscall.EMFILE, syscall.ENFILE,
			syscall.ENOSPC, syscall.EDQUOT, syscall.EIO},
		others: true,
	},
	noTempLinks: { // ENOENT is not in errs, so it means the limitation: /proc is not mounted
		errs: []syscall.Errno{syscall.EEXIST, syscall.ENAMETOOLONG,
			syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EROFS},
		others: true,
	},
}

// explains reports whether err means that the file system has the limitation l. Only an
// error of the system can mean one.
func (l limitation) explains(err error) bool {
	if errors.Is(err, errors.ErrUnsupported) {
		return true
	}
	var errno syscall.Errno
	return errors.As(err, &errno) && slices.Contains(limitations[l].errs, errno) != limitations[l].others
}

// A tolerantFS wraps an FS and works without the calls that it lacks. If a promise
// becomes weaker, it calls warn, once per limitation. Safe for concurrent use.
type tolerantFS struct {
	FS
	lockDir string // directory of the fallback locks; see fallbacklock.go
	warn    func(string)

	mu    sync.Mutex
	found [limitationCount]bool // limitations found so far; guarded by mu
}

// noteLimitation records that err has shown the limitation l, and warns the first time.
func (t *tolerantFS) noteLimitation(l limitation, err error) {
	t.mu.Lock()
	known := t.found[l]
	t.found[l] = true
	t.mu.Unlock()
	if text := limitations[l].weaker; text != "" && !known {
		t.warn(fmt.Sprintf("%s (%v)", text, err))
	}
}

// tolerate returns nil if err means the limitation l, else err.
func (t *tolerantFS) tolerate(l limitation, err error) error {
	if !l.explains(err) {
		return err
	}
	t.noteLimitation(l, err)
	return nil
}

// hasLimitation reports whether the limitation l was found before.
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

// CreateTemp returns errors.ErrUnsupported if there are no files without a name, and once
// LinkTemp has failed, because a file that cannot get a name is useless.
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

// LinkTemp returns errors.ErrUnsupported if the file system cannot name the file. The
// bytes of the file can still be read.
func (t *tolerantFS) LinkTemp(f File, name string) error {
	err := t.FS.LinkTemp(f.(tolerantFile).File, name)
	if !noTempLinks.explains(err) {
		return err
	}
	t.noteLimitation(noTempLinks, err)
	return unsupportedError{err}
}

// MkdirAll creates a directory and its missing parents, durably.
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
		t.Remove(dir) // else the next call would find it and take it for durable
		return err
	}
	return nil
}

func (t *tolerantFS) SyncDir(dir string) error { return t.tolerate(noDirSync, t.FS.SyncDir(dir)) }

// Rename without replacing falls back to a link, which fails if the new name exists, and
// an unlink of the old name. A crash between the two leaves one file with both names. If
// there are no links either, Rename checks the new name first and then renames; a file
// that is created within these microseconds is lost.
func (t *tolerantFS) Rename(from, to string, replace bool) error {
	err := t.FS.Rename(from, to, replace)
	if replace && noReplace.explains(err) {
		return t.replaceInSteps(from, to, err)
	}
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

// replaceInSteps removes the file at to and renames from to it, after a rename in one step
// has failed with err. If no file can be removed there, it returns err.
func (t *tolerantFS) replaceInSteps(from, to string, err error) error {
	if info, lstatErr := t.Lstat(to); lstatErr != nil || info.IsDir() || t.Remove(to) != nil {
		return err
	}
	if renameErr := t.FS.Rename(from, to, true); renameErr != nil {
		return renameErr
	}
	t.noteLimitation(noReplace, err)
	return nil
}

// A tolerantFile works without the calls that its file system lacks.
type tolerantFile struct {
	File
	fs *tolerantFS
}

// DataSync falls back to a full sync.
func (f tolerantFile) DataSync() error {
	if err := f.File.DataSync(); !noDataSync.explains(err) {
		return err
	}
	return f.Sync()
}

func (f tolerantFile) Sync() error { return f.fs.tolerate(noSync, f.File.Sync()) }

// SetModTime may leave the time as it is. Callers must read the actual time with Stat.
func (f tolerantFile) SetModTime(t time.Time) error {
	return f.fs.tolerate(noTimes, f.File.SetModTime(t))
}

// Chmod may leave the mode as it is.
func (f tolerantFile) Chmod(mode fs.FileMode) error {
	return f.fs.tolerate(noModes, f.File.Chmod(mode))
}

// Truncate returns errors.ErrUnsupported if the file system cannot truncate files. A file
// that has the size already is left alone, because encfs, for example, then fails.
func (f tolerantFile) Truncate(size int64) error {
	info, err := f.Stat()
	if err != nil || info.Size() == size {
		return err
	}
	err = f.File.Truncate(size)
	if noTruncate.explains(err) {
		return unsupportedError{err}
	}
	return err
}

// An unsupportedError is an errors.ErrUnsupported that keeps the text of the original
// error.
type unsupportedError struct{ error }

func (e unsupportedError) Unwrap() error        { return e.error }
func (e unsupportedError) Is(target error) bool { return target == errors.ErrUnsupported }
