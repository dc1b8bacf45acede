package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"pawl/downloader/faultserver"
)

// TestNoProgress checks that a terminal shows a bar while a server pauses in the middle of a file, and with
// --no-progress only lines.
func TestNoProgress(t *testing.T) {
	t.Parallel()
	for _, option := range []string{"--json=false", "--no-progress"} {
		srv := faultserver.New()
		defer srv.Close()
		srv.Put("f", faultserver.NewFile(1<<20, 1))
		ended := make(chan struct{})
		go srv.DoAt(200<<10, ended, func() { time.Sleep(500 * time.Millisecond) }) // far more than the interval of the bar
		master, slave := openPTY(t, 100, 24)
		defer master.Close()
		cmd := pawlCommand(t.TempDir(), option, "-x1", srv.URL+"/f")
		cmd.Stderr = slave
		err := cmd.Run()
		close(ended)
		slave.Close()
		if err != nil {
			t.Fatal(err)
		}
		shown, _ := io.ReadAll(master) // fails at the end, because nobody has the terminal open
		text := strings.ReplaceAll(string(shown), "\r\n", "\n")
		if hasBar := strings.Contains(text, "1 connection"); hasBar != (option != "--no-progress") || !strings.Contains(text, "1.0 MiB in ") {
			t.Errorf("%s: the terminal shows %q", option, text)
		}
	}
}
