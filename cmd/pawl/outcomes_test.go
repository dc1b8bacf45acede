package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pawl/downloader"
)

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
		{map[int]int{13: 1}, "--overwrite"},
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
