package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"pawl/downloader/failure"
	"pawl/store"
)

// TestExitCode checks the exit code of each kind of error, and that the worst error of
// several decides.
func TestExitCode(t *testing.T) {
	order := []error{ // from worst to mildest, in the documented order
		failure.ErrChecksum, store.ErrNoSpace, store.ErrBusy, failure.ErrChanged, store.ErrForeign, failure.ErrAuth,
		failure.ErrRefused, failure.ErrProtocol, failure.ErrTLS, failure.ErrNetwork, failure.ErrThrottled,
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
		nil:                                          0,
		errors.New("x"):                              1,
		usageErr{errors.New("x")}:                    2,
		store.ErrNotFound:                            2,
		&fs.PathError{Err: fs.ErrClosed}:             3,
		&fs.PathError{Err: syscall.ENOSPC}:           9,
		failure.ErrClaimed:                           13,
		&failure.StatusError{Code: 404}:              8,
		&failure.StatusError{Code: 401}:              6,
		&failure.StatusError{Code: 503}:              75,
		errDeadline:                                  75,
		signalError{syscall.SIGINT}:                  130,
		signalError{syscall.SIGTERM}:                 143,
		reportedError{errors.Join(store.ErrForeign)}: 13,
	} {
		if got := exitCode(err); got != want {
			t.Errorf("%v: got %d, want %d", err, got, want)
		}
	}
}

// TestHintAboutWorstFailure checks that the final hint is about the worst of all failures.
func TestHintAboutWorstFailure(t *testing.T) {
	tests := []struct {
		codes map[int]int
		want  string
	}{
		{nil, ""},
		{map[int]int{4: 3}, "run the same command again"},
		{map[int]int{75: 1, 8: 100}, "fix these URLs"},
		{map[int]int{8: 100, 9: 1}, "free some space"},
		{map[int]int{13: 1}, "move these files away, replace them with --overwrite"},
		{map[int]int{32: 1, 13: 1}, "fix these digests"},
		{map[int]int{6: 1}, "send credentials"},
		{map[int]int{3: 1}, "check these paths"},
	}
	for _, tt := range tests {
		o := &mirrorRecorder{codes: tt.codes}
		got := o.finalHint()
		if !strings.HasPrefix(got, tt.want) && !strings.HasSuffix(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%v: got %q, want %q", tt.codes, got, tt.want)
		}
	}
}
