package main

import (
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// A view is what a progress line tells.
type view struct {
	name        string // of one of the files
	files       int    // asked for
	done        int
	failed      int
	have, total int64 // bytes; total -1 unknown
	rate        float64
	conns       int
}

func (v view) title() string {
	switch {
	case v.files > 1 && v.failed > 0:
		return fmt.Sprintf("%d of %d files, %d failed", v.done, v.files, v.failed)
	case v.files > 1:
		return fmt.Sprintf("%d of %d files", v.done, v.files)
	}
	return v.name
}

// numbers is how far the downloads are, how fast, and how long they will take.
func (v view) numbers() string {
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

func (v view) text() string { return v.numbers() + ", " + connections(v.conns) }

func connections(n int) string {
	if n == 1 {
		return "1 connection"
	}
	return fmt.Sprintf("%d connections", n)
}

// leastTitle is how many columns a title has before the connections go.
const leastTitle = 12

// fit is as much of the view as columns have room for: the numbers come first,
// then the title, then the connections.
func (v view) fit(columns int) string {
	for _, text := range []string{v.text(), fmt.Sprintf("%s, %d conn", v.numbers(), v.conns), v.numbers()} {
		room := columns - utf8.RuneCountInString(text) - 2
		if room >= min(leastTitle, utf8.RuneCountInString(v.title())) {
			return text + "  " + cut(v.title(), room)
		}
	}
	return cut(v.numbers(), columns)
}

// eta formats a remaining time, which is never exact.
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

// A meter tells the mean rate of the last few seconds.
type meter struct {
	times [16]time.Time
	bytes [16]int64
	n     int // samples taken
}

// at notes that have bytes are there now, and returns bytes per second.
func (m *meter) at(now time.Time, have int64) float64 {
	last := (m.n + len(m.times) - 1) % len(m.times)
	if m.n > 0 && have < m.bytes[last] {
		m.n = 0 // starting over
	}
	i := m.n % len(m.times)
	m.times[i], m.bytes[i] = now, have
	m.n++
	oldest := i
	for k := range min(m.n, len(m.times)) {
		j := (i - k + len(m.times)) % len(m.times)
		if now.Sub(m.times[j]) > rateOver {
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

// A bar is the one line at the bottom of a terminal. A nil bar draws nothing.
type bar struct {
	tty   *os.File
	shown bool
}

func newBar(tty *os.File) *bar { return &bar{tty: tty} }

func width(tty *os.File) int {
	if w, _, err := term.GetSize(int(tty.Fd())); err == nil && w > 0 {
		return w
	}
	return 80
}

// draw shows v.
func (b *bar) draw(v view) {
	if b != nil {
		b.shown = true
		fmt.Fprint(b.tty, "\r"+barLine(v, width(b.tty)-1)+"\x1b[K")
	}
}

// barLine is the line for v in a number of columns. The library draws the bar
// into memory: it would sync a file at each draw, and wrap what is too long.
func barLine(v view, columns int) string {
	if v.total <= 0 || columns < 40 {
		return v.fit(columns)
	}
	length := min(26, columns/6)
	var out strings.Builder
	p := progressbar.NewOptions64(v.total,
		progressbar.OptionSetWriter(&out),
		progressbar.OptionSetWidth(length),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "=", SaucerHead: ">", SaucerPadding: " ", BarStart: "[", BarEnd: "]"}),
	)
	// Its errors are those of a bar, and no business of a download's.
	p.RenderBlank()
	p.Set64(min(v.have, v.total))
	line := strings.TrimRight(out.String(), " \r\n")
	line = strings.TrimPrefix(line[strings.LastIndexByte(line, '\r')+1:], " ") // of no description
	return line + " " + v.fit(columns-utf8.RuneCountInString(line)-1)
}

// clear takes the bar off the screen, for a line to be printed.
func (b *bar) clear() {
	if b != nil && b.shown {
		fmt.Fprint(b.tty, "\r\x1b[K")
		b.shown = false
	}
}

// cut shortens text to n columns, about.
func cut(text string, n int) string {
	for n > 0 && utf8.RuneCountInString(text) > n {
		text = string([]rune(text)[:n-1]) + "…"
	}
	return text
}
