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
		"http://user:hunter2%zz@h/", "http://user:@hunter2 @h/",
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
