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
	// lockSuffix: locks are mandatory on this system, so one on the part file
	// would keep the download itself from writing.
	lockSuffix = ".lock"
)

// DataSync is FlushFileBuffers.
func (f osFile) DataSync() error { return f.File.Sync() }

// TempFile is not to be had here.
func (osFS) CreateTemp(string) (File, error) { return nil, errors.ErrUnsupported }

// Link is for what TempFile opens.
func (osFS) LinkTemp(File, string) error { return errors.ErrUnsupported }

// Hardlink is for systems that cannot rename without replacing.
func (osFS) Hardlink(_, _ string) error { return errors.ErrUnsupported }

// StartSync does nothing.
func (f osFile) StartSync() {}

// Reserve makes the file sparse, so that a write far beyond its end does not
// fill the gap with zeros.
func (f osFile) Reserve(off, length int64) error {
	var n uint32
	// A favour: where it fails the file is filled, more slowly.
	_ = windows.DeviceIoControl(windows.Handle(f.Fd()), windows.FSCTL_SET_SPARSE, nil, 0, nil, 0, &n, nil)
	return nil
}

// Unreserve does nothing: a sparse file has no blocks of bytes that were not written.
func (f osFile) Unreserve(off, length int64) error { return nil }

// SyncDir does nothing: MoveFileEx writes through.
func (osFS) SyncDir(dir string) error { return nil }

// Free is GetDiskFreeSpaceEx.
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

// allocated is not known.
func allocated(info fs.FileInfo) (n int64, ok bool) { return 0, false }

// unlock does nothing: closing the file unlocks it.
func unlock(f *os.File) {}

// renameNoReplace is MoveFileEx without leave to replace.
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

// touched returns when a file was last changed, as far as can be told.
func changeTime(info fs.FileInfo) time.Time { return info.ModTime() }

// ownerOf is not known: the access lists of this system are not looked at.
func ownerOf(info fs.FileInfo) (uid int, links uint64, known bool) { return 0, 0, false }

// fileID is not to be had without opening the file.
func fileID(fs.FileInfo) (id FileID, ok bool) { return FileID{}, false }

// setTimes sets the times of access, to now, and of modification.
func setTimes(path string, modified time.Time) error { return os.Chtimes(path, time.Now(), modified) }

// newFileMode is that of a file that may be written.
func newFileMode() fs.FileMode { return 0o666 }
