package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pawl/downloader/faultserver"
)

// A transcript collects what a terminal shows. Safe for concurrent use.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// TestPassword types a password on a terminal, and interrupts the question: the password is not
// shown, and the terminal shows again what is typed afterwards. The terminal is standard input, or
// that of the process if standard input is a list.
func TestPassword(t *testing.T) {
	for name, tt := range map[string]struct {
		typed string
		list  bool
		code  int
	}{"a password": {"s3cret:x\n", false, 0}, "a list on standard input": {"s3cret:x\n", true, 0}, "Ctrl-C": {"s3c\x03", false, 130}, "an empty password": {"\n", false, 6}} {
		t.Run(name, func(t *testing.T) {
			srv := faultserver.New()
			defer srv.Close()
			f := faultserver.NewFile(5000, 1)
			srv.Put("f.bin", f)
			srv.Set(requireHeader("Authorization", "Basic dTpzM2NyZXQ6eA=="))
			dir := t.TempDir()
			master, slave := openPTY(t, 80, 24)
			defer master.Close()
			defer slave.Close()
			args := []string{"-u", "u", srv.URL + "/f.bin"}
			if tt.list {
				args = []string{"mirror", "-u", "u", "--base", srv.URL + "/", "-"}
			}
			cmd := pawlCommand(dir, args...)
			cmd.Stdin, cmd.Stderr = slave, slave
			if tt.list {
				cmd.Stdin = strings.NewReader(srv.URL + "/f.bin\n")
			}
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 2}
			var shown transcript
			go io.Copy(&shown, master) // ends with master
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, func() bool { return strings.Contains(shown.String(), `password for "u": `) && !echoes(t, slave) })
			master.WriteString(tt.typed)
			if code := exitCodeOf(cmd.Wait()); code != tt.code {
				t.Errorf("exit code %d, want %d\n%s", code, tt.code, shown.String())
			}
			if strings.Contains(shown.String(), "s3c") || !echoes(t, slave) {
				t.Errorf("the password is shown, or the terminal shows nothing any more: %q", shown.String())
			}
			if tt.code == 0 {
				checkFile(t, filepath.Join(dir, "f.bin"), f)
			}
		})
	}
}

// echoes reports whether a terminal shows what is typed.
func echoes(t *testing.T, tty *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}
