//go:build unix

package store

import (
	"errors"
	"io/fs"
	"math"
	"math/bits"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	openNoFollow = unix.O_NOFOLLOW // a planted symbolic link is not followed
	openNonblock = unix.O_NONBLOCK // nor a pipe waited for; files do not mind
	lockSuffix   = ""              // the part file itself is locked
)

// SyncDir is fsync(2) of a directory.
func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Hardlink is link(2).
func (osFS) Hardlink(from, to string) error { return os.Link(from, to) }

// Free is statfs(2): the blocks that an ordinary user may take. If the total is zero, as
// with some FUSE file systems, the number of free blocks means nothing.
func (osFS) FreeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if st.Blocks == 0 || st.Bsize == 0 {
		return 0, errors.ErrUnsupported
	}
	if over, free := bits.Mul64(uint64(st.Bavail), uint64(st.Bsize)); over == 0 && free <= math.MaxInt64 {
		return int64(free), nil
	}
	return math.MaxInt64, nil
}

// allocated returns how many bytes of the disk a file takes, reserved ones too.
func allocated(info fs.FileInfo) (n int64, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int64(st.Blocks) * 512, true // whatever the block size (POSIX)
}

// setTimes sets the times of access, to now, and of modification. A symbolic link is not
// followed.
func setTimes(path string, modified time.Time) error {
	times := make([]unix.Timespec, 2)
	for i, t := range []time.Time{time.Now(), modified} {
		var err error
		if times[i], err = unix.TimeToTimespec(t); err != nil {
			return &fs.PathError{Op: "utimensat", Path: path, Err: err}
		}
	}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "utimensat", Path: path, Err: err}
	}
	return nil
}

// unlock gives up bbolt's lock on f, which is of flock(2).
func unlock(f *os.File) { unix.Flock(int(f.Fd()), unix.LOCK_UN) }

// linkError gives err the paths it is about; nil stays nil.
func linkError(from, to string, err error) error {
	if err == nil {
		return nil
	}
	return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
}

// ownerOf returns the owner of a file and how many names it has. known is false if info
// does not say.
func ownerOf(info fs.FileInfo) (uid int, links uint64, known bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return int(st.Uid), uint64(st.Nlink), true
}

// fileID returns the numbers by which a file is known.
func fileID(info fs.FileInfo) (id FileID, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return FileID{}, false
	}
	return FileID{uint64(st.Dev), uint64(st.Ino)}, true
}

// newFileMode is the mode that a new file of this process has: all that the umask leaves.
// Linux tells the umask; elsewhere it must be set to be read, for an instant to a value
// that gives others nothing.
func newFileMode() fs.FileMode {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "Umask:"); ok {
			if mask, err := strconv.ParseUint(strings.TrimSpace(text), 8, 32); err == nil {
				return 0o666 &^ fs.FileMode(mask)
			}
		}
	}
	mask := syscall.Umask(0o077)
	syscall.Umask(mask)
	return 0o666 &^ fs.FileMode(mask)
}
