package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// A progressView is the content of one progress line.
type progressView struct {
	name        string  // one of the running files; shown if there is only one
	files       int     // expected files, as far as they are known
	more        bool    // files will still grow
	done        int     // finished files, those in before included
	before      int     // files that were complete before this run
	failed      int     // files
	begun       float64 // sum of the finished parts of the running files: two half-done files count 1
	byFiles     bool    // measure files even if all sizes are known; see scale
	have, total int64   // bytes; total is -1 if it is unknown
	rate        float64 // bytes per second
	conns       int     // open connections; -1 if nothing is transferred
}

// several reports whether v is about more than one file.
func (v progressView) several() bool { return v.files > 1 || v.more }

// title returns the subject of the line, for example "3 of 9 files, 1 failed".
func (v progressView) title() string {
	switch {
	case !v.several():
		return v.name
	case v.files == 0:
		return "reading the lists"
	}
	title := fmt.Sprintf("%d of %d files", v.done, v.files)
	if v.more {
		title += " so far"
	}
	if v.failed > 0 {
		title += fmt.Sprintf(", %d failed", v.failed)
	}
	if v.before > 0 {
		title += fmt.Sprintf(", %d already here", v.before)
	}
	return title
}

// scale returns the position of the bar and its maximum. The unit is a byte or, if byFiles
// is set or a size is unknown, a thousandth of a file. The maximum is 0 if neither can be
// measured.
func (v progressView) scale() (done, maximum int64) {
	switch byFiles := v.files > 1 && (v.byFiles || v.total < 0); {
	case byFiles && v.more:
		return 0, 0
	case byFiles:
		maximum = 1000 * int64(v.files)
		return min(int64(1000*(float64(v.done+v.failed)+v.begun)), maximum), maximum
	case v.total > 0:
		return min(v.have, v.total), v.total
	}
	return 0, 0
}

// numbers returns the bytes, the rate and the remaining time, for example
// "8.4 GiB/20.0 GiB, 71.3 MiB/s, eta 2m47s". Unknown numbers are left out.
func (v progressView) numbers() string {
	parts := []string{size(v.have)}
	if v.total >= 0 {
		parts[0] += "/" + size(v.total)
	}
	if v.rate > 0 {
		parts = append(parts, size(int64(v.rate))+"/s")
	}
	if v.total > v.have && v.rate > 1 {
		parts = append(parts, "eta "+eta(time.Duration(float64(v.total-v.have)/v.rate*float64(time.Second))))
	}
	return strings.Join(parts, ", ")
}

// text returns the numbers and, during a transfer, the connections.
func (v progressView) text() string {
	if v.conns < 0 {
		return v.numbers()
	}
	return v.numbers() + ", " + connections(v.conns)
}

// connections returns "1 connection" or, for example, "8 connections".
func connections(n int) string {
	if n == 1 {
		return "1 connection"
	}
	return fmt.Sprintf("%d connections", n)
}

// minTitleWidth is how many columns the title must have, unless it is shorter anyway. If
// there is less room, the connections are dropped from the line. It is a guess: about the
// first word of a file name. With half, the title would say nothing.
const minTitleWidth = 12

// fit returns as much of the view as fits into a number of columns. The numbers come
// first, then the title, then the connections.
func (v progressView) fit(columns int) string {
	texts := []string{v.text(), fmt.Sprintf("%s, %d conn", v.numbers(), v.conns), v.numbers()}
	if v.conns < 0 {
		texts = texts[:1]
	}
	for _, text := range texts {
		room := columns - displayWidth(text) - 2
		if room >= min(minTitleWidth, displayWidth(v.title())) {
			return text + "  " + truncate(v.title(), room)
		}
	}
	return truncate(v.numbers(), columns)
}

// eta formats a remaining time with at most two units, because it is only an estimate.
func eta(d time.Duration) string {
	switch d = d.Round(time.Second); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 100*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours())/24)
}

// A rateMeter measures the mean rate over rateWindow. It keeps the last 16 samples: at one
// sample per drawInterval that is 3.2 s, just more than the window.
type rateMeter struct {
	times [16]time.Time
	bytes [16]int64
	n     int // samples taken; sample i is at index i modulo 16
}

// sample records that have bytes are present at the time now, and returns the rate in
// bytes per second. Fewer bytes than before mean that a download has started over: then
// the measurement starts over too, because a rate must not be negative.
func (m *rateMeter) sample(now time.Time, have int64) float64 {
	last := (m.n + len(m.times) - 1) % len(m.times)
	if m.n > 0 && have < m.bytes[last] {
		m.n = 0
	}
	i := m.n % len(m.times)
	m.times[i], m.bytes[i] = now, have
	m.n++
	oldest := i
	for k := range min(m.n, len(m.times)) {
		j := (i - k + len(m.times)) % len(m.times)
		if now.Sub(m.times[j]) > rateWindow {
			break
		}
		oldest = j
	}
	d := now.Sub(m.times[oldest]).Seconds()
	if d <= 0 {
		return 0
	}
	return float64(have-m.bytes[oldest]) / d
}

// maxRecentNames is how many finished files are named below the bar: enough to see that
// files are finished, few enough to leave the terminal to its user.
const maxRecentNames = 3

// A bar draws the lines at the bottom of a terminal: the progress line, and below it the
// names of the files that were finished last. A nil bar draws nothing.
//
// Between two calls the cursor is at the start of the first line. So the next drawing
// overwrites text that the terminal itself prints there, such as ^C, and also the debris
// of a resized window, because everything below the cursor belongs to the bar.
type bar struct {
	out    io.Writer
	size   func() (columns, rows int) // of the terminal, which may be resized at any time
	shown  bool                       // the lines are on the screen
	recent []string                   // names of finished files, oldest first
}

// newBar returns the bar of a terminal. A terminal of unknown size counts as 80 by 24.
func newBar(tty *os.File) *bar {
	return &bar{out: tty, size: func() (int, int) {
		if w, h, err := term.GetSize(int(tty.Fd())); err == nil && w > 0 && h > 0 {
			return w, h
		}
		return 80, 24
	}}
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
	columns, rows := b.size()
	var out strings.Builder
	out.WriteString("\r" + barLine(v, columns-1) + "\x1b[K")
	names := b.recent[max(0, len(b.recent)-max(0, rows-2)):]
	for _, name := range names {
		out.WriteString("\r\n" + truncate("  "+name, columns-1) + "\x1b[K")
	}
	out.WriteString("\x1b[J") // erase what is left of an earlier drawing with more or longer lines
	if up := len(names); up > 0 {
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

// barLine returns the progress line for v in a number of columns. A narrow terminal (below
// 40 columns) has no bar, only numbers. progressbar draws into a string, because on a
// terminal it would sync a file at each drawing, and wrap lines that are too long.
func barLine(v progressView, columns int) string {
	done, maximum := v.scale()
	if maximum == 0 || columns < 40 {
		return v.fit(columns)
	}
	length := min(26, columns/6) // the numbers say more than the bar, so it gets a sixth of the line
	var out strings.Builder
	p := progressbar.NewOptions64(maximum,
		progressbar.OptionSetWriter(&out),
		progressbar.OptionSetWidth(length),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "=", SaucerHead: ">", SaucerPadding: " ", BarStart: "[", BarEnd: "]"}),
	)
	// An error of the bar must not disturb a download, so errors are ignored.
	p.RenderBlank()
	p.Set64(done)
	line := strings.TrimRight(out.String(), " \r\n")
	line = strings.TrimPrefix(line[strings.LastIndexByte(line, '\r')+1:], " ") // the blank follows an empty description
	return line + " " + v.fit(columns-displayWidth(line)-1)
}
