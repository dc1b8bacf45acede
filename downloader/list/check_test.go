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

// The error of an invalid URL does not contain the password.
func TestCheckURLHidesPassword(t *testing.T) {
	for _, s := range []string{"ftp://u:secret@h/", "http://u:secret@h/%zz", "http://u:secret@", "http://u:secret@h:99999/", "u:secret@h", "http://u:sec ret/secret@h:x/"} {
		if err := checkURL(s); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("checkURL(%q): got %v", s, err)
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

// isPlainURL, the fast path of checkURL, accepts only URLs that url.Parse accepts.
func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{"http://h/x", "https://h", "http://-/", "http://h?x", "http://h:1/", "http://h/%zz", "http://h/a b", "http:///x", "HTTP://h/", "http://h/#%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !isPlainURL(s) {
			return
		}
		// The percent sign forces checkURL to parse; in a fragment it is valid.
		if err := checkURL(s + "#%41"); err != nil {
			t.Errorf("isPlainURL(%q) is true, but checkURL got %v", s, err)
		}
	})
}
