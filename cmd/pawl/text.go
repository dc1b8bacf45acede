package main

// This file formats text for people: bytes and durations, paths, and text from elsewhere
// that must not disturb a terminal or a log.

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/rivo/uniseg"

	"pawl/cmd/pawl/bytetext"
)

// printable turns text from elsewhere into one line that is safe to print. It replaces
// control characters and marks that change the direction of text with blanks, because a
// server could use them to forge messages. Bytes that are not UTF-8 are escaped.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, bytetext.Escape(text))
}

// relPath returns path relative to the working directory, as the user would type it. A
// path outside of the working directory stays absolute.
func relPath(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(wd, path)
	if err != nil || !filepath.IsLocal(rel) {
		return path
	}
	return rel
}

// size formats a number of bytes, for example "8.4 GiB".
func size(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n), ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB", "PiB"} {
		if v /= 1024; v < 999.95 { // rounds to at most "999.9"
			break
		}
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}

// sizeText formats a number of bytes; a negative number is an unknown size.
func sizeText(n int64) string {
	if n < 0 {
		return "unknown size"
	}
	return size(n)
}

// span formats a duration, for example "0.8s" or "2m44s".
func span(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// longSpan formats a duration of any length, for example "24 hours".
func longSpan(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 2*time.Hour:
		return span(d)
	case d < 2*day:
		return fmt.Sprintf("%.0f hours", d.Hours())
	case d < 1000*day:
		return fmt.Sprintf("%d days", d/day)
	}
	return "for years"
}

// delayText says when something will happen, for example "in 2.0s".
func delayText(d time.Duration) string {
	if d < 100*time.Millisecond {
		return "at once"
	}
	return "in " + span(d)
}

// displayWidth returns how many columns printable text takes. It is an estimate, because
// terminals differ, for example for emoji.
func displayWidth(text string) int { return uniseg.StringWidth(text) }

// truncate shortens text to at most n columns. Shortened text ends in "…".
func truncate(text string, n int) string { return omit(text, n, "…", 0) }

// omit shortens text to at most n columns, with mark in the place of the missing part. The last tail
// columns stay, or fewer if there is a wide character at their beginning.
func omit(text string, n int, mark string, tail int) string {
	if displayWidth(text) <= n {
		return text
	}
	if n <= displayWidth(mark) {
		return strings.Repeat(mark[:len(mark)/displayWidth(mark)], max(n, 0))
	}
	var starts, widths []int // of the characters, as people see them
	for g := uniseg.NewGraphemes(text); g.Next(); {
		from, _ := g.Positions()
		starts, widths = append(starts, from), append(widths, g.Width())
	}
	first, last := 0, len(starts) // characters before first and from last on stay
	for used := 0; used+widths[last-1] <= tail; last-- {
		used += widths[last-1]
		n -= widths[last-1]
	}
	for n -= displayWidth(mark); widths[first] <= n; first++ {
		n -= widths[first]
	}
	end := ""
	if last < len(starts) {
		end = text[starts[last]:]
	}
	return text[:starts[first]] + mark + end
}
