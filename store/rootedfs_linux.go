package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// handlePath has a path for each open file (proc(5)).
const fdDir = "/proc/self/fd"

// openBelow opens the directory rel below root without following a symbolic link on the
// way from root, and returns a path of it that leads to the handle, until done is called. Without /proc the path is the ordinary one, and a link that is made after
// the look is followed.
func (b rootedFS) openDirNoFollow(rel string) (path string, done func(), err error) {
	top, err := openDir(unix.AT_FDCWD, b.root, 0)
	if err != nil {
		return "", nil, &fs.PathError{Op: "open", Path: b.root, Err: err}
	}
	fd, err := openDir(top, rel, unix.RESOLVE_NO_SYMLINKS)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) { // Linux before 5.6, or a filter of calls
		fd, err = openStepwise(top, rel)
	}
	unix.Close(top)
	dir := filepath.Join(b.root, rel)
	if err != nil {
		if linkErr := checkNoSymlinks(b.root, rel); errors.Is(linkErr, ErrLink) {
			return "", nil, linkErr
		}
		return "", nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	if path = fdDir + "/" + strconv.Itoa(fd); b.noProc {
		path = dir
	}
	return path, func() { unix.Close(fd) }, nil
}

// openDir is openat2(2) of a directory, or openat(2) if resolve is 0.
func openDir(at int, name string, resolve uint64) (fd int, err error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	err = retryInterrupted(func() (err error) {
		if resolve == 0 {
			fd, err = unix.Openat(at, name, flags, 0)
			return err
		}
		fd, err = unix.Openat2(at, name, &unix.OpenHow{Flags: flags, Resolve: resolve})
		if errors.Is(err, unix.EAGAIN) { // something was renamed meanwhile
			err = unix.EINTR
		}
		return err
	})
	return fd, err
}

// openSteps opens one directory of rel after another.
func openStepwise(top int, rel string) (fd int, err error) {
	fd, err = unix.FcntlInt(uintptr(top), unix.F_DUPFD_CLOEXEC, 0)
	for name := range strings.SplitSeq(rel, string(filepath.Separator)) {
		if err != nil {
			return -1, err
		}
		at := fd
		err = retryInterrupted(func() (err error) {
			fd, err = unix.Openat(at, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			return err
		})
		unix.Close(at)
	}
	return fd, err
}

// named gives an open file, which it takes, the name by which the user knows it.
func reopenAs(f *os.File, name string) (*os.File, error) {
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
