package weburl

import (
	"net/url"
	"strings"
	"testing"
)

// Below compares decoded segments, so that two spellings of a path are the same, and does not take an
// escaped slash for a slash.
func TestBelow(t *testing.T) {
	const no = "no"
	for _, tt := range []struct{ dir, u, want string }{ // want is joined with "|"
		{"http://h/pub/", "http://h/pub/", ""},
		{"http://h/pub/", "http://h/pub/a%20b/c", "a b|c"},
		{"http://h/pub/", "http://h/pub/a/", "a"},
		{"http://h/pub/x", "http://h/pub/a", "a"},
		{"http://h", "http://h/a", "a"},
		{"http://h/", "http://h", ""},
		{"http://h/~u/", "http://h/%7Eu/a", "a"},
		{"http://h/pub/", "http://h/pub//a/./b", "a|b"},
		{"http://h/pub/", "http://h/pub/a%2Fb", "a/b"},
		{"http://h/pub/", "http://h/pub/%2e%2e/b", "..|b"},
		{"http://h/pub/", "http://H:80/pub/a", "a"},
		{"https://h/pub/", "http://h/pub/a", "a"},
		{"http://h/pub/", "http://h/pub", no},
		{"http://h/pub/", "http://h/", no},
		{"http://h/pub/", "http://h/public/a", no},
		{"http://h/pub/", "http://h:81/pub/a", no},
		{"https://h/pub/", "https://h:80/pub/a", no},
		{"http://h/pub/", "http://www.h/pub/a", no},
	} {
		dir, _ := url.Parse(tt.dir)
		u, _ := url.Parse(tt.u)
		got := no
		if segments, ok := Below(dir, u); ok {
			got = strings.Join(segments, "|")
		}
		if got != tt.want {
			t.Errorf("Below(%s, %s): got %q, want %q", tt.dir, tt.u, got, tt.want)
		}
	}
}
