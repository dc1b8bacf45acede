//go:build unix && !linux

package store

import (
	"errors"
	"io/fs"
	"time"
)

// DataSync is a full sync; on darwin the os package asks for F_FULLFSYNC.
func (f osFile) DataSync() error { return f.File.Sync() }

// TempFile is not to be had here.
func (osFS) CreateTemp(string) (File, error) { return nil, errors.ErrUnsupported }

// Link is for what TempFile opens.
func (osFS) LinkTemp(File, string) error { return errors.ErrUnsupported }

// StartSync does nothing.
func (f osFile) StartSync() {}

// Reserve does nothing: files are sparse.
func (f osFile) Reserve(off, length int64) error { return nil }

// Unreserve does nothing.
func (f osFile) Unreserve(off, length int64) error { return nil }

// renameNoReplace is not to be had here.
func renameNoReplace(_, _ string) error { return errors.ErrUnsupported }

// touched returns when a file was last changed, as far as can be told.
func changeTime(info fs.FileInfo) time.Time { return info.ModTime() }
