package main

import (
	"slices"
	"unicode"
)

// wide are the runes that take two columns: those of East Asian Width W and F
// (UAX #11), in blocks rather than one by one.
var wideRunes = []struct{ from, to rune }{
	{0x1100, 0x115f}, {0x231a, 0x231b}, {0x2e80, 0x303e}, {0x3041, 0x4dbf}, {0x4e00, 0xa4cf}, {0xa960, 0xa97c}, {0xac00, 0xd7a3}, {0xf900, 0xfaff},
	{0xfe30, 0xfe6f}, {0xff01, 0xff60}, {0xffe0, 0xffe6}, {0x17000, 0x18cff}, {0x1b000, 0x1b2ff}, {0x1f300, 0x1f64f},
	{0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd},
}

// columnOf is how many columns a terminal has for r.
func runeWidth(r rune) int {
	switch {
	case r < 0x300:
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

// columnsOf is how many columns printable text takes, about.
func displayWidth(text string) int {
	n := 0
	for _, r := range text {
		n += runeWidth(r)
	}
	return n
}

// cut shortens text to n columns.
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
