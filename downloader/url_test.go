package downloader

import (
	"errors"
	"strings"
	"testing"

	"pawl/downloader/failure"
)

// parseURL accepts absolute http and https URLs only. The error for others does not contain the
// password.
func TestParseURL(t *testing.T) {
	for _, s := range []string{
		"", "f", "/f", "//h/f", "http:", "http:///f", "http:f", "file:///f", "h:80/f",
		"ftp://user:hunter2@h/f", "user:hunter2@h/f", "//user:hunter2@h/f",
		"http://user:hunter2@h:port/", "http://user:hunter2@h h/", "http://user:hunter2@[h/", "http://user:hunter2@h/\n",
		"http://user:hunter2%zz@h/", "http://user:@hunter2 @h/",
		"http://user:hunter2/x@h/", "http://user:hunter2?x@h/", "http://user:hunter2#x@h/", // passwords with characters that must be escaped
	} {
		u, err := parseURL(s)
		if !errors.Is(err, failure.ErrUsage) || u != nil {
			t.Errorf("%q: got %v, error %v, want error %v", s, u, err, failure.ErrUsage)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error contains the password: %v", s, err)
		}
	}
	u, err := parseURL("HTTP://user:password@H:80/a%20b?q#fragment")
	if want := "http://user:password@H:80/a%20b?q"; err != nil || u.String() != want {
		t.Errorf("got %v, error %v, want %s", u, err, want)
	}
}
