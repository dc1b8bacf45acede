package store

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/windows"
)

const (
	openNoFollow = 0
	openNonblock = 0
	// lockSuffix is the suffix of a separate lock file. Locks are mandatory on
	// Windows, so a lock on the part file would keep the download itself from writing
	// to it.
	lockSuffix = ".lock"
)

// DataSync uses FlushFileBuffers.
func (f osFile) DataSync() error { return f.File.Sync() }

// CreateTemp is not supported.
func (osFS) CreateTemp(string) (File, error) { return nil, errors.ErrUnsupported }

// LinkTemp is not supported.
func (osFS) LinkTemp(File, string) error { return errors.ErrUnsupported }

// Hardlink is not supported. It is not needed, because Windows can rename without
// replacing.
func (osFS) Hardlink(_, _ string) error { return errors.ErrUnsupported }

// StartSync does nothing.
func (f osFile) StartSync() {}

// Reserve makes the file sparse. Otherwise a write far beyond the end of the file would
// fill the gap with zeros first.
func (f osFile) Reserve(off, length int64) error {
	var n uint32
	// Best effort: without it the download is only slower.
	_ = windows.DeviceIoControl(windows.Handle(f.Fd()), windows.FSCTL_SET_SPARSE, nil, 0, nil, 0, &n, nil)
	return nil
}

// Unreserve does nothing, because a sparse file has no blocks for bytes that were not
// written.
func (f osFile) Unreserve(off, length int64) error { return nil }

// SyncDir does nothing, because MoveFileEx writes through.
func (osFS) SyncDir(dir string) error { return nil }

// FreeSpace uses GetDiskFreeSpaceEx.
func (osFS) FreeSpace(dir string) (int64, error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, nil, nil); err != nil {
		return 0, &os.PathError{Op: "free space", Path: dir, Err: err}
	}
	return int64(free), nil
}

// allocated is unknown.
func allocated(info fs.FileInfo) (n int64, ok bool) { return 0, false }

// unlock does nothing, because closing the file releases the lock.
func unlock(f *os.File) {}

// renameNoReplace uses MoveFileEx without MOVEFILE_REPLACE_EXISTING.
func renameNoReplace(from, to string) error {
	old, err := windows.UTF16PtrFromString(from)
	if err != nil {
		return err
	}
	name, err := windows.UTF16PtrFromString(to)
	if err != nil {
		return err
	}
	err = windows.MoveFileEx(old, name, windows.MOVEFILE_WRITE_THROUGH)
	if errors.Is(err, windows.ERROR_ALREADY_EXISTS) || errors.Is(err, windows.ERROR_FILE_EXISTS) {
		err = fs.ErrExist
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// changeTime returns the modification time, the best approximation of the last change
// here.
func changeTime(info fs.FileInfo) time.Time { return info.ModTime() }

// ownerOf is unknown, because pawl does not read access control lists.
func ownerOf(info fs.FileInfo) (uid int, links uint64, known bool) { return 0, 0, false }

// fileID is unknown: the numbers need an open file.
func fileID(fs.FileInfo) (id FileID, ok bool) { return FileID{}, false }

// setTimes sets the access time to now and the modification time to modified.
func setTimes(path string, modified time.Time) error { return os.Chtimes(path, time.Now(), modified) }

// newFileMode returns the mode of a writable file.
func newFileMode() fs.FileMode { return 0o666 }
