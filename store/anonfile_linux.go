package store

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// An anonFile is a file without a name. There are thousands of them, so it uses few
// system calls per file: it avoids os.File, which would register each one with the
// poller.
type anonFile struct {
	fd  int // -1 once closed
	dir string
}

// CreateTemp uses open(2) with O_TMPFILE.
func (osFS) CreateTemp(dir string) (File, error) {
	f := &anonFile{-1, dir}
	err := f.retry("open", func() (err error) {
		f.fd, err = unix.Open(dir, unix.O_RDWR|unix.O_TMPFILE|unix.O_CLOEXEC, 0o666)
		return err
	})
	if err != nil {
		return nil, err
	}
	if unix.Access(f.path(), unix.F_OK) != nil { // without /proc the file could never be linked
		unix.Close(f.fd)
		return nil, errors.ErrUnsupported
	}
	return f, nil
}

// LinkTemp uses linkat(2) on the path in /proc, which an unprivileged process may do.
func (osFS) LinkTemp(f File, name string) error {
	err := unix.Linkat(unix.AT_FDCWD, f.(*anonFile).path(), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
	if err != nil {
		return &os.LinkError{Op: "link", Old: "temporary file", New: name, Err: err}
	}
	return nil
}

// path returns a path that leads to the file while it is open (proc(5)).
func (f *anonFile) path() string { return "/proc/self/fd/" + strconv.Itoa(f.fd) }

// retry calls do, again if a signal interrupts it, and wraps its error with the operation
// and the directory.
func (f *anonFile) retry(op string, do func() error) error {
	if err := retryInterrupted(do); err != nil {
		return &os.PathError{Op: op, Path: f.dir, Err: err}
	}
	return nil
}

func (f *anonFile) ReadAt(b []byte, off int64) (n int, err error) {
	err = f.retry("read", func() (err error) {
		n, err = unix.Pread(f.fd, b, off)
		return err
	})
	if err == nil && n < len(b) {
		err = io.EOF
	}
	return max(n, 0), err
}

func (f *anonFile) WriteAt(b []byte, off int64) (n int, err error) {
	for n < len(b) && err == nil {
		err = f.retry("write", func() error {
			k, err := unix.Pwrite(f.fd, b[n:], off+int64(n))
			n += max(k, 0)
			if err == nil && k == 0 {
				err = io.ErrShortWrite
			}
			return err
		})
	}
	return n, err
}

func (f *anonFile) Truncate(size int64) error {
	return f.retry("truncate", func() error { return unix.Ftruncate(f.fd, size) })
}

func (f *anonFile) Sync() error {
	return f.retry("sync", func() error { return unix.Fsync(f.fd) })
}

func (f *anonFile) DataSync() error { return f.Sync() }

// StartSync uses sync_file_range(2) without waiting.
func (f *anonFile) StartSync() { unix.SyncFileRange(f.fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE) }

// SetModTime uses utimensat(2) and sets both times, for the reason given at osFile.
func (f *anonFile) SetModTime(t time.Time) error {
	return f.retry("set the time of", func() error { return setBothTimes(f.path(), t, 0) })
}

// Chmod uses fchmod(2).
func (f *anonFile) Chmod(mode fs.FileMode) error {
	return f.retry("chmod", func() error { return unix.Fchmod(f.fd, uint32(mode.Perm())) })
}

func (f *anonFile) Reserve(_, _ int64) error   { return nil }
func (f *anonFile) Unreserve(_, _ int64) error { return nil }

// Stat uses fstat(2). Its result has only size, mode and modification time.
func (f *anonFile) Stat() (fs.FileInfo, error) {
	var st unix.Stat_t
	err := f.retry("stat", func() error { return unix.Fstat(f.fd, &st) })
	return anonInfo{st}, err
}

func (f *anonFile) Close() error {
	fd := f.fd
	if f.fd = -1; fd < 0 {
		return os.ErrClosed
	}
	return unix.Close(fd)
}

// anonInfo is the result of anonFile.Stat.
type anonInfo struct{ st unix.Stat_t }

func (i anonInfo) Name() string       { return "" }
func (i anonInfo) Size() int64        { return i.st.Size }
func (i anonInfo) Mode() fs.FileMode  { return fs.FileMode(i.st.Mode).Perm() }
func (i anonInfo) ModTime() time.Time { return time.Unix(i.st.Mtim.Unix()) }
func (i anonInfo) IsDir() bool        { return false }
func (i anonInfo) Sys() any           { return nil }
