package main

// This file finds out the abilities of a terminal: its size, colors, and characters beyond ASCII.

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/term"
)

// A look is the set of abilities of an output. The zero look is a file or a pipe, which gets plain text.
type look struct {
	terminal bool // understands the movement of the cursor, and has a width
	color    bool
	unicode  bool // shows characters beyond ASCII
}

// The colors of a look, as parameters of SGR (ECMA-48 §8.3.117). Only these are used, because they
// are readable on light and on dark backgrounds; yellow, white and faint text are not.
const (
	red     = "31"
	green   = "32"
	magenta = "35"
	reverse = "7"
)

// lookOf returns the look of w. A terminal without escape sequences, such as TERM=dumb, counts as a
// file.
func lookOf(w io.Writer, noColor bool) look {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || !understandsEscapes(f) {
		return look{}
	}
	return look{terminal: true, color: !noColor && os.Getenv("NO_COLOR") == "", unicode: localeIsUTF8(os.Getenv)}
}

// localeIsUTF8 reports whether the locale of the environment has the character set UTF-8. The first of
// the variables that is not empty decides, and without any the locale is C (POSIX.1-2017 §8.2). Windows
// does not have the variables; its console shows all characters.
func localeIsUTF8(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := getenv(name); value != "" {
			value = strings.ToLower(value)
			return strings.Contains(value, "utf-8") || strings.Contains(value, "utf8")
		}
	}
	return runtime.GOOS == "windows"
}

// paint returns text in a color, or as it is. The text must not contain another color.
func (l look) paint(color, text string) string {
	if !l.color || text == "" {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// fold replaces the characters that the terminal does not show.
func (l look) fold(text string) string {
	if l.unicode || !l.terminal {
		return text
	}
	return asciiOnly(text)
}

// asciiOnly replaces all characters beyond ASCII: "…" by "...", and others by "?".
func asciiOnly(text string) string {
	if strings.IndexFunc(text, isBeyondASCII) < 0 {
		return text
	}
	return strings.Map(func(r rune) rune {
		if isBeyondASCII(r) {
			return '?'
		}
		return r
	}, strings.ReplaceAll(text, "…", "..."))
}

func isBeyondASCII(r rune) bool { return r >= 0x80 }

// shorten shortens text to at most n columns. The text must be folded.
func (l look) shorten(text string, n int) string { return omit(text, n, l.ellipsis(), 0) }

// shortenName is shorten for the name of a file. The last third stays, because the names of many files
// differ there, as in model-00001-of-00050.safetensors.
func (l look) shortenName(name string, n int) string { return omit(name, n, l.ellipsis(), n/3) }

// shortenTitle is shorten for the title of a line, which is the name of a file unless it is about
// several ones.
func (l look) shortenTitle(title string, n int, several bool) string {
	if several {
		return l.shorten(title, n)
	}
	return l.shortenName(title, n)
}

// shortenPath is shortenName for a path. Its directories are left out first.
func (l look) shortenPath(path string, n int) string {
	if displayWidth(path) > n {
		path = filepath.Base(path)
	}
	return l.shortenName(path, n)
}

func (l look) ellipsis() string {
	if l.unicode {
		return "…"
	}
	return "..."
}

// terminalSize returns the size of a terminal, which may change at any time. An unknown size counts as
// 80 by 24.
func terminalSize(tty *os.File) (columns, rows int) {
	if w, h, err := term.GetSize(int(tty.Fd())); err == nil && w > 0 && h > 0 {
		return w, h
	}
	return 80, 24
}

// isTerminal reports whether w is a terminal.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
