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

// An unnamedFile is a file without a name. There are thousands of them, so it does
// without what an os.File takes to be ready for pipes and sockets: no more than a
// few system calls are made for each.
type unnamedFile struct {
	fd  int // -1 once closed
	dir string
}

// CreateTemp is open(2) with O_TMPFILE.
func (osFS) Unnamed(dir string) (File, error) {
	f := &unnamedFile{-1, dir}
	err := f.again("open", func() (err error) {
		f.fd, err = unix.Open(dir, unix.O_RDWR|unix.O_TMPFILE|unix.O_CLOEXEC, 0o666)
		return err
	})
	if err != nil {
		return nil, err
	}
	if unix.Access(f.path(), unix.F_OK) != nil { // without /proc it could never be linked
		unix.Close(f.fd)
		return nil, errors.ErrUnsupported
	}
	return f, nil
}

// Link is linkat(2).
func (osFS) Link(f File, name string) error {
	err := unix.Linkat(unix.AT_FDCWD, f.(*unnamedFile).path(), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
	if err != nil {
		return &os.LinkError{Op: "link", Old: "a new file", New: name, Err: err}
	}
	return nil
}

// path leads to the file while it is open (proc(5)).
func (f *unnamedFile) path() string { return "/proc/self/fd/" + strconv.Itoa(f.fd) }

// again calls do, again if a signal interrupts it, and says of its error what it is about.
func (f *unnamedFile) again(op string, do func() error) error {
	if err := uninterrupted(do); err != nil {
		return &os.PathError{Op: op, Path: f.dir, Err: err}
	}
	return nil
}

func (f *unnamedFile) ReadAt(b []byte, off int64) (n int, err error) {
	err = f.again("read", func() (err error) {
		n, err = unix.Pread(f.fd, b, off)
		return err
	})
	if err == nil && n < len(b) {
		err = io.EOF
	}
	return max(n, 0), err
}

func (f *unnamedFile) WriteAt(b []byte, off int64) (n int, err error) {
	for n < len(b) && err == nil {
		err = f.again("write", func() error {
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

func (f *unnamedFile) Truncate(size int64) error {
	return f.again("truncate", func() error { return unix.Ftruncate(f.fd, size) })
}

func (f *unnamedFile) Sync() error {
	return f.again("sync", func() error { return unix.Fsync(f.fd) })
}

func (f *unnamedFile) DataSync() error { return f.Sync() }

// StartSync is sync_file_range(2) that does not wait.
func (f *unnamedFile) StartSync() { unix.SyncFileRange(f.fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE) }

// SetModTime is utimensat(2) for both times, as that of osFile.
func (f *unnamedFile) SetModTime(t time.Time) error {
	times := []unix.Timespec{{Nsec: unix.UTIME_NOW}, unix.NsecToTimespec(t.UnixNano())}
	return f.again("set the time of", func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, f.path(), times, 0) })
}

// Chmod is fchmod(2).
func (f *unnamedFile) Chmod(mode fs.FileMode) error {
	return f.again("chmod", func() error { return unix.Fchmod(f.fd, uint32(mode.Perm())) })
}

func (f *unnamedFile) Reserve(_, _ int64) error   { return nil }
func (f *unnamedFile) Unreserve(_, _ int64) error { return nil }

// Stat is fstat(2), of which it tells size and modification time.
func (f *unnamedFile) Stat() (fs.FileInfo, error) {
	var st unix.Stat_t
	err := f.again("stat", func() error { return unix.Fstat(f.fd, &st) })
	return unnamedInfo{st}, err
}

func (f *unnamedFile) Close() error {
	fd := f.fd
	if f.fd = -1; fd < 0 {
		return os.ErrClosed
	}
	return unix.Close(fd)
}

// unnamedInfo is what Stat tells.
type unnamedInfo struct{ st unix.Stat_t }

func (i unnamedInfo) Name() string       { return "" }
func (i unnamedInfo) Size() int64        { return i.st.Size }
func (i unnamedInfo) Mode() fs.FileMode  { return fs.FileMode(i.st.Mode).Perm() }
func (i unnamedInfo) ModTime() time.Time { return time.Unix(i.st.Mtim.Unix()) }
func (i unnamedInfo) IsDir() bool        { return false }
func (i unnamedInfo) Sys() any           { return nil }
