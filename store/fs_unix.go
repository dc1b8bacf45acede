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
	openNoFollow = unix.O_NOFOLLOW // fail on a symbolic link that somebody has planted
	openNonblock = unix.O_NONBLOCK // do not block on a pipe; no effect on regular files
	lockSuffix   = ""              // the lock is on the part file itself
)

// SyncDir uses fsync(2) on the directory.
func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Hardlink uses link(2).
func (osFS) Hardlink(from, to string) error { return os.Link(from, to) }

// FreeSpace uses statfs(2) and returns the blocks that an ordinary user may use. Some
// FUSE file systems report a total of zero blocks; their free blocks are meaningless.
func (osFS) FreeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if st.Blocks == 0 || blockSizeOf(&st) == 0 {
		return 0, errors.ErrUnsupported
	}
	if over, free := bits.Mul64(uint64(st.Bavail), blockSizeOf(&st)); over == 0 && free <= math.MaxInt64 {
		return int64(free), nil
	}
	return math.MaxInt64, nil
}

// allocated returns how many bytes of the disk a file occupies, including reserved
// blocks.
func allocated(info fs.FileInfo) (n int64, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int64(st.Blocks) * 512, true // st_blocks counts units of 512 bytes, whatever the block size (stat(2))
}

// setTimes sets the access time to now and the modification time to modified. It does not
// follow a symbolic link.
func setTimes(path string, modified time.Time) error {
	if err := setBothTimes(path, modified, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "utimensat", Path: path, Err: err}
	}
	return nil
}

// setBothTimes is setTimes with flags of utimensat(2), and with the error as the system
// returns it. It gives both times as numbers, because some file systems take UTIME_OMIT or
// UTIME_NOW for other times.
func setBothTimes(path string, modified time.Time, flags int) error {
	times := make([]unix.Timespec, 2)
	for i, t := range []time.Time{time.Now(), modified} {
		var err error
		if times[i], err = unix.TimeToTimespec(t); err != nil {
			return err
		}
	}
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, times, flags)
}

// unlock releases bbolt's flock(2) lock on f.
func unlock(f *os.File) { unix.Flock(int(f.Fd()), unix.LOCK_UN) }

// linkError wraps err with both paths. It returns nil if err is nil.
func linkError(from, to string, err error) error {
	if err == nil {
		return nil
	}
	return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
}

// ownerOf returns the owner of a file and its number of hard links. known is false if
// info does not contain them.
func ownerOf(info fs.FileInfo) (uid int, links uint64, known bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return int(st.Uid), uint64(st.Nlink), true
}

// fileID returns the device and inode numbers of a file.
func fileID(info fs.FileInfo) (id FileID, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return FileID{}, false
	}
	return FileID{uint64(st.Dev), uint64(st.Ino)}, true
}

// newFileMode returns the mode of a new file of this process: 0666 without the bits of
// the umask. Linux shows the umask in /proc. Elsewhere reading it means setting it;
// during that instant it is 0077, which is the safe direction for a file that another
// goroutine creates.
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
