package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	// maxRecentNames is how many finished files are named above the bar: enough to see that
	// files are finished, few enough to leave the terminal to its user.
	maxRecentNames = 3
	// maxRunningLines is how many running files have a line below the bar. A guess: with half, most of
	// the files of a list would have none; with double, the lines fill a small terminal.
	maxRunningLines = 8
)

// A bar draws the lines at the bottom of a terminal: the names of the files that were finished last,
// the progress line, and below it the running files. A nil bar draws nothing.
//
// Between two calls the cursor is at the start of the first line. So the next drawing
// overwrites text that the terminal itself prints there, such as ^C, and also the debris
// of a resized window, because everything below the cursor belongs to the bar.
type bar struct {
	out    io.Writer
	look   look
	size   func() (columns, rows int) // of the terminal, which may be resized at any time
	shown  bool                       // the lines are on the screen
	recent []string                   // names of finished files, oldest first
}

// newBar returns the bar of a terminal.
func newBar(tty *os.File, l look) *bar {
	return &bar{out: tty, look: l, size: func() (int, int) { return terminalSize(tty) }}
}

// add appends the name of a finished file, to be shown by the next drawing.
func (b *bar) add(name string) {
	b.recent = append(b.recent, name)
	b.recent = b.recent[max(0, len(b.recent)-maxRecentNames):]
}

// draw shows v. The lines leave the last column free, because some terminals wrap at once
// when a character is printed there. They also leave the top row free, so that the last
// message above the bar stays readable.
func (b *bar) draw(v progressView) {
	if b == nil {
		return
	}
	v.recent = b.recent
	columns, rows := b.size()
	lines := v.lines(columns-1, rows-1, b.look)
	var out strings.Builder
	for i, line := range lines {
		if i > 0 {
			out.WriteByte('\n')
		}
		out.WriteString("\r" + line + "\x1b[K")
	}
	out.WriteString("\x1b[J") // erase the rest of an earlier drawing with more or longer lines
	if up := len(lines) - 1; up > 0 {
		fmt.Fprintf(&out, "\x1b[%dA", up)
	}
	out.WriteByte('\r')
	b.shown = true
	io.WriteString(b.out, out.String())
}

// clear erases the bar, so that a line can be printed in its place.
func (b *bar) clear() {
	if b != nil && b.shown {
		io.WriteString(b.out, "\r\x1b[J")
		b.shown = false
	}
}

// lines returns the lines of a bar, at most rows of them, which is at least 1. The running files have
// priority over the finished ones.
func (v progressView) lines(columns, rows int, l look) []string {
	running := v.runningLines(columns, rows-1, l)
	recent := v.recent[max(0, len(v.recent)-max(0, rows-1-len(running))):]
	var lines []string
	for _, name := range recent {
		lines = append(lines, l.paint(green, l.shortenName("  "+l.fold(name), columns)))
	}
	return append(append(lines, barLine(v, columns, l)), running...)
}

// A fileView is the content of the line of a running file.
type fileView struct {
	name       string
	have, size int64   // bytes; size is -1 if it is unknown
	rate       float64 // bytes per second
	conns      int
	retries    int
}

// minNameColumns is how many columns of a line the name of a file has at least, unless all names are
// shorter. A guess: with half, the names would say nothing.
const minNameColumns = 8

// runningLines returns the lines of the running files, at most rows of them. If there are more files,
// the last line says so.
func (v progressView) runningLines(columns, rows int, l look) []string {
	files := v.running
	rows = max(0, min(rows, maxRunningLines))
	more := 0
	if len(files) > rows {
		more = len(files) - max(0, rows-1)
		files = files[:max(0, rows-1)]
	}
	lines := fileLines(files, columns, l)
	if more > 0 && rows > 0 {
		lines = append(lines, l.shorten(fmt.Sprintf("  and %d more", more), columns))
	}
	return lines
}

// fileLines returns a line for each file, in aligned columns. As many of the numbers are shown as there
// is room for, the most important ones first.
func fileLines(files []fileView, columns int, l look) []string {
	name, widest := 0, 0 // width of the column of the names, and of the widest name
	names := make([]string, len(files))
	retries := false
	for i, f := range files {
		names[i] = l.fold(f.name)
		widest = max(widest, displayWidth(names[i]))
		retries = retries || f.retries > 0
	}
	type column struct {
		width int
		text  func(fileView) string
	}
	cells := []column{{4, fileView.percent}, {11, fileView.rateText}, {9, fileView.sizeText}, {6, fileView.etaText}, {8, fileView.connsText}}
	if retries {
		cells = append(cells, column{10, func(f fileView) string { return retriesText(f.retries) }})
	}
	name = columns - 2
	shown := 0
	for shown < len(cells) && name-2-cells[shown].width >= min(widest, minNameColumns) {
		name -= 2 + cells[shown].width
		shown++
	}
	name = max(0, min(name, widest))
	lines := make([]string, len(files))
	for i, f := range files {
		text := l.shortenPath(names[i], name)
		line := "  " + text + strings.Repeat(" ", name-displayWidth(text))
		for _, c := range cells[:shown] {
			line += fmt.Sprintf("  %*s", c.width, c.text(f))
		}
		lines[i] = l.shorten(strings.TrimRight(line, " "), columns)
	}
	return lines
}

func (f fileView) percent() string {
	if f.size <= 0 {
		return ""
	}
	return fmt.Sprintf("%d%%", int64(100*float64(min(f.have, f.size))/float64(f.size)))
}

func (f fileView) rateText() string {
	if f.rate < 1 {
		return ""
	}
	return size(int64(f.rate)) + "/s"
}

func (f fileView) sizeText() string { return size(max(f.size, f.have)) }

func (f fileView) etaText() string {
	if f.size <= f.have || f.rate < 1 {
		return ""
	}
	return remaining(f.size-f.have, f.rate)
}

func (f fileView) connsText() string {
	if f.conns == 1 {
		return "1 conn"
	}
	return fmt.Sprintf("%d conns", f.conns)
}
