package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pawl/downloader"
)

// A grid is a terminal that understands only what pawl uses: characters, \r, \n, ESC[K,
// ESC[J, ESC[H, ESC[nA, colors, and a second screen. It fails the test for any other escape sequence.
type grid struct {
	t             *testing.T
	mu            sync.Mutex // guards all fields below, because the display has a goroutine
	columns, rows int
	cells         [][]rune // cells[row][column]; 0 is an empty cell
	row, column   int      // position of the cursor
	above         []string // lines that have scrolled out at the top
	escape        string   // beginning of an escape sequence, "" outside of one
	full, hidden  bool     // the second screen is shown; the cursor is not
	colored       bool     // a color was used
}

func newGrid(t *testing.T, columns, rows int) *grid {
	g := &grid{t: t, columns: columns, rows: rows}
	for range rows {
		g.cells = append(g.cells, make([]rune, columns))
	}
	return g
}

func (g *grid) size() (columns, rows int) { return g.columns, g.rows }

func (g *grid) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range string(p) {
		switch {
		case g.escape != "":
			g.sequence(r)
		case r == '\x1b':
			g.escape = string(r)
		case r == '\r':
			g.column = 0
		case r == '\n':
			g.down()
			g.column = 0 // a terminal in cooked mode adds the carriage return
		default:
			g.put(r)
		}
	}
	return len(p), nil
}

// sequence adds r to the escape sequence and executes it once it is complete.
func (g *grid) sequence(r rune) {
	g.escape += string(r)
	if strings.ContainsRune("[0123456789;?", r) {
		return
	}
	n := 0
	fmt.Sscanf(g.escape, "\x1b[%d", &n)
	switch {
	case g.escape == "\x1b[?1049h", g.escape == "\x1b[?1049l":
		g.full = r == 'h'
		for _, row := range g.cells { // a terminal would keep the lines of the first screen
			clear(row)
		}
		g.row, g.column = 0, 0
	case g.escape == "\x1b[?25h", g.escape == "\x1b[?25l":
		g.hidden = r == 'l'
	case g.escape == "\x1b[2J":
		for _, row := range g.cells {
			clear(row)
		}
	case r == 'm':
		g.colored = true
	case g.escape == "\x1b[H":
		g.row, g.column = 0, 0
	case r == 'A':
		g.row = max(0, g.row-max(1, n))
	case r == 'J':
		for _, row := range g.cells[g.row+1:] {
			clear(row)
		}
		fallthrough
	case r == 'K':
		clear(g.cells[g.row][min(g.column, g.columns-1):])
	default:
		g.t.Errorf("unknown escape sequence %q", g.escape)
	}
	g.escape = ""
}

// put writes a character at the cursor, on the next line if it does not fit.
func (g *grid) put(r rune) {
	if g.column+displayWidth(string(r)) > g.columns {
		g.column = 0
		g.down()
	}
	g.cells[g.row][g.column] = r
	if g.column += displayWidth(string(r)); displayWidth(string(r)) == 2 {
		g.cells[g.row][g.column-1] = 0
	}
}

// down moves the cursor to the next line, and scrolls at the bottom.
func (g *grid) down() {
	if g.row++; g.row == g.rows {
		g.above = append(g.above, text(g.cells[0]))
		g.cells = append(g.cells[1:], make([]rune, g.columns))
		g.row--
	}
}

// resize changes the number of columns. Lines that are too long wrap, as in most terminals,
// and the cursor stays at its character.
func (g *grid) resize(columns int) {
	var cells [][]rune
	row := 0
	for i, old := range g.cells[:g.lastRow()+1] {
		if i == g.row {
			row = len(cells)
		}
		for rest := []rune(text(old)); ; rest = rest[columns:] {
			cells = append(cells, make([]rune, columns))
			if copy(cells[len(cells)-1], rest); len(rest) <= columns {
				break
			}
		}
	}
	for len(cells) < g.rows {
		cells = append(cells, make([]rune, columns))
	}
	for len(cells) > g.rows {
		g.above = append(g.above, text(cells[0]))
		cells = cells[1:]
		row--
	}
	g.columns, g.cells, g.row = columns, cells, max(row, 0)
}

// lastRow returns the last row that is not empty, or the cursor's if that is lower.
func (g *grid) lastRow() int {
	last := g.row
	for i, row := range g.cells {
		if text(row) != "" {
			last = max(last, i)
		}
	}
	return last
}

// text returns a row as a string without trailing spaces.
func text(row []rune) string {
	return strings.TrimRight(strings.ReplaceAll(string(row), "\x00", " "), " ")
}

// picture returns all lines, including the ones that have scrolled out, without empty lines
// at the end.
func (g *grid) picture() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	lines := append([]string(nil), g.above...)
	for _, row := range g.cells {
		lines = append(lines, text(row))
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// wantPicture checks that the grid shows exactly these lines.
func (g *grid) wantPicture(want ...string) {
	g.t.Helper()
	if got := g.picture(); got != strings.Join(want, "\n") {
		g.t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// unknownBar is the bar of the view that newTestBar returns.
const unknownBar = "0 B, 0 connections  0 of 9 files so far"

// newTestBar returns a terminal with a prompt, a bar in it, and a view of nine files whose
// total size is unknown.
func newTestBar(t *testing.T, columns, rows int) (*grid, *bar, progressView) {
	g := newGrid(t, columns, rows)
	fmt.Fprintln(g, "$ pawl")
	return g, &bar{out: g, look: look{terminal: true, unicode: true}, size: g.size}, progressView{files: 9, more: true, total: -1}
}

// TestBarPicture checks that the last three names are shown above the bar and that clear
// removes everything, also at the bottom of the screen.
func TestBarPicture(t *testing.T) {
	for _, rows := range []int{5, 6, 24} {
		g, b, v := newTestBar(t, 60, rows)
		b.clear() // must do nothing before the first draw
		b.draw(v)
		g.wantPicture("$ pawl", unknownBar)
		for _, name := range []string{"a", "a long name", "c", "d"} {
			b.add(name)
			b.draw(v)
		}
		b.draw(v)
		g.wantPicture("$ pawl", "  a long name", "  c", "  d", unknownBar)
		b.clear()
		g.wantPicture("$ pawl")
		fmt.Fprintln(g, "pawl: a line")
		b.draw(v)
		g.wantPicture("$ pawl", "pawl: a line", "  a long name", "  c", "  d", unknownBar)
		b.clear()
		b.clear()
		g.wantPicture("$ pawl", "pawl: a line")
	}
}

// TestBarWithoutRoom checks that names are cut or left out if there is no room, and that
// wide characters count as two columns.
func TestBarWithoutRoom(t *testing.T) {
	g, b, v := newTestBar(t, 24, 4)
	b.add("one")
	b.add("this is a rather long name")
	b.add("漢字漢字漢字漢字漢字漢字漢字")
	b.draw(v)
	g.wantPicture("$ pawl", "  this is a rat…ng name", "  漢 字 漢 字 漢 字 漢 …字 漢 字", "0 B, 0 connections  0/9")
	b.clear()
	g.wantPicture("$ pawl")
	g, b, v = newTestBar(t, 24, 2)
	b.add("one")
	b.draw(v)
	g.wantPicture("$ pawl", "0 B, 0 connections  0/9")
}

// TestBarErasesTerminalEcho checks that characters echoed by the terminal, such as ^C, are
// erased with the bar.
func TestBarErasesTerminalEcho(t *testing.T) {
	for _, echo := range []string{"^C", "^[[A^C"} {
		for _, names := range [][]string{nil, {"name"}} {
			g, b, v := newTestBar(t, 20, 10)
			v.files, b.recent = 1234567890123, names
			want := []string{"$ pawl"}
			for _, name := range names {
				want = append(want, "  "+name)
			}
			want = append(want, "0/1234567890123")
			b.draw(v)
			fmt.Fprint(g, echo)
			b.draw(v)
			g.wantPicture(want...)
			fmt.Fprint(g, echo)
			b.clear()
			g.wantPicture("$ pawl")
			fmt.Fprint(g, "asked: ")
			b.clear() // must not erase the text of others
			g.wantPicture("$ pawl", "asked:")
		}
	}
}

// TestBarResize checks that after any change of width the next draw leaves only the lines
// above, the bar and the names.
func TestBarResize(t *testing.T) {
	for range 200 {
		g, b, v := newTestBar(t, 80, 24)
		v.more, v.total, v.have, v.conns = false, 100<<30, 3<<30, 16
		b.add(strings.Repeat("name", 30))
		b.add("short")
		for range 10 {
			b.draw(v)
			g.resize(10 + rand.IntN(100))
			b.draw(v)
			g.wantPicture("$ pawl", b.look.shortenName("  "+b.recent[0], g.columns-1), b.look.shortenName("  short", g.columns-1), barLine(v, g.columns-1, b.look))
		}
		b.clear()
		g.wantPicture("$ pawl")
	}
}

// A fakeSource is the source of a display. The zero value has no downloads.
type fakeSource struct {
	running  atomic.Pointer[[]downloader.Progress]
	received atomic.Int64
}

// with makes these the running downloads.
func (f *fakeSource) with(running ...downloader.Progress) *fakeSource {
	f.running.Store(&running)
	return f
}

func (f *fakeSource) Received() int64 { return f.received.Load() }

func (f *fakeSource) Snapshot() []downloader.Progress {
	if p := f.running.Load(); p != nil {
		return *p
	}
	return nil
}

// TestDisplayPicture follows a run over a list on a terminal. The count grows while the
// list is read, finished files are named below the bar, messages appear above it, and in
// the end only the messages remain.
func TestDisplayPicture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t, 72, 24)
		say := &printer{stderr: g, stdout: &strings.Builder{}}
		var counts atomic.Pointer[fileCounts]
		counts.Store(&fileCounts{})
		s := newDisplay(say, displayOptions{bar: true, counts: func() fileCounts { return *counts.Load() }})
		s.bar = &bar{out: g, look: look{terminal: true}, size: g.size}
		var running fakeSource
		s.setFiles(0, true)
		s.start(&running)
		show := func(want ...string) {
			t.Helper()
			time.Sleep(drawInterval)
			synctest.Wait()
			g.wantPicture(want...)
		}
		show("0 B, 0 connections  reading the lists")
		s.setFiles(12, true)
		counts.Store(&fileCounts{current: 5})
		running.with(downloader.Progress{Target: "/d/a", Size: 100, Have: 50, Conns: 2})
		running.received.Store(50)
		show("50 B, 250 B/s, 2 connections  5 of 12 files so far, 5 already here")
		show("50 B, 125 B/s, 2 connections  5 of 12 files so far, 5 already here", "  a   50%                   100 B           2 conns")
		counts.Store(&fileCounts{current: 5, fetched: 2, failed: 1})
		s.onEvent(downloader.Event{Kind: downloader.Finished, Target: "/d/a", Size: 100})
		s.onEvent(downloader.Event{Kind: downloader.Finished, Target: "/d/b\n", Size: 2000, Outcome: downloader.Outcome{Current: true}})
		s.onEvent(downloader.Event{Kind: downloader.Stopped, Err: errors.New("x")}) // failures of a round are counted by the caller
		say.note("a line")
		running.with()
		s.setFiles(20, false)
		time.Sleep(4 * time.Second)
		show("pawl: a line", "  a  100 B", "  b   unchanged", " 40% [===>       ] 2.1 KiB, 0 connections  7 of 20 files, 1 failed, ...")
		half := downloader.Progress{Target: "/d/e", Size: 10, Have: 5}
		running.with(half, half, half, half)
		time.Sleep(drawInterval)
		synctest.Wait()
		if got := g.picture(); !strings.Contains(got, "\n 50% [=") {
			t.Errorf("8 of 20 files and 4 halves: got %s, want 50%%", got)
		}
		running.with()
		time.Sleep(4 * time.Second)
		counts.Store(&fileCounts{current: 5, fetched: 14, failed: 1})
		show("pawl: a line", "  a  100 B", "  b   unchanged", "100% [===========] 2.1 KiB/2.1 KiB, 0 conn  19 of 20 files, 1 failed...")
		s.stop()
		g.wantPicture("pawl: a line")
	})
}

// TestRateExcludesHeldBytes checks that bytes held before the run do not count in the rates.
func TestRateExcludesHeldBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t, 72, 24)
		s := newDisplay(&printer{stderr: g, stdout: g, quiet: true}, displayOptions{bar: true, files: 3})
		s.bar = &bar{out: g, look: look{terminal: true}, size: g.size}
		var running fakeSource
		s.start(&running)
		time.Sleep(time.Second)
		synctest.Wait()
		running.with(downloader.Progress{Target: "/d/a", Size: 1 << 30, Have: 1 << 20, Conns: 1})
		s.onEvent(downloader.Event{Kind: downloader.Finished, Target: "/d/b", Size: 1 << 30, Outcome: downloader.Outcome{Current: true}})
		s.onEvent(downloader.Event{Kind: downloader.Started, Target: "/d/a", Size: 1 << 30, Held: 1 << 20})
		time.Sleep(2 * drawInterval)
		synctest.Wait()
		if got := g.picture(); strings.Contains(got, "/s") || !strings.Contains(got, "1 of 3 files, 1 already here") {
			t.Errorf("got %q, want no rate, and one file already here", got)
		}
		s.stop()
	})
}
