package list

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestLocalPath(t *testing.T) {
	for name, want := range map[string]string{
		"a": "a", "a/b.c": "a/b.c", "./a": "a", "a//b/./c": "a/b/c", "..a/b..": "..a/b..", ".a": ".a", "aa:b": "aa:b", "a b": "a b", "é": "é",
		"": "", "/": "", "/a": "", "//a": "", `\a`: "", `a\..\b`: "", "C:": "", "c:/a": "", "..": "", "../a": "", "a/..": "", "a/../b": "",
		".": "", "./": "", "a/": "", "a\x00": "", "a\nb": "", "a\x7f": "", "a\u0085": "", " a": "", "a ": "",
	} {
		got, err := localPath(name)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("localPath(%q): got %q, %v, want %q", name, got, err, want)
		}
		if err == nil && !filepath.IsLocal(got) {
			t.Errorf("localPath(%q): got %q, which is not local", name, got)
		}
	}
}

// No error tells a password, whatever is wrong with the URL around it.
func TestCheckURLTellsNoPassword(t *testing.T) {
	for _, s := range []string{"ftp://u:secret@h/", "http://u:secret@h/%zz", "http://u:secret@", "http://u:secret@h:99999/", "u:secret@h", "http://u:sec ret/secret@h:x/"} {
		if err := checkURL(s); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("checkURL(%q): got %v", s, err)
		}
	}
}

func TestShort(t *testing.T) {
	if got := short(strings.Repeat("é", 200)); got != strings.Repeat("é", 100)+"…" {
		t.Errorf("got %q", got)
	}
	if got := short("x" + strings.Repeat("é", 200)); got != "x"+strings.Repeat("é", 99)+"…" {
		t.Errorf("cut in a character: got %q", got)
	}
}

// The short cut of checkURL takes nothing that is not good.
func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{"http://h/x", "https://h", "http://-/", "http://h?x", "http://h:1/", "http://h/%zz", "http://h/a b", "http:///x", "HTTP://h/", "http://h/#%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !isPlainURL(s) {
			return
		}
		// A percent makes checkURL parse, and is good in a fragment.
		if err := checkURL(s + "#%41"); err != nil {
			t.Errorf("%q is plain, but: %v", s, err)
		}
	})
}
