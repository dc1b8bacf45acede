package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
)

// A view is what a progress line tells.
type progressView struct {
	name        string // of one of the files
	files       int    // asked for, as far as is known
	more        bool   // files will grow
	done        int
	before      int // of the done ones, those that were here before
	failed      int
	begun       float64 // how much of the running ones is there, in files
	byFiles     bool    // measure files even where all sizes are known: see scale
	have, total int64   // bytes; total -1 unknown
	rate        float64
	conns       int
}

// several reports whether v is about more than one file.
func (v progressView) several() bool { return v.files > 1 || v.more }

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
		title += fmt.Sprintf(", %d here before", v.before)
	}
	return title
}

// scale is what the bar measures: bytes, or where the size of some files is not
// known thousandths of files; most is 0 if neither can be measured.
func (v progressView) scale() (done, most int64) {
	switch byFiles := v.files > 1 && (v.byFiles || v.total < 0); {
	case byFiles && v.more:
		return 0, 0
	case byFiles:
		most = 1000 * int64(v.files)
		return min(int64(1000*(float64(v.done+v.failed)+v.begun)), most), most
	case v.total > 0:
		return min(v.have, v.total), v.total
	}
	return 0, 0
}

// numbers is how far the downloads are, how fast, and how long they will take.
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

func (v progressView) text() string { return v.numbers() + ", " + connections(v.conns) }

func connections(n int) string {
	if n == 1 {
		return "1 connection"
	}
	return fmt.Sprintf("%d connections", n)
}

// leastTitle is how many columns a title has before the connections go.
const minTitleWidth = 12

// fit is as much of the view as columns have room for: the numbers come first,
// then the title, then the connections.
func (v progressView) fit(columns int) string {
	for _, text := range []string{v.text(), fmt.Sprintf("%s, %d conn", v.numbers(), v.conns), v.numbers()} {
		room := columns - displayWidth(text) - 2
		if room >= min(minTitleWidth, displayWidth(v.title())) {
			return text + "  " + truncate(v.title(), room)
		}
	}
	return truncate(v.numbers(), columns)
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
type rateMeter struct {
	times [16]time.Time
	bytes [16]int64
	n     int // samples taken
}

// at notes that have bytes are there now, and returns bytes per second.
func (m *rateMeter) sample(now time.Time, have int64) float64 {
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

// barLine is the line for v in a number of columns. The library draws the bar
// into memory: it would sync a file at each draw, and wrap what is too long.
func barLine(v progressView, columns int) string {
	done, most := v.scale()
	if most == 0 || columns < 40 {
		return v.fit(columns)
	}
	length := min(26, columns/6)
	var out strings.Builder
	p := progressbar.NewOptions64(most,
		progressbar.OptionSetWriter(&out),
		progressbar.OptionSetWidth(length),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "=", SaucerHead: ">", SaucerPadding: " ", BarStart: "[", BarEnd: "]"}),
	)
	// Its errors are those of a bar, and no business of a download's.
	p.RenderBlank()
	p.Set64(done)
	line := strings.TrimRight(out.String(), " \r\n")
	line = strings.TrimPrefix(line[strings.LastIndexByte(line, '\r')+1:], " ") // of no description
	return line + " " + v.fit(columns-displayWidth(line)-1)
}
