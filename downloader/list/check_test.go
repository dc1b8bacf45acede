package list

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestLocalPath(t *testing.T) {
	for name, want := range map[string]string{
		"a": "a", "a/b.c": "a/b.c", "./a": "a", "a//b/./c": "a/b/c", "..a/b..": "..a/b..", ".a": ".a", "aa:b": "aa:b", "a b": "a b", "é": "é",
		"": "", "/": "", "/a": "", "//a": "", `\a`: "", `a\..\b`: "", `..\b`: "", `C:\a`: "", "C:": "", "c:/a": "", "..": "", "../a": "", "a/..": "", "a/../b": "",
		".": "", "./": "", "a/": "", "a\x00": "", "a\nb": "", "a\x7f": "", "a\u0085": "", "a ": "", " ": "", "./ ": "",
		" a": " a", "./ a": " a", "a:b.bin": "a:b.bin", "C:x": "C:x", `back\slash.bin`: `back\slash.bin`,
	} {
		got, err := localPathOn("linux", name)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("localPath(%q): got %q, %v, want %q", name, got, err, want)
		}
		if err == nil && runtime.GOOS != "windows" && !filepath.IsLocal(got) {
			t.Errorf("localPath(%q): got %q, which is not local", name, got)
		}
	}
	for _, name := range []string{" a", "./ a", "a:b.bin", "C:x", `back\slash.bin`} {
		if got, err := localPathOn("windows", name); err == nil {
			t.Errorf("localPath(%q): got %q on Windows, want an error", name, got)
		}
	}
}

func TestTruncate(t *testing.T) {
	if got := truncate(strings.Repeat("é", 200)); got != strings.Repeat("é", 100)+"…" {
		t.Errorf("got %q", got)
	}
	if got := truncate("x" + strings.Repeat("é", 200)); got != "x"+strings.Repeat("é", 99)+"…" {
		t.Errorf("limit inside a character: got %q", got)
	}
}
