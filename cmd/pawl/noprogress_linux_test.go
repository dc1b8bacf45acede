package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pawl/downloader/faultserver"
)

// TestNoProgress checks that a terminal shows a bar while a server pauses in the middle of a file, and with
// --no-progress only lines.
func TestNoProgress(t *testing.T) {
	for _, option := range []string{"--json=false", "--no-progress"} {
		srv := faultserver.New()
		defer srv.Close()
		srv.Put("f", faultserver.NewFile(1<<20, 1))
		ended := make(chan struct{})
		go srv.DoAt(200<<10, ended, func() { time.Sleep(500 * time.Millisecond) }) // far more than the interval of the bar
		master, slave := openTerminal(t)
		cmd := pawlCommand(t.TempDir(), option, "-x1", srv.URL+"/f")
		cmd.Stderr = slave
		err := cmd.Run()
		close(ended)
		slave.Close()
		if err != nil {
			t.Fatal(err)
		}
		shown := make([]byte, 64<<10)
		n, _ := master.Read(shown)
		text := strings.ReplaceAll(string(shown[:n]), "\r\n", "\n")
		if hasBar := strings.ContainsAny(text, "\r\x1b"); hasBar != (option != "--no-progress") || !strings.Contains(text, "done, 1.0 MiB") {
			t.Errorf("%s: the terminal shows %q", option, text)
		}
	}
}

// openTerminal opens a pseudo terminal (pty(7)): master reads what is written to slave.
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 100})
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}
