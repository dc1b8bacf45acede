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
		nil:                                          0,
		errors.New("x"):                              1,
		usageErr{errors.New("x")}:                    2,
		store.ErrNotFound:                            2,
		&fs.PathError{Err: fs.ErrClosed}:             3,
		&fs.PathError{Err: syscall.ENOSPC}:           9,
		downloader.ErrClaimed:                        13,
		&downloader.StatusError{Code: 404}:           8,
		&downloader.StatusError{Code: 401}:           6,
		&downloader.StatusError{Code: 503}:           75,
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

// TestTell: one line without control characters, and the hint beneath.
func TestTell(t *testing.T) {
	var out strings.Builder
	s := &printer{stderr: &out}
	s.report(errors.New("a\x1b[31mb\nc"), "do this")
	if got, want := out.String(), "pawl: error: a [31mb c\npawl: hint: do this\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestEscaped: bytes that are not UTF-8 are seen, in messages and in JSON, and a
// character that stands for such a byte elsewhere is only itself.
func TestEscaped(t *testing.T) {
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

// TestTimes: each line of a log has its time, whoever prints it, but in the
// journal, and not unless it was asked for.
func TestTimes(t *testing.T) {
	print := func(s *printer) {
		s.note("a")
		show := newDisplay(s, displayOptions{bar: true, files: 1})
		show.start(func() []downloader.Progress { return []downloader.Progress{{Target: "/d/f", Have: 1, Size: 2}} })
		s.warn("b")
		show.onEvent(downloader.Event{Kind: downloader.Finished, Target: "/d/f", Current: true})
		time.Sleep(minPlainInterval)
		show.stop()
	}
	for journal, want := range map[bool]string{
		false: "2000-01-01 01:00:00 pawl: a\n2000-01-01 01:00:00 pawl: warning: b\n2000-01-01 01:00:00 pawl: f: already downloaded, and unchanged\n2000-01-01 01:00:10 pawl: f: 1 B/2 B, 0 connections\n",
		true:  "pawl: a\npawl: warning: b\npawl: f: already downloaded, and unchanged\npawl: f: 1 B/2 B, 0 connections\n",
	} {
		t.Setenv("JOURNAL_STREAM", "8:1")
		if !journal {
			os.Unsetenv("JOURNAL_STREAM") // t sets it right again
		}
		synctest.Test(t, func(t *testing.T) { // which begins in the year 2000
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
				t.Errorf("not asked for: got %s", plain.String())
			}
		})
	}
}
