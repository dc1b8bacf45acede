package main

import (
	"strings"
	"sync"
	"testing"

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
		show.start(func() []downloader.Progress { return nil })
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
