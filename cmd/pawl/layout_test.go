package main

import (
	"slices"
	"strings"
	"testing"
)

// oneFile and threeFiles are what the tests of the layout draw.
var (
	oneFile = progressView{
		name: "debian-13.2.0-amd64-netinst.iso", files: 1, have: 8 << 30, total: 20 << 30, rate: 71 << 20, conns: 16, retries: 2,
	}
	threeFiles = progressView{
		files: 9, done: 5, failed: 1, have: 8 << 30, total: -1, begun: 1, rate: 71 << 20, conns: 18,
		recent: []string{"größe-漢字.bin  2.0 KiB"},
		running: []fileView{
			{name: "model-00001-of-00050.safetensors", have: 1 << 30, size: 4 << 30, rate: 60 << 20, conns: 16, retries: 1},
			{name: "größe.bin", have: 5 << 20, size: -1, rate: 11 << 20, conns: 1},
			{name: "waiting", size: -1},
		},
	}
)

// TestLinesAtWidths shows what a bar looks like on terminals of several widths.
func TestLinesAtWidths(t *testing.T) {
	for _, tt := range []struct {
		view    progressView
		columns int
		look    look
		want    string
	}{
		{oneFile, 20, look{}, `
40% 71.0 MiB/s`},
		{oneFile, 30, look{}, `
40% 71.0 MiB/s, eta 2m53s`},
		{oneFile, 80, look{}, `
 40% [====>        ] 8.0 GiB/20.0 GiB, 71.0 MiB/s, eta 2m53s  debian-13...t.iso`},
		{oneFile, 80, look{unicode: true}, `
 40% ━━━━━──────── 8.0 GiB/20.0 GiB, 71.0 MiB/s, eta 2m53s  debian-13.2.…st.iso`},
		{oneFile, 200, look{}, `
 40% [============>                    ] 8.0 GiB/20.0 GiB, 71.0 MiB/s, eta 2m53s, 16 connections, 2 retries  debian-13.2.0-amd64-netinst.iso`},
		{threeFiles, 20, look{terminal: true}, `
  gr??e-??....0 KiB
77% 71.0 MiB/s  5/9
  model...ors   25%
  gr??e.bin
  waiting`},
		{threeFiles, 30, look{terminal: true}, `
  gr??e-??.bin  2.0 KiB
77% 8.0 GiB, 71.0 MiB/s  5/9
  mod...rs   25%   60.0 MiB/s
  gr?...in         11.0 MiB/s
  waiting`},
		{threeFiles, 80, look{unicode: true}, `
  größe-漢字.bin  2.0 KiB
 77% ━━━━━━━━━━─── 8.0 GiB, 71.0 MiB/s, 18 connections  5 of 9 files, 1 failed
  model-00001…nsors   25%   60.0 MiB/s    4.0 GiB     51s  16 conns     1 retry
  größe.bin                 11.0 MiB/s    5.0 MiB            1 conn
  waiting                                     0 B           0 conns`},
	} {
		got := strings.Join(tt.view.lines(tt.columns-1, 23, tt.look), "\n")
		if got != strings.TrimPrefix(tt.want, "\n") {
			t.Errorf("%d columns: got\n%s\nwant%s", tt.columns, got, tt.want)
		}
	}
}

// TestLinesFit checks at all sizes that no line is wider than the terminal, that there are not more
// lines than rows, and that there is nothing but ASCII where that is asked for.
func TestLinesFit(t *testing.T) {
	skipUnderRace(t)
	many := threeFiles
	many.running = slices.Repeat(threeFiles.running, 10)
	for _, v := range []progressView{oneFile, threeFiles, many, {more: true, total: -1}, {files: 3, total: -1}} {
		for columns := range 250 {
			for _, rows := range []int{1, 2, 3, 4, 7, maxRunningLines + 4} {
				for _, l := range []look{{terminal: true}, {terminal: true, unicode: true}} {
					lines := v.lines(columns, rows, l)
					if len(lines) > rows {
						t.Fatalf("%d rows: got %d lines", rows, len(lines))
					}
					for _, line := range lines {
						if n := displayWidth(line); n > columns {
							t.Fatalf("%d columns: got %d in %q", columns, n, line)
						}
						if !l.unicode && asciiOnly(line) != line {
							t.Fatalf("%d columns: %q is not ASCII", columns, line)
						}
					}
				}
			}
		}
	}
	if got := many.runningLines(80, 24, look{}); len(got) != maxRunningLines || got[len(got)-1] != "  and 23 more" {
		t.Errorf("got %q, want %d lines of which the last counts the rest", got, maxRunningLines)
	}
}

// TestColors checks that the colors change nothing else, and that there are none without a color
// terminal.
func TestColors(t *testing.T) {
	plain := threeFiles.lines(80, 24, look{terminal: true})
	painted := threeFiles.lines(80, 24, look{terminal: true, color: true})
	text := strings.Join(painted, "\n")
	if !strings.Contains(text, "\x1b["+green+"m") {
		t.Errorf("got no color in %q", text)
	}
	for _, color := range []string{"\x1b[" + green + "m", "\x1b[0m"} {
		text = strings.ReplaceAll(text, color, "")
	}
	if want := strings.Join(plain, "\n"); text != want {
		t.Errorf("got %q, want %q", text, want)
	}
	for _, tt := range []struct {
		look look
		line string
		want string
	}{
		{look{color: true}, "pawl: error: x", "pawl: \x1b[31merror:\x1b[0m x"},
		{look{color: true}, "pawl: warning: x", "pawl: \x1b[35mwarning:\x1b[0m x"},
		{look{color: true}, "pawl: x error: y", "pawl: x error: y"},
		{look{}, "pawl: error: x", "pawl: error: x"},
	} {
		if got := tt.look.decorate(tt.line); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.line, got, tt.want)
		}
	}
}

// TestLocales checks which variables make a terminal show Unicode.
func TestLocales(t *testing.T) {
	for _, tt := range []struct {
		all, ctype, lang string
		want             bool
	}{
		{"C", "en_US.UTF-8", "en_US.UTF-8", false},
		{"", "C", "en_US.UTF-8", false},
		{"", "", "en_US.UTF-8", true},
		{"C.utf8", "", "", true},
		{"POSIX", "", "de_DE.utf8", false},
		{"", "", "de_DE@euro", false},
		{"", "", "de_DE.ISO-8859-15", false},
	} {
		env := map[string]string{"LC_ALL": tt.all, "LC_CTYPE": tt.ctype, "LANG": tt.lang}
		if got := localeIsUTF8(func(name string) string { return env[name] }); got != tt.want {
			t.Errorf("%+v: got %v", tt, got)
		}
	}
}

// TestShortenName checks that the end of a name stays, and that wide characters are not split.
func TestShortenName(t *testing.T) {
	for _, tt := range []struct {
		look look
		name string
		n    int
		want string
	}{
		{look{}, "model-00001-of-00050.safetensors", 20, "model-00001...ensors"},
		{look{unicode: true}, "model-00001-of-00050.safetensors", 20, "model-00001-o…ensors"},
		{look{unicode: true}, "漢字漢字漢字.bin", 9, "漢字…bin"},
		{look{unicode: true}, "漢字漢字漢字", 7, "漢字…字"},
		{look{}, "abcdef", 3, "..."},
		{look{}, "abcdef", 2, ".."},
		{look{unicode: true}, "abcdef", 1, "…"},
		{look{}, "abcdef", 0, ""},
		{look{}, "abcdef", 6, "abcdef"},
		{look{}, "", 0, ""},
		{look{unicode: true}, "e\u0301e\u0301e\u0301e\u0301", 3, "e\u0301…e\u0301"},
	} {
		if got := tt.look.shortenName(tt.name, tt.n); got != tt.want {
			t.Errorf("%q in %d: got %q, want %q", tt.name, tt.n, got, tt.want)
		}
	}
	for n := range 40 {
		if got := displayWidth(look{}.shortenName(strings.Repeat("漢a", 30), n)); got > n {
			t.Errorf("%d columns: got %d", n, got)
		}
	}
	if got, want := asciiOnly("a…ß漢e\u0301"), "a...??e?"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
