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

// A grid is as much of a terminal as the bar uses: characters, \r, \n, ESC[K,
// ESC[J and ESC[nA. What leaves it at the top goes to above.
type grid struct {
	t             *testing.T
	mu            sync.Mutex // for the display's goroutine; of all below
	columns, rows int
	cells         [][]rune // rows of columns; 0 is nothing
	row, column   int
	above         []string
	escape        string // begun
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
			g.column = 0 // as the line discipline has it
		default:
			g.put(r)
		}
	}
	return len(p), nil
}

func (g *grid) sequence(r rune) {
	g.escape += string(r)
	if r == '[' || r >= '0' && r <= '9' {
		return
	}
	n := 0
	fmt.Sscanf(g.escape, "\x1b[%d", &n)
	switch r {
	case 'A':
		g.row = max(0, g.row-max(1, n))
	case 'J':
		for _, row := range g.cells[g.row+1:] {
			clear(row)
		}
		fallthrough
	case 'K':
		clear(g.cells[g.row][min(g.column, g.columns-1):])
	default:
		g.t.Errorf("the terminal does not know %q", g.escape)
	}
	g.escape = ""
}

func (g *grid) put(r rune) {
	if g.column+runeWidth(r) > g.columns {
		g.column = 0
		g.down()
	}
	g.cells[g.row][g.column] = r
	if g.column += runeWidth(r); runeWidth(r) == 2 {
		g.cells[g.row][g.column-1] = 0
	}
}

func (g *grid) down() {
	if g.row++; g.row == g.rows {
		g.above = append(g.above, text(g.cells[0]))
		g.cells = append(g.cells[1:], make([]rune, g.columns))
		g.row--
	}
}

// resize gives the grid other columns, and rows that are too long wrap, as most
// terminals do it. The cursor stays with its character.
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

func (g *grid) lastRow() int {
	last := g.row
	for i, row := range g.cells {
		if text(row) != "" {
			last = max(last, i)
		}
	}
	return last
}

func text(row []rune) string {
	return strings.TrimRight(strings.ReplaceAll(string(row), "\x00", " "), " ")
}

// picture is what there is to see, with what has left at the top, without the
// empty end.
func (g *grid) picture() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	lines := append([]string(nil), g.above...)
	for _, row := range g.cells {
		lines = append(lines, text(row))
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

func (g *grid) looks(want ...string) {
	g.t.Helper()
	if got := g.picture(); got != strings.Join(want, "\n") {
		g.t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

const unknownBar = "0 B, 0 connections  0 of 9 files so far"

func fresh(t *testing.T, columns, rows int) (*grid, *bar, progressView) {
	g := newGrid(t, columns, rows)
	fmt.Fprintln(g, "$ pawl")
	return g, &bar{out: g, size: g.size}, progressView{files: 9, more: true, total: -1}
}

// TestBarPicture: the names beneath the bar, the last three, and nothing once it
// is cleared; also at the bottom of the screen.
func TestBarPicture(t *testing.T) {
	for _, rows := range []int{5, 6, 24} {
		g, b, v := fresh(t, 60, rows)
		b.clear() // nothing yet
		b.draw(v)
		g.looks("$ pawl", unknownBar)
		for _, name := range []string{"a", "a long name", "c", "d"} {
			b.add(name)
			b.draw(v)
		}
		b.draw(v)
		g.looks("$ pawl", unknownBar, "  a long name", "  c", "  d")
		b.clear()
		g.looks("$ pawl")
		fmt.Fprintln(g, "pawl: a line")
		b.draw(v)
		g.looks("$ pawl", "pawl: a line", unknownBar, "  a long name", "  c", "  d")
		b.clear()
		b.clear()
		g.looks("$ pawl", "pawl: a line")
	}
}

// TestBarSmall: names are cut, and left out, where there is no room; what is
// wide counts as that.
func TestBarSmall(t *testing.T) {
	g, b, v := fresh(t, 24, 4)
	b.add("one")
	b.add("this is a rather long name")
	b.add("漢字漢字漢字漢字漢字漢字漢字")
	b.draw(v)
	g.looks("$ pawl", "0 B  0 of 9 files so f…", "  this is a rather lon…", "  漢 字 漢 字 漢 字 漢 字 漢 字 …")
	b.clear()
	g.looks("$ pawl")
	g, b, v = fresh(t, 24, 2)
	b.add("one")
	b.draw(v)
	g.looks("$ pawl", "0 B  0 of 9 files so f…")
}

// TestBarEcho: what the terminal echoes leaves no trace.
func TestBarEcho(t *testing.T) {
	for _, echo := range []string{"^C", "^[[A^C"} {
		for _, names := range [][]string{nil, {"name"}} {
			g, b, v := fresh(t, 20, 10)
			v.files, b.recent = 1234567890123, names
			want := []string{"$ pawl", "0 B  0 of 12345678…"}
			for _, name := range names {
				want = append(want, "  "+name)
			}
			b.draw(v)
			fmt.Fprint(g, echo)
			b.draw(v)
			g.looks(want...)
			fmt.Fprint(g, echo)
			b.clear()
			g.looks("$ pawl")
			fmt.Fprint(g, "asked: ")
			b.clear() // nothing of ours
			g.looks("$ pawl", "asked:")
		}
	}
}

// TestBarResize: after any resizing the next drawing leaves what was above, the
// bar and the names, and nothing else.
func TestBarResize(t *testing.T) {
	for range 200 {
		g, b, v := fresh(t, 80, 24)
		v.more, v.total, v.have, v.conns = false, 100<<30, 3<<30, 16
		b.add(strings.Repeat("name", 30))
		b.add("short")
		for range 10 {
			b.draw(v)
			g.resize(10 + rand.IntN(100))
			b.draw(v)
			g.looks("$ pawl", barLine(v, g.columns-1), truncate("  "+b.recent[0], g.columns-1), truncate("  short", g.columns-1))
		}
		b.clear()
		g.looks("$ pawl")
	}
}

// TestDisplayPicture: a run over a list on a terminal: the count grows while the
// list is read, finished files are named beneath the bar and not above it, what
// is told is above, and in the end only that is left.
func TestDisplayPicture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t, 72, 24)
		say := &printer{stderr: g, stdout: &strings.Builder{}}
		var counts atomic.Pointer[fileCounts]
		counts.Store(&fileCounts{})
		s := newDisplay(say, displayOptions{bar: true, counts: func() fileCounts { return *counts.Load() }})
		s.bar = &bar{out: g, size: g.size}
		var running atomic.Pointer[[]downloader.Progress]
		running.Store(new([]downloader.Progress))
		s.setFiles(0, true)
		s.start(func() []downloader.Progress { return *running.Load() })
		show := func(want ...string) {
			t.Helper()
			time.Sleep(drawInterval)
			synctest.Wait()
			g.looks(want...)
		}
		show("0 B, 0 connections  reading the lists")
		s.setFiles(12, true)
		counts.Store(&fileCounts{current: 5})
		running.Store(&[]downloader.Progress{{Target: "/d/a", Size: 100, Have: 50, Conns: 2}})
		show("50 B, 250 B/s, 2 connections  5 of 12 files so far, 5 already here")
		counts.Store(&fileCounts{current: 5, fetched: 2, failed: 1})
		s.onEvent(downloader.Event{Kind: downloader.Finished, Target: "/d/a", Size: 100})
		s.onEvent(downloader.Event{Kind: downloader.Finished, Target: "/d/b\n", Size: 2000, Current: true})
		s.onEvent(downloader.Event{Kind: downloader.Stopped, Err: errors.New("x")}) // of a round, counted by the caller
		say.note("a line")
		running.Store(new([]downloader.Progress))
		s.setFiles(20, false)
		time.Sleep(4 * time.Second)
		show("pawl: a line", " 40% [===>       ] 2.1 KiB, 0 connections  7 of 20 files, 1 failed, 5 …", "  a  100 B", "  b   unchanged")
		half := downloader.Progress{Target: "/d/e", Size: 10, Have: 5}
		running.Store(&[]downloader.Progress{half, half, half, half})
		time.Sleep(drawInterval)
		synctest.Wait()
		if got := g.picture(); !strings.Contains(got, "\n 50% [=") {
			t.Errorf("of 20 files 8 and 4 halves: got %s", got)
		}
		running.Store(new([]downloader.Progress))
		time.Sleep(4 * time.Second)
		counts.Store(&fileCounts{current: 5, fetched: 14, failed: 1})
		show("pawl: a line", "100% [===========] 2.1 KiB/2.1 KiB, 0 connections  19 of 20 files, 1 f…", "  a  100 B", "  b   unchanged")
		s.stop()
		g.looks("pawl: a line")
	})
}

// TestDisplayRate: bytes that were here before are no part of the rate.
func TestDisplayRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGrid(t, 72, 24)
		s := newDisplay(&printer{stderr: g, stdout: g, quiet: true}, displayOptions{bar: true, files: 3})
		s.bar = &bar{out: g, size: g.size}
		var running atomic.Pointer[[]downloader.Progress]
		running.Store(new([]downloader.Progress))
		s.start(func() []downloader.Progress { return *running.Load() })
		time.Sleep(time.Second)
		synctest.Wait()
		running.Store(&[]downloader.Progress{{Target: "/d/a", Size: 1 << 30, Have: 1 << 20, Conns: 1}})
		s.onEvent(downloader.Event{Kind: downloader.Finished, Target: "/d/b", Size: 1 << 30, Current: true})
		s.onEvent(downloader.Event{Kind: downloader.Started, Target: "/d/a", Size: 1 << 30, Held: 1 << 20})
		time.Sleep(drawInterval)
		synctest.Wait()
		if got := g.picture(); strings.Contains(got, "/s") || !strings.Contains(got, "1 of 3 files, 1 already here") {
			t.Errorf("got %q", got)
		}
		s.stop()
	})
}
