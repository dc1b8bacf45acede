package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pawl/downloader"
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

// TestErrorIsOneLine checks that an error is printed as one line without control
// characters, and the hint on the line below.
func TestErrorIsOneLine(t *testing.T) {
	var out strings.Builder
	s := &printer{stderr: &out}
	s.report(errors.New("a\x1b[31mb\nc"), "do this")
	if got, want := out.String(), "pawl: error: a [31mb c\npawl: hint: do this\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestEscapedInvalidUTF8 checks that invalid bytes are escaped, such as \xe9, and that a
// replacement character U+FFFD in the text stays as it is.
func TestEscapedInvalidUTF8(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "café \ufffd": "café \ufffd", "caf\xe9": `caf\xe9`, "\xff\xfeé\xed\xa0\x80\ufffd": `\xff\xfeé\xed\xa0\x80` + "\ufffd", `caf\xe9`: `caf\xe9`, "\x85": `\x85`,
	} {
		if got := escaped(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
		if got := printable(text + "\n"); got != want+" " {
			t.Errorf("%q: got %q, want %q", text, got, want+" ")
		}
	}
}

// TestTimestampsInLog checks that after keepTimes each line has a timestamp, whoever prints
// it, except under the systemd journal, which adds its own.
func TestTimestampsInLog(t *testing.T) {
	print := func(s *printer) {
		s.note("a")
		show := newDisplay(s, displayOptions{bar: true, files: 1})
		show.start(func() []downloader.Progress { return []downloader.Progress{{Target: "/d/f", Have: 1, Size: 2}} })
		s.warn("b")
		show.onEvent(downloader.Event{Kind: downloader.Finished, Target: "/d/f", Outcome: downloader.Outcome{Current: true}})
		time.Sleep(minPlainInterval)
		show.stop()
	}
	for journal, want := range map[bool]string{
		false: "2000-01-01 01:00:00 pawl: a\n2000-01-01 01:00:00 pawl: warning: b\n2000-01-01 01:00:00 pawl: f: already downloaded, and unchanged\n2000-01-01 01:00:10 pawl: f: 1 B/2 B, 0 connections\n",
		true:  "pawl: a\npawl: warning: b\npawl: f: already downloaded, and unchanged\npawl: f: 1 B/2 B, 0 connections\n",
	} {
		t.Setenv("JOURNAL_STREAM", "8:1")
		if !journal {
			os.Unsetenv("JOURNAL_STREAM") // t.Setenv restores it at the end
		}
		synctest.Test(t, func(t *testing.T) { // its time starts in the year 2000
			local := time.Local
			time.Local = time.FixedZone("", 3600)
			defer func() { time.Local = local }()
			var out, plain strings.Builder
			s := &printer{stderr: &out, stdout: &out}
			s.addTimestamps()
			print(s)
			if got := out.String(); got != want {
				t.Errorf("journal %v: got\n%swant\n%s", journal, got, want)
			}
			print(&printer{stderr: &plain, stdout: &out})
			if strings.Contains(plain.String(), "2000") {
				t.Errorf("without keepTimes: got a timestamp in %s", plain.String())
			}
		})
	}
}
