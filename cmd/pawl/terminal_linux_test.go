package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"pawl/downloader/faultserver"
	"pawl/store"
)

// A tty is a pseudo terminal with a program, and what it shows.
type tty struct {
	*testing.T
	grid          *grid
	cmd           *exec.Cmd
	master, slave *os.File
	ended         chan struct{}

	mu  sync.Mutex
	raw []byte // all that the program has sent; guarded by mu
}

// openTTY opens a pseudo terminal of that size until the end of the test.
func openTTY(t *testing.T, columns, rows int) *tty {
	t.Helper()
	master, slave := openPTY(t, columns, rows)
	p := &tty{T: t, grid: newGrid(t, columns, rows), master: master, slave: slave, ended: make(chan struct{})}
	p.resize(columns, rows)
	var reader sync.WaitGroup
	reader.Go(p.read)
	t.Cleanup(func() {
		slave.Close() // ends the reader
		reader.Wait()
		master.Close()
	})
	return p
}

// read shows what the program sends, until the last program has closed the terminal.
func (p *tty) read() {
	var rest []byte // the beginning of a character
	buf := make([]byte, 4096)
	for {
		n, err := p.master.Read(buf)
		text := append(rest, buf[:n]...)
		end := len(text)
		for i := 1; i < utf8.UTFMax && i <= len(text); i++ {
			if utf8.RuneStart(text[len(text)-i]) && !utf8.FullRune(text[len(text)-i:]) {
				end = len(text) - i
			}
		}
		p.grid.Write(text[:end])
		p.mu.Lock()
		p.raw = append(p.raw, buf[:n]...) // last, so that the grid has it when output returns it
		p.mu.Unlock()
		rest = slices.Clone(text[end:])
		if err != nil {
			return
		}
	}
}

// resize changes the size of the window.
func (p *tty) resize(columns, rows int) {
	p.Helper()
	p.grid.mu.Lock()
	defer p.grid.mu.Unlock()
	if columns != p.grid.columns {
		p.grid.resize(columns)
	}
	noError(p, unix.IoctlSetWinsize(int(p.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(columns)}))
}

// start runs pawl in the terminal. env is added to its environment.
func (p *tty) start(dir string, env []string, args ...string) *tty {
	p.Helper()
	return p.startCommand(pawlCommand(dir, args...), env)
}

// startCommand is start for another command.
func (p *tty) startCommand(cmd *exec.Cmd, env []string) *tty {
	p.Helper()
	p.cmd = cmd
	p.cmd.Env = append(append(p.cmd.Env, "TERM=xterm", "LC_ALL=C", "NO_COLOR="), env...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = p.slave, p.slave, p.slave
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	noError(p, p.cmd.Start())
	p.Cleanup(func() { p.cmd.Process.Kill(); <-p.ended })
	go func() { // ends with the program, which the test kills
		p.cmd.Wait()
		close(p.ended)
	}()
	return p
}

// wait waits until the program has ended and all of its output is shown, and checks the exit code.
func (p *tty) wait(code int) string {
	p.Helper()
	select {
	case <-p.ended:
	case <-time.After(hangLimit):
		p.Fatalf("pawl has not ended:\n%s", p.grid.picture())
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.Errorf("exit code %d, want %d:\n%s", got, code, p.grid.picture())
	}
	const end = "\x05" // which pawl never sends
	p.slave.WriteString(end)
	p.until("the end of the output", func(string) bool { return strings.HasSuffix(p.output(), end) })
	return strings.TrimRight(p.grid.picture(), "\n"+end)
}

// output returns all bytes that were sent to the terminal.
func (p *tty) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.raw)
}

// until waits until the picture is as wanted.
func (p *tty) until(what string, wanted func(picture string) bool) {
	p.Helper()
	for begun := time.Now(); !wanted(p.grid.picture()); time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > hangLimit {
			p.Fatalf("never shown: %s\n%s", what, p.grid.picture())
		}
	}
}

// shows waits until the picture matches.
func (p *tty) shows(pattern string) {
	p.Helper()
	p.until(pattern, regexp.MustCompile("(?m)"+pattern).MatchString)
}

// press types keys.
func (p *tty) press(keys string) {
	p.Helper()
	_, err := p.master.WriteString(keys)
	noError(p, err)
}

// modes returns the settings of the terminal, such as echo.
func (p *tty) modes() unix.Termios {
	p.Helper()
	m, err := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
	noError(p, err)
	return *m
}

// newHeldServer returns a server that stops at n bytes, until open is called.
func newHeldServer(t *testing.T, n int64, files map[string]int64) (url string, open func()) {
	srv := faultserver.New()
	t.Cleanup(srv.Close)
	for name, size := range files {
		srv.Put(name, faultserver.NewFile(size, uint64(size)))
	}
	ended := make(chan struct{})
	var holder sync.WaitGroup
	holder.Go(func() { srv.HoldAt(n, ended) })
	open = sync.OnceFunc(func() {
		close(ended)
		holder.Wait()
		srv.Open()
	})
	t.Cleanup(open)
	return srv.URL, open
}

// TestTerminalOneFile follows a download on a terminal whose window changes. In the end only the last
// line stays.
func TestTerminalOneFile(t *testing.T) {
	t.Parallel()
	url, open := newHeldServer(t, 3<<20, map[string]int64{"f.bin": 8 << 20})
	p := openTTY(t, 90, 24).start(t.TempDir(), nil, "--stall-timeout", "10m", url+"/f.bin")
	p.shows(`^ *[1-9]\d% \[=+>? *\] \d\.\d MiB/8\.0 MiB.*  f\.bin$`)
	for _, columns := range []int{20, 30, 200} {
		p.resize(columns, 24)
		p.until(fmt.Sprint(columns, " columns"), func(picture string) bool {
			return regexp.MustCompile(`^ *[1-9]\d% `).MatchString(picture) && !strings.Contains(picture, "\n") && len(picture) < columns && (columns < 200 || strings.HasSuffix(picture, "  f.bin"))
		})
	}
	open()
	if got := p.wait(0); !regexp.MustCompile(`^pawl: f\.bin: done, 8\.0 MiB in \S+ \(\S+ \S+/s\), no digest known$`).MatchString(got) {
		t.Errorf("got\n%s", got)
	}
}

// TestTerminalSeveralFiles checks the line of each running file below the bar, and the failed one above
// it. The name of a file cannot send a control character to the terminal, which the grid would refuse.
func TestTerminalSeveralFiles(t *testing.T) {
	t.Parallel()
	srv := faultserver.New()
	defer srv.Close()
	srv.Put("a.bin", faultserver.NewFile(4<<20, 1))
	srv.Put("b\x1b]0;x\x07.bin", faultserver.NewFile(5<<20, 2))
	srv.Set(faultserver.Stall(100 << 10))
	p := openTTY(t, 79, 24).start(t.TempDir(), []string{"NO_COLOR=1"}, "--stall-timeout", "10m", srv.URL+"/a.bin", srv.URL+"/b%1B]0;x%07.bin", srv.URL+"/none")
	const a, b = `  a\.bin .*  4\.0 MiB .*`, `  b.*\.bin .* 5\.0 MiB .*` // in the order in which they have begun
	p.shows(`(?s)404.*\n *\d+% \[.*0 of 3 files, 1 failed\n(` + a + `\n` + b + `|` + b + `\n` + a + `)`)
	p.press("\x03")
	got := p.wait(130)
	if !regexp.MustCompile(`(?s)404.*\npawl: 0 of 3 files are here[^\n]*\npawl: 1 failed\npawl: 2 are left for another run\npawl: error: interrupted\npawl: hint: [^\n]*pawl resume$`).MatchString(got) {
		t.Errorf("got\n%s", got)
	}
	if p.grid.colored {
		t.Error("NO_COLOR: got colors")
	}
}

// TestTerminalLooks checks the options and variables that say how much is shown on a terminal.
func TestTerminalLooks(t *testing.T) {
	t.Parallel()
	srv := faultserver.New()
	defer srv.Close()
	srv.Put("f.bin", faultserver.NewFile(100<<10, 1))
	for _, tt := range []struct {
		name  string
		env   []string
		args  []string
		check func(p *tty, output string) bool
	}{
		{"plain", nil, nil, func(p *tty, _ string) bool { return p.grid.colored }},
		{"NO_COLOR", []string{"NO_COLOR=1"}, nil, func(p *tty, _ string) bool { return !p.grid.colored }},
		{"--no-color", nil, []string{"--no-color"}, func(p *tty, _ string) bool { return !p.grid.colored }},
		{"PAWL_NO_COLOR", []string{"PAWL_NO_COLOR=1"}, nil, func(p *tty, _ string) bool { return !p.grid.colored }},
		{"dumb", []string{"TERM=dumb"}, nil, func(_ *tty, o string) bool { return !strings.Contains(o, "\x1b") && strings.Contains(o, "done") }},
		{"--quiet", nil, []string{"-q"}, func(_ *tty, o string) bool { return o == "\x05" }},
		{"--no-progress", nil, []string{"--no-progress"}, func(_ *tty, o string) bool { return !strings.Contains(o, "\x1b[K") && strings.Contains(o, "done") }},
	} {
		p := openTTY(t, 80, 24).start(t.TempDir(), tt.env, append(tt.args, srv.URL+"/f.bin")...)
		p.wait(0)
		if o := p.output(); !tt.check(p, o) {
			t.Errorf("%s: got %q", tt.name, o)
		}
	}
}

// TestTerminalList checks that the table is as wide as the terminal, and that its state is colored.
func TestTerminalList(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := strings.Repeat("long-name-", 10) + ".bin"
	st, err := store.Open(filepath.Join(dir, "state", "pawl"), store.Options{})
	noError(t, err)
	part, err := st.Create(store.Record{URL: "http://h/f", Target: filepath.Join(dir, name), Size: 100})
	noError(t, err)
	_, err = part.WriteAt(make([]byte, 42), 0)
	noError(t, err)
	noError(t, part.Commit(0))
	noError(t, part.Close())
	for _, columns := range []int{20, 50, 80, 200} {
		p := openTTY(t, columns, 24).start(dir, nil, "list", "--map")
		got := p.wait(0)
		for line := range strings.Lines(got) {
			if n := displayWidth(strings.TrimRight(line, "\n")); n >= columns {
				t.Errorf("%d columns: got %d in %q", columns, n, line)
			}
		}
		if !regexp.MustCompile(`(?m)^  \[#*\+?\.*\]$`).MatchString(got) || strings.Contains(got, name) != (columns == 200) {
			t.Errorf("%d columns: got\n%s", columns, got)
		}
	}
}

// TestWatch pauses, resumes and removes a download by keys, and checks that the terminal is as before.
func TestWatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	url, open := newHeldServer(t, 3<<20, map[string]int64{"f.bin": 8 << 20})
	download := pawlCommand(dir, "--stall-timeout", "10m", url+"/f.bin")
	var out bytes.Buffer
	download.Stderr = &out
	noError(t, download.Start())
	defer download.Process.Kill()

	p := openTTY(t, 100, 24)
	before := p.modes()
	p.start(dir, nil, "list", "--watch", "--map")
	p.shows(`(?s)^pawl: 1 download, 1 running.*^> .*running .* f\.bin$.*^    \[[#+.]+\]$`) // some or none of the bytes are recorded by then
	p.press("p")
	if err := download.Wait(); download.ProcessState.ExitCode() != 143 {
		t.Errorf("the paused download: got %v, want exit code 143\n%s", err, out.String())
	}
	p.shows(`^> .*paused .* f\.bin$`)
	p.press("p")
	p.shows(`"f\.bin" is not running`)
	p.press("r")
	p.shows(`^process \d+ resumes it`)
	p.shows(`^> .*running .* f\.bin$`)
	p.press("x")
	p.shows(`"f\.bin" is running; pause it first`)
	p.press("p")
	p.shows(`^> .*paused .* f\.bin$`)
	p.press("x")
	p.shows(`forget "f\.bin" and delete its part file .* y/n`)
	p.press("n")
	p.press("m") // removes the map, which shows that the key before was an answer
	p.until("no map", func(picture string) bool {
		return !strings.Contains(picture, "[") && strings.Contains(picture, "f.bin")
	})
	p.press("x")
	p.press("y")
	p.shows(`"f\.bin" is forgotten`)
	if _, err := os.Stat(filepath.Join(dir, "f.bin.part")); err == nil {
		t.Error("the part file is still there")
	}
	p.press("q")
	p.wait(0)
	p.wantRestored(before)
	open()
}

// wantRestored checks that the terminal is as it was before a full screen.
func (p *tty) wantRestored(before unix.Termios) {
	p.Helper()
	if got := p.modes(); got != before {
		p.Errorf("modes of the terminal: got %+v, want %+v", got, before)
	}
	p.grid.mu.Lock()
	defer p.grid.mu.Unlock()
	if p.grid.full || p.grid.hidden {
		p.Errorf("full screen %v, hidden cursor %v after the end", p.grid.full, p.grid.hidden)
	}
}

// TestWatchRestoresTerminal checks that the terminal is given back whatever ends the watch.
func TestWatchRestoresTerminal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, tt := range []struct {
		name string
		end  func(p *tty)
		code int
	}{
		{"Ctrl-C", func(p *tty) { p.press("\x03") }, 0},
		{"Ctrl-D", func(p *tty) { p.press("\x04") }, 0},
		{"SIGTERM", func(p *tty) { p.cmd.Process.Signal(syscall.SIGTERM) }, 143},
		{"SIGINT", func(p *tty) { p.cmd.Process.Signal(syscall.SIGINT) }, 130},
		{"SIGHUP", func(p *tty) { p.cmd.Process.Signal(syscall.SIGHUP) }, 129},
		{"SIGQUIT", func(p *tty) { p.cmd.Process.Signal(syscall.SIGQUIT) }, 2},
		{"a damaged state", func(p *tty) {
			noError(p, os.WriteFile(filepath.Join(dir, "state", "pawl", "pawl.db"), []byte("no state"), 0o600))
			p.shows("was damaged")
			p.press("q")
		}, 0},
	} {
		p := openTTY(t, 60, 12)
		before := p.modes()
		p.start(dir, nil, "list", "--watch")
		p.shows("no unfinished downloads")
		tt.end(p)
		p.wait(tt.code)
		p.wantRestored(before)
		if t.Failed() {
			t.Fatalf("after %s: %q", tt.name, p.output())
		}
	}
}

// TestWatchRestoresAfterPanic checks that a panic of any goroutine gives the terminal back first.
func TestWatchRestoresAfterPanic(t *testing.T) {
	p := openTTY(t, 60, 12)
	before := p.modes()
	s, err := openScreen(p.slave, p.slave)
	noError(t, err)
	if p.modes() == before {
		t.Fatal("the terminal is not raw")
	}
	func() {
		defer func() {
			if v := recover(); v != "test" {
				t.Errorf("got panic %v, want the one of the test", v)
			}
		}()
		defer s.closeOnPanic()
		panic("test")
	}()
	p.until("the first screen", func(string) bool { return strings.HasSuffix(p.output(), leaveScreen) })
	p.wantRestored(before)
	p.press("q\n\x04") // a line, and the end of the input, which ends the reader of the keys
	for range s.keys {
	}
}

// TestWatchSuspend checks that Ctrl-Z stops the watch and gives the terminal back, and that the watch
// goes on afterwards. The shell continues it at once, with fg.
func TestWatchSuspend(t *testing.T) {
	t.Parallel()
	p := openTTY(t, 60, 12)
	before := p.modes()
	p.startCommand(viaJobControl(pawlCommand(t.TempDir(), "list", "--watch"), "fg"), nil)
	p.shows("no unfinished downloads")
	p.press("\x1a")
	p.until("the second screen again", func(string) bool { return strings.Count(p.output(), enterScreen) == 2 })
	_, between, _ := strings.Cut(p.output(), leaveScreen)
	if between, _, _ = strings.Cut(between, enterScreen); strings.TrimSpace(between) == "" {
		t.Errorf("the shell has printed nothing, so the watch was not stopped: %q", p.output())
	}
	p.shows("no unfinished downloads")
	p.press("q")
	p.wait(0)
	p.wantRestored(before)
}

// TestWatchIgnoresSuspend checks that Ctrl-Z does not stop a watch that nobody could continue.
func TestWatchIgnoresSuspend(t *testing.T) {
	t.Parallel()
	p := openTTY(t, 60, 12).start(t.TempDir(), nil, "list", "--watch")
	p.shows("no unfinished downloads")
	p.press("\x1a")
	p.until("the second screen again", func(string) bool { return strings.Count(p.output(), enterScreen) == 2 })
	p.press("q")
	p.wait(0)
}

// TestBarSuspend checks that Ctrl-Z stops a download, and that the bar makes room for the shell before.
func TestBarSuspend(t *testing.T) {
	t.Parallel()
	url, open := newHeldServer(t, 3<<20, map[string]int64{"f.bin": 8 << 20})
	p := openTTY(t, 90, 24)
	p.startCommand(viaJobControl(pawlCommand(t.TempDir(), "--stall-timeout", "10m", url+"/f.bin"), "echo; echo stopped; fg"), nil)
	p.shows(`^ *[1-9]\d% \[`)
	p.press("\x1a")
	p.shows(`(?s)^stopped$.*^ *[1-9]\d% \[`)
	open()
	if got := p.wait(0); !regexp.MustCompile(`(?m)^pawl: f\.bin: done, `).MatchString(got) || strings.Contains(got, "[") && regexp.MustCompile(`\d% \[`).MatchString(got) {
		t.Errorf("got\n%s", got)
	}
}

// viaJobControl runs cmd as a job of a shell, which runs then when the job has been stopped.
func viaJobControl(cmd *exec.Cmd, then string) *exec.Cmd {
	c := exec.Command("sh", append([]string{"-m", "-c", `"$0" "$@"; ` + then}, cmd.Args...)...)
	c.Dir, c.Env = cmd.Dir, cmd.Env
	return c
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
