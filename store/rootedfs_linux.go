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

// fdDir is the directory with a path for each open file of this process (proc(5)).
const fdDir = "/proc/self/fd"

// openDirNoFollow opens the directory rel below root without following a symbolic link on
// the way from root. It returns a path that leads to the open directory until done is
// called. Without /proc it returns the ordinary path; a link that somebody creates after
// the check is then followed.
func (b rootedFS) openDirNoFollow(rel string) (path string, done func(), err error) {
	top, err := openDir(unix.AT_FDCWD, b.root, 0)
	if err != nil {
		return "", nil, &fs.PathError{Op: "open", Path: b.root, Err: err}
	}
	fd, err := openDir(top, rel, unix.RESOLVE_NO_SYMLINKS)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) { // Linux before 5.6, or a seccomp filter
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

// openDir opens a directory with openat2(2), or with openat(2) if resolve is 0.
func openDir(at int, name string, resolve uint64) (fd int, err error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
	err = retryInterrupted(func() (err error) {
		if resolve == 0 {
			fd, err = unix.Openat(at, name, flags, 0)
			return err
		}
		fd, err = unix.Openat2(at, name, &unix.OpenHow{Flags: flags, Resolve: resolve})
		if errors.Is(err, unix.EAGAIN) { // a rename during the lookup; try again
			err = unix.EINTR
		}
		return err
	})
	return fd, err
}

// openStepwise opens the directories of rel one after another, for systems without
// openat2.
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

// reopenAs returns a file with the same handle and another name, which appears in errors.
// It closes f.
func reopenAs(f *os.File, name string) (*os.File, error) {
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
