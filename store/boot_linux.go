package store

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// bootID returns a text that differs after each boot, or "" if there is none (random(4)).
func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}

// mountID returns the number of the mount that the file at path is on, 0 if unknown. Since
// Linux 6.8 no later mount gets the same number; before, the number is unknown.
func mountID(path string) uint64 {
	var st unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MNT_ID_UNIQUE, &st) != nil || st.Mask&unix.STATX_MNT_ID_UNIQUE == 0 {
		return 0
	}
	return st.Mnt_id
}
