package weburl

import (
	"strings"
	"testing"
)

// Parse accepts absolute http and https URLs only. The error for others does not contain the
// password.
func TestParse(t *testing.T) {
	for _, s := range []string{
		"", "f", "/f", "//h/f", "http:", "http:///f", "http:f", "file:///f", "h:80/f",
		"ftp://user:hunter2@h/f", "user:hunter2@h/f", "//user:hunter2@h/f",
		"http://user:hunter2@h:port/", "http://user:hunter2@h h/", "http://user:hunter2@[h/", "http://user:hunter2@h\n:x/",
		`http://user:hunter2\x@h/`, "http://user:12hunter2#?/x@h/", "http://user:/hunter2@h/",
		"http://user:hunter2/x@h/", "http://user:hunter2?x@h/", "http://user:hunter2#x@h/", "http://user:hunter2@", "http://user:hunter2@h:99999/", "http://u:hunter2 /hunter2@h:x/", "http://h/" + strings.Repeat("x", maxLength), // passwords with characters that must be escaped
	} {
		u, err := Parse(s)
		if err == nil || u != nil {
			t.Errorf("%q: got %v, error %v, want an error", s, u, err)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error contains the password: %v", s, err)
		}
	}
	u, err := Parse("HTTP://user:password@H:80/a%20b?q#fragment")
	if want := "http://user:password@H:80/a%20b?q"; err != nil || u.String() != want {
		t.Errorf("got %v, error %v, want %s", u, err, want)
	}
}

// User and password are escaped, and the error for one that is ambiguous names the characters.
func TestParseUser(t *testing.T) {
	for typed, want := range map[string]string{
		"p%ss": "p%ss", "p%41": "pA", "pä": "pä", "p q": "p q", "^|{}": "^|{}", "[]<>`\"": "[]<>`\"", "a@b": "a@b", "a:b": "a:b", "%": "%", "1+1=2&$!": "1+1=2&$!", "": "", "\xff": "\xff",
	} {
		u, err := Parse("http://user:" + typed + "@h/f?a=b@c")
		if err != nil || u.Host != "h" || u.Path != "/f" {
			t.Errorf("%q: got %v, error %v", typed, u, err)
			continue
		}
		if got, _ := u.User.Password(); got != want || u.User.Username() != "user" {
			t.Errorf("%q: got user %q and password %q", typed, u.User.Username(), got)
		}
		if got := WithoutUser("http://user:" + typed + "@h/f"); got != "http://h/f" {
			t.Errorf("%q: without user: got %q", typed, got)
		}
	}
	for typed, names := range map[string]string{"p#q": "# as %23", "p?q": "? as %3F", "p/q": "/ as %2F", `p\q`: `\ as %5C`, "p/q#": "/ as %2F, # as %23"} {
		_, err := Parse("http://user:" + typed + "@h/f")
		if err == nil || !strings.HasSuffix(err.Error(), ": "+names) || strings.Contains(err.Error(), "user:") {
			t.Errorf("%q: got error %v, want %q at its end", typed, err, names)
		}
	}
	for _, s := range []string{"http://h/a@b", "http://h:80/a@b", `http://h\a@b`, "http://[::1]:80/a@b", "http://h?x@y", "http://u:p@h/x:y/a@b"} {
		if _, err := Parse(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// isPlain, the fast path of Check, accepts only URLs that url.Parse accepts.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{"http://h/x", "https://h", "http://-/", "http://h?x", "http://h:1/", "http://h/%zz", "http://h/a b", "http:///x", "HTTP://h/", "http://h/#%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !isPlain(s) {
			return
		}
		// The percent sign forces Check to parse; in a fragment it is valid.
		if err := Check(s + "#%41"); err != nil {
			t.Errorf("isPlain(%q) is true, but Check got %v", s, err)
		}
	})
}
