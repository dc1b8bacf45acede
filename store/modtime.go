package store

import (
	"io/fs"
	"time"
)

// timeUnits are the resolutions in which file systems keep modification times: NTFS and
// SMB, FUSE servers in various languages, exFAT, and encfs, sshfs and ext3. The kernel may
// show a finer time until it has forgotten the file, for example after a remount.
var timeUnits = []time.Duration{100 * time.Nanosecond, time.Microsecond, time.Millisecond, 10 * time.Millisecond, time.Second}

const (
	// fatUnit is the resolution of FAT, which keeps the even second before a time.
	fatUnit = 2 * time.Second
	// floatError bounds the error of a time that was stored as a floating-point number of
	// seconds, which has 52 bits.
	floatError = time.Microsecond
)

// sameModTime reports whether a file with the modification time now may be unchanged since
// it had the time recorded: the times are equal, or the file system has rounded the recorded
// one. A change sets another time, unless it is within the same unit; on a file system that
// rounds, such a change cannot be found.
func sameModTime(recorded, now time.Time) bool {
	diff := now.Sub(recorded)
	if diff.Abs() < floatError {
		return true
	}
	for _, unit := range timeUnits {
		if diff.Abs() < unit && isMultiple(now, unit) {
			return true
		}
	}
	return -fatUnit < diff && diff < 0 && isMultiple(now, fatUnit) // only down: a change makes a time later
}

// isMultiple reports whether t is a multiple of unit since 1970.
func isMultiple(t time.Time, unit time.Duration) bool { return t.UnixNano()%int64(unit) == 0 }

// is reports whether info may describe the same state of a file as m.
func (m FileStamp) is(info fs.FileInfo) bool {
	return info.Mode().IsRegular() && info.Size() == m.Size && sameModTime(m.ModTime, info.ModTime())
}
