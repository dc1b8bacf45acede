//go:build unix

package store

import (
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// makePipe makes a named pipe.
func makePipe(t *testing.T, name string) {
	t.Helper()
	must(t, unix.Mkfifo(name, 0o666))
}

// statOf is what a FileInfo has from the system of a file that takes so many
// bytes of the disk.
func statOf(bytes int64) any { return &syscall.Stat_t{Blocks: (bytes + 511) / 512} }
