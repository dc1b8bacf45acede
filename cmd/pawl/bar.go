package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// recentNames is how many finished files are named beneath the bar.
const maxRecentNames = 3

// A bar is the lines at the bottom of a terminal: how far everything is, and the
// names of the files that were finished last. A nil bar draws nothing.
//
// Between two calls the cursor is at the beginning of the first line. So what
// the terminal itself writes there, as ^C, is overwritten by the next drawing;
// and so is whatever becomes of the lines when it is resized, as all beneath
// the cursor is ours.
type bar struct {
	out    io.Writer
	size   func() (columns, rows int) // of the terminal
	shown  bool
	recent []string // oldest first
}

func newBar(tty *os.File) *bar {
	return &bar{out: tty, size: func() (int, int) {
		if w, h, err := term.GetSize(int(tty.Fd())); err == nil && w > 0 && h > 0 {
			return w, h
		}
		return 80, 24
	}}
}

// add names a file that was finished.
func (b *bar) add(name string) {
	b.recent = append(b.recent, name)
	b.recent = b.recent[max(0, len(b.recent)-maxRecentNames):]
}

// draw shows v. The lines stay clear of the last column, where some terminals
// wrap at once, and of the row above, which tells what came before.
func (b *bar) draw(v progressView) {
	if b == nil {
		return
	}
	columns, rows := b.size()
	var out strings.Builder
	out.WriteString("\r" + barLine(v, columns-1) + "\x1b[K")
	names := b.recent[max(0, len(b.recent)-max(0, rows-2)):]
	for _, name := range names {
		out.WriteString("\r\n" + truncate("  "+name, columns-1) + "\x1b[K")
	}
	out.WriteString("\x1b[J") // of more lines, or longer ones, than there are now
	if up := len(names); up > 0 {
		fmt.Fprintf(&out, "\x1b[%dA", up)
	}
	out.WriteByte('\r')
	b.shown = true
	io.WriteString(b.out, out.String())
}

// clear takes the bar off the screen, for a line to be printed.
func (b *bar) clear() {
	if b != nil && b.shown {
		io.WriteString(b.out, "\r\x1b[J")
		b.shown = false
	}
}
