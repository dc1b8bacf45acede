package main

import (
	"fmt"
	"io"
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
	files, done int
	have, total int64 // bytes; total -1 unknown
	rate        float64
	conns       int
}

func (v view) title() string {
	if v.files > 1 {
		return fmt.Sprintf("%d of %d files", v.done, v.files)
	}
	return v.name
}

// text is the part that a bar does not show.
func (v view) text() string {
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
	plural := "s"
	if v.conns == 1 {
		plural = ""
	}
	return strings.Join(append(parts, fmt.Sprintf("%d connection%s", v.conns, plural)), ", ")
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
	bar   *progressbar.ProgressBar
	shown bool
}

// terminal hides that it is a file: the bar library would sync it at each draw.
type terminal struct{ io.Writer }

func newBar(tty *os.File) *bar {
	return &bar{tty: tty, bar: progressbar.NewOptions64(1,
		progressbar.OptionSetWriter(terminal{tty}),
		progressbar.OptionSetWidth(min(30, width(tty)/4)),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionShowDescriptionAtLineEnd(),
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "=", SaucerHead: ">", SaucerPadding: " ", BarStart: "[", BarEnd: "]"}),
	)}
}

func width(tty *os.File) int {
	if w, _, err := term.GetSize(int(tty.Fd())); err == nil && w > 0 {
		return w
	}
	return 80
}

// draw shows v.
func (b *bar) draw(v view) {
	if b == nil {
		return
	}
	text := v.text() + "  " + v.title()
	b.clear()
	b.shown = true
	if v.total <= 0 {
		fmt.Fprint(b.tty, cut(text, width(b.tty)-1))
		return
	}
	room := width(b.tty) - min(30, width(b.tty)/4) - 10 // percent, brackets, blanks
	b.bar.Describe(cut(text, room))
	b.bar.ChangeMax64(v.total + 1) // never full: a full bar ends, and more files may come
	b.bar.Set64(v.have)            // its error is that of a bar, and no business of a download's
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
