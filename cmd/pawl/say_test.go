package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"pawl/downloader"
	"pawl/store"
)

// TestExitCode: each kind has its code, and of several the worst one counts.
func TestExitCode(t *testing.T) {
	order := []error{ // from worst to mildest, as documented
		downloader.ErrChecksum, store.ErrNoSpace, store.ErrBusy, downloader.ErrChanged, store.ErrForeign, downloader.ErrAuth,
		downloader.ErrRefused, downloader.ErrProtocol, downloader.ErrTLS, downloader.ErrNetwork, downloader.ErrThrottled,
	}
	codes := []int{32, 9, 3, 17, 13, 6, 8, 7, 5, 4, 75}
	for i, err := range order {
		err = fmt.Errorf("%q: %w", "x", err)
		if got := exitCode(err); got != codes[i] {
			t.Errorf("%v: got %d, want %d", err, got, codes[i])
		}
		for j := range i {
			if got := exitCode(errors.Join(err, order[j])); got != codes[j] {
				t.Errorf("%v and %v: got %d, want %d", err, order[j], got, codes[j])
			}
		}
	}
	for err, want := range map[error]int{
		nil:                                      0,
		errors.New("x"):                          1,
		usageError(errors.New("x")):              2,
		store.ErrNotFound:                        2,
		&fs.PathError{Err: fs.ErrClosed}:         3,
		&fs.PathError{Err: syscall.ENOSPC}:       9,
		downloader.ErrClaimed:                    13,
		&downloader.StatusError{Code: 404}:       8,
		&downloader.StatusError{Code: 401}:       6,
		&downloader.StatusError{Code: 503}:       75,
		errDeadline:                              75,
		signalError{syscall.SIGINT}:              130,
		signalError{syscall.SIGTERM}:             143,
		toldError{errors.Join(store.ErrForeign)}: 13,
	} {
		if got := exitCode(err); got != want {
			t.Errorf("%v: got %d, want %d", err, got, want)
		}
	}
}

// TestTell: one line without control characters, and the hint beneath.
func TestTell(t *testing.T) {
	var out strings.Builder
	s := &speaker{stderr: &out}
	s.tell(errors.New("a\x1b[31mb\nc"), "do this")
	if got, want := out.String(), "pawl: error: a [31mb c\npawl: hint: do this\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
