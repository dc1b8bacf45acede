package main

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pawl/downloader"
)

// TestDisplayStopLosesNoLines checks that no line is lost that is printed while the display
// stops, for example by a hook.
func TestDisplayStopLosesNoLines(t *testing.T) {
	const lines = 50
	for range 200 {
		var out strings.Builder
		say := &printer{stderr: &out}
		show := newDisplay(say, displayOptions{})
		show.start(&fakeSource{})
		var writer sync.WaitGroup
		writer.Go(func() {
			for range lines {
				say.note("a line")
			}
		})
		show.stop()
		writer.Wait()
		if got := strings.Count(out.String(), "\n"); got != lines {
			t.Fatalf("got %d lines, want %d", got, lines)
		}
	}
}

// TestNamesBelowDirectory checks that files of lists are shown by their paths below the
// directory, and all other files by their base names.
func TestNamesBelowDirectory(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct{ dir, target, want string }{
		{dir, filepath.Join(dir, "a", "b.bin"), filepath.Join("a", "b.bin")},
		{dir, filepath.Join(filepath.Dir(dir), "b.bin"), "b.bin"},
		{dir, "https://example.com/b.bin", "b.bin"},
		{"", filepath.Join(dir, "a", "b.bin"), "b.bin"},
	} {
		s := &display{displayOptions: displayOptions{dir: tt.dir}}
		if got := s.name(tt.target); got != tt.want {
			t.Errorf("%q in %q: got %q, want %q", tt.target, tt.dir, got, tt.want)
		}
	}
}

// TestRepeatedRetriesAreReportedOnce checks that, with lists, retries for the same reason
// are reported at most once per plainEvery. Without lists every retry is reported.
func TestRepeatedRetriesAreReportedOnce(t *testing.T) {
	second := downloader.Event{Kind: downloader.Retrying, Retry: downloader.Retry{Attempt: 2}}
	lists := &display{displayOptions: displayOptions{counts: func() fileCounts { return fileCounts{} }}}
	for i, tt := range []struct {
		e      downloader.Event
		reason string
		later  time.Duration
		want   bool
	}{
		{downloader.Event{Retry: downloader.Retry{Attempt: 1}}, "refused", 0, false},
		{second, "refused", 0, true},
		{second, "refused", 0, false},
		{second, "reset", 0, true},
		{second, "reset", 0, false},
		{second, "reset", minPlainInterval, true},
	} {
		lists.retryShown = lists.retryShown.Add(-tt.later)
		if got := lists.showsRetry(tt.e, tt.reason); got != tt.want {
			t.Errorf("%d: got %v, want %v", i, got, tt.want)
		}
	}
	few := &display{}
	for range 2 {
		if !few.showsRetry(second, "refused") {
			t.Error("without lists: a retry is not reported")
		}
	}
}
