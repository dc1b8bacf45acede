//go:build unix && !linux

package store

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// DataSync is a full sync; on darwin the os package asks for F_FULLFSYNC.
func (f osFile) DataSync() error { return f.File.Sync() }

// Unnamed is not to be had here.
func (osFS) Unnamed(string) (File, error) { return nil, errors.ErrUnsupported }

// Link is for what Unnamed opens.
func (osFS) Link(File, string) error { return errors.ErrUnsupported }

// StartSync does nothing.
func (f osFile) StartSync() {}

// Reserve does nothing: files are sparse.
func (f osFile) Reserve(off, length int64) error { return nil }

// renameNoReplace links the new name, which fails where one exists, and drops
// the old one. A crash between the two leaves both names on one file.
func renameNoReplace(from, to string) error {
	err := os.Link(from, to)
	switch {
	case errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOSYS):
		return renameChecked(from, to)
	case err != nil:
		return err
	}
	return os.Remove(from)
}

// touched returns when a file was last changed, as far as can be told.
func touched(info fs.FileInfo) time.Time { return info.ModTime() }
