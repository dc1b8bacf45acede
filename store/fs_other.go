//go:build unix && !linux

package store

import (
	"errors"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// DataSync syncs everything. On darwin, package os uses F_FULLFSYNC.
func (f osFile) DataSync() error { return f.File.Sync() }

// CreateTemp is not supported.
func (osFS) CreateTemp(string) (File, error) { return nil, errors.ErrUnsupported }

// LinkTemp is not supported.
func (osFS) LinkTemp(File, string) error { return errors.ErrUnsupported }

// StartSync does nothing.
func (f osFile) StartSync() {}

// Reserve does nothing, because part files are sparse.
func (f osFile) Reserve(off, length int64) error { return nil }

// Unreserve does nothing.
func (f osFile) Unreserve(off, length int64) error { return nil }

// renameNoReplace is not supported; tolerantFS links and unlinks instead.
func renameNoReplace(_, _ string) error { return errors.ErrUnsupported }

// blockSizeOf returns the unit in which statfs(2) counts blocks.
func blockSizeOf(st *unix.Statfs_t) uint64 { return uint64(st.Bsize) }

// changeTime returns the modification time, the best approximation of the last change
// here.
func changeTime(info fs.FileInfo) time.Time { return info.ModTime() }
