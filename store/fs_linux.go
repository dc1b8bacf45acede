package store

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// DataSync uses fdatasync(2).
func (f osFile) DataSync() error {
	err := retryInterrupted(func() error { return unix.Fdatasync(int(f.Fd())) })
	if err != nil {
		return &os.PathError{Op: "sync", Path: f.Name(), Err: err}
	}
	return nil
}

// StartSync uses sync_file_range(2) without waiting.
func (f osFile) StartSync() {
	unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE) // best effort: Sync reports all errors
}

// cheapFallocate lists the file systems on which fallocate marks blocks as unwritten
// instead of writing zeros. On all others, for example tmpfs, it is as slow as writing or
// does not exist.
var cheapFallocate = []int64{
	unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC,
}

// reserves reports whether the file system of f is in cheapFallocate.
func (f osFile) reserves() bool {
	var st unix.Statfs_t
	return unix.Fstatfs(int(f.Fd()), &st) == nil && slices.Contains(cheapFallocate, int64(st.Type))
}

// Reserve uses fallocate(2) with FALLOC_FL_KEEP_SIZE.
func (f osFile) Reserve(off, length int64) error {
	if !f.reserves() {
		return nil
	}
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, off, length)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG) {
		return &os.PathError{Op: "fallocate", Path: f.Name(), Err: err}
	}
	return nil // best effort: only a full disk is an error
}

// Unreserve punches a hole into the file. Blocks beyond the end of the file are freed by
// a truncation to the present size.
func (f osFile) Unreserve(off, length int64) error {
	if !f.reserves() {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if inside := min(off+length, info.Size()) - off; inside > 0 {
		err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, inside)
	}
	if off+length > info.Size() {
		err = errors.Join(err, f.Truncate(info.Size()))
	}
	return err
}

// blockSizeOf returns the unit in which statfs(2) counts blocks: f_frsize as statvfs(3)
// has it. Some FUSE file systems report the best size of a transfer as f_bsize.
func blockSizeOf(st *unix.Statfs_t) uint64 {
	if st.Frsize > 0 {
		return uint64(st.Frsize)
	}
	return uint64(max(st.Bsize, 0))
}

// changeTime returns when anything about the file last changed: its ctime, which no call
// can set back. Some file systems have none; there it is the modification time.
func changeTime(info fs.FileInfo) time.Time {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Ctim.Nano() != 0 {
		return time.Unix(0, st.Ctim.Nano())
	}
	return info.ModTime()
}

// renameNoReplace uses renameat2(2) with RENAME_NOREPLACE.
func renameNoReplace(from, to string) error {
	return linkError(from, to, unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE))
}
