package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
)

// A progressView is the content of a bar.
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
	retries     int     // of the running files

	running []fileView // of several files, in order of their start
	recent  []string   // names of finished files, oldest first
	workers string     // of a fleet, for example "3 workers, 12 busy"; "" without one
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
	if v.workers != "" {
		title += ", " + v.workers
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

// amount returns the bytes, for example "8.4 GiB/20.0 GiB".
func (v progressView) amount() string {
	if v.total < 0 {
		return size(v.have)
	}
	return size(v.have) + "/" + size(v.total)
}

// rateText returns the rate, for example "71.3 MiB/s", or "" if there is none.
func (v progressView) rateText() string {
	if v.rate < 1 {
		return ""
	}
	return size(int64(v.rate)) + "/s"
}

// etaText returns the remaining time, for example "eta 2m47s", or "" if it is unknown.
func (v progressView) etaText() string {
	if v.total <= v.have || v.rate <= 1 {
		return ""
	}
	return "eta " + remaining(v.total-v.have, v.rate)
}

// remaining returns how long n bytes take at a rate in bytes per second.
func remaining(n int64, rate float64) string {
	return eta(time.Duration(min(float64(n)/rate*float64(time.Second), math.MaxInt64/2)))
}

// connsText returns the connections, or "" if nothing is transferred.
func (v progressView) connsText() string {
	if v.conns < 0 {
		return ""
	}
	return connections(v.conns)
}

// retriesText returns how often requests were repeated, or "" if none was.
func retriesText(n int) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "1 retry"
	}
	return fmt.Sprintf("%d retries", n)
}

// listed joins the texts that are not empty.
func listed(texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(t string) bool { return t == "" }), ", ")
}

// text returns all numbers, for example "8.4 GiB/20.0 GiB, 71.3 MiB/s, eta 2m47s, 8 connections".
func (v progressView) text() string {
	return listed(v.amount(), v.rateText(), v.etaText(), v.connsText(), retriesText(v.retries))
}

// connections returns "1 connection" or, for example, "8 connections".
func connections(n int) string {
	if n == 1 {
		return "1 connection"
	}
	return fmt.Sprintf("%d connections", n)
}

// minTitleWidth is how many columns the title must have, unless it is shorter anyway. If
// there is less room, numbers are dropped from the line. It is a guess: about the
// first word of a file name. With half, the title would say nothing.
const minTitleWidth = 12

// minCountsWidth is minTitleWidth for several files: the length of "30 of 35 files, 1 failed".
const minCountsWidth = 24

// fit returns as much of the view as fits into a number of columns, at least 10. The least important
// numbers are left out first, and the title of one file last: the user has just typed it. Of several
// files, their number stays.
func (v progressView) fit(columns int, l look) string {
	short := ""
	if v.conns >= 0 {
		short = fmt.Sprintf("%d conn", v.conns)
	}
	texts := []string{
		v.text(),
		listed(v.amount(), v.rateText(), v.etaText(), short, retriesText(v.retries)),
		listed(v.amount(), v.rateText(), v.etaText(), short),
		listed(v.amount(), v.rateText(), v.etaText()),
		listed(size(v.have), v.rateText(), v.etaText()),
		listed(v.rateText(), v.etaText()),
		cmp.Or(v.rateText(), size(v.have)),
	}
	title, least, count := l.fold(v.title()), minTitleWidth, ""
	if v.several() && v.files > 0 {
		least, count = minCountsWidth, fmt.Sprintf("%d/%d", v.done, v.files)
	}
	for i, text := range texts {
		if i == len(texts)-1 && count == "" { // the remaining time says more than the name
			break
		}
		room := columns - displayWidth(text) - 2
		if text != "" && room >= min(least, displayWidth(title)) {
			return text + "  " + l.shortenTitle(title, room, v.several())
		}
	}
	for _, text := range append(texts, cmp.Or(v.etaText(), size(v.have))) {
		if line := strings.TrimSuffix(text+"  "+count, "  "); text != "" && displayWidth(line) <= columns {
			return line
		}
	}
	return l.shorten(cmp.Or(count, size(v.have)), columns)
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

// sample records that n bytes were received until the time now, and returns the rate in bytes per
// second. If n has become smaller, because bytes were taken back, the rate is 0 and not negative.
func (m *rateMeter) sample(now time.Time, n int64) float64 {
	i := m.n % len(m.times)
	m.times[i], m.bytes[i] = now, n
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
	return float64(max(0, n-m.bytes[oldest])) / d
}

// The glyphs of a bar. The ASCII ones need brackets, because a blank shows no end.
var (
	asciiTheme   = progressbar.Theme{Saucer: "=", SaucerHead: ">", SaucerPadding: " ", BarStart: "[", BarEnd: "]"}
	unicodeTheme = progressbar.Theme{Saucer: "━", SaucerHead: "━", SaucerPadding: "─"}
)

// minBarColumns is the width of a terminal from which there is a bar. Below it, the numbers need the
// room. A guess.
const minBarColumns = 40

// barLine returns the progress line for v in a number of columns. progressbar draws into a string,
// because on a terminal it would sync a file at each drawing, and wrap lines that are too long.
func barLine(v progressView, columns int, l look) string {
	done, maximum := v.scale()
	switch {
	case maximum == 0:
		return v.fit(columns, l)
	case columns < minBarColumns:
		percent := fmt.Sprintf("%d%% ", int64(100*float64(done)/float64(maximum)))
		return l.shorten(percent+v.fit(columns-len(percent), l), columns)
	}
	theme, length := asciiTheme, min(40, columns/6) // the numbers say more than the bar, so it gets a sixth of the line
	if l.unicode {
		theme = unicodeTheme
	}
	var out strings.Builder
	p := progressbar.NewOptions64(maximum,
		progressbar.OptionSetWriter(&out),
		progressbar.OptionSetWidth(length),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionSetTheme(theme),
	)
	// An error of the bar must not disturb a download, so errors are ignored.
	p.RenderBlank()
	p.Set64(done)
	line := strings.TrimRight(out.String(), " \r\n")
	line = strings.TrimPrefix(line[strings.LastIndexByte(line, '\r')+1:], " ") // the blank follows an empty description
	return l.paintBar(line) + " " + v.fit(columns-displayWidth(line)-1, l)
}

// paintBar colors the finished part of a bar.
func (l look) paintBar(line string) string {
	isFinished := func(r rune) bool { return r == '=' || r == '>' || r == '━' }
	from := strings.IndexFunc(line, isFinished)
	if from < 0 {
		return line
	}
	rest := strings.TrimLeftFunc(line[from:], isFinished)
	return line[:from] + l.paint(green, line[from:len(line)-len(rest)]) + rest
}
