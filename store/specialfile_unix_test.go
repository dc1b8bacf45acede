//go:build unix

package store

import (
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// makePipe creates a named pipe.
func makePipe(t *testing.T, name string) {
	t.Helper()
	must(t, unix.Mkfifo(name, 0o666))
}

// statOf returns the system's part of the FileInfo of a file that occupies so many bytes
// on the disk.
func statOf(bytes int64) any { return &syscall.Stat_t{Blocks: (bytes + 511) / 512} }
