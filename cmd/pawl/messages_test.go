package main

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pawl/downloader"
)

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

// TestPrintableInvalidUTF8 checks that invalid bytes are escaped, such as \xe9, and that a
// replacement character U+FFFD in the text stays as it is.
func TestPrintableInvalidUTF8(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "café \ufffd": "café \ufffd", "caf\xe9": `caf\xe9`, "\xff\xfeé\xed\xa0\x80\ufffd": `\xff\xfeé\xed\xa0\x80` + "\ufffd", `caf\xe9`: `caf\xe9`, "\x85": `\x85`,
	} {
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
		show.start(new(fakeSource).with(downloader.Progress{Target: "/d/f", Have: 1, Size: 2}))
		s.warn("b")
		show.onEvent(downloader.Event{Kind: downloader.Finished, Target: "/d/f", Outcome: downloader.Outcome{Current: true}})
		time.Sleep(minPlainInterval)
		show.stop()
	}
	for journal, want := range map[bool]string{
		false: "2000-01-01 01:00:00 pawl: a\n2000-01-01 01:00:00 pawl: warning: b\n2000-01-01 01:00:00 pawl: /d/f: already downloaded, and unchanged\n2000-01-01 01:00:10 pawl: f: 1 B/2 B, 0 connections\n",
		true:  "pawl: a\npawl: warning: b\npawl: /d/f: already downloaded, and unchanged\npawl: f: 1 B/2 B, 0 connections\n",
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
