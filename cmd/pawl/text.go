package main

// This file formats text for people: bytes and durations, paths, and text from elsewhere
// that must not disturb a terminal or a log.

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
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
	}, escaped(text))
}

// escaped writes each byte that is not UTF-8 as \xNN, for example "caf\xe9". Both messages
// and JSON need it: JSON cannot contain such bytes, and encoding/json would replace them
// all with the same character.
func escaped(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		if _, size := utf8.DecodeRuneInString(text[i:]); r == utf8.RuneError && size == 1 {
			fmt.Fprintf(&b, `\x%02x`, text[i])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
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

// delayText says when something will happen, for example "in 2.0s".
func delayText(d time.Duration) string {
	if d < 100*time.Millisecond {
		return "at once"
	}
	return "in " + span(d)
}

// wideRunes are the runes that take two columns of a terminal: East Asian Width W and F
// (UAX #11), simplified to whole blocks. They must be sorted, because runeWidth searches
// them by bisection.
var wideRunes = []struct{ from, to rune }{
	{0x1100, 0x115f}, {0x231a, 0x231b}, {0x2e80, 0x303e}, {0x3041, 0x4dbf}, {0x4e00, 0xa4cf}, {0xa960, 0xa97c}, {0xac00, 0xd7a3}, {0xf900, 0xfaff},
	{0xfe30, 0xfe6f}, {0xff01, 0xff60}, {0xffe0, 0xffe6}, {0x17000, 0x18cff}, {0x1b000, 0x1b2ff}, {0x1f300, 0x1f64f},
	{0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd},
}

// runeWidth returns how many columns of a terminal r takes.
func runeWidth(r rune) int {
	switch {
	case r < 0x300: // below the combining characters
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	}
	_, found := slices.BinarySearchFunc(wideRunes, r, func(w struct{ from, to rune }, r rune) int {
		switch {
		case w.to < r:
			return -1
		case w.from > r:
			return 1
		}
		return 0
	})
	if found {
		return 2
	}
	return 1
}

// displayWidth returns how many columns printable text takes. It is an estimate, because
// terminals differ, for example for emoji that consist of several runes.
func displayWidth(text string) int {
	n := 0
	for _, r := range text {
		n += runeWidth(r)
	}
	return n
}

// truncate shortens text to at most n columns. Shortened text ends in "…".
func truncate(text string, n int) string {
	switch {
	case displayWidth(text) <= n:
		return text
	case n < 1:
		return ""
	}
	used := 0
	for i, r := range text {
		if used += runeWidth(r); used >= n {
			return text[:i] + "…"
		}
	}
	return text
}
