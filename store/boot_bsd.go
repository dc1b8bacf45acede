//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package store

import (
	"encoding/hex"

	"golang.org/x/sys/unix"
)

// bootID returns the time of the boot. Setting the clock may change it, which costs one check
// of the state file.
func bootID() string {
	t, err := unix.SysctlRaw("kern.boottime")
	if err != nil {
		return ""
	}
	return hex.EncodeToString(t)
}

// mountID is unknown.
func mountID(string) uint64 { return 0 }
