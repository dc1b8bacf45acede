package credentials

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseCookieFile(t *testing.T) {
	text := strings.Join([]string{
		"# Netscape HTTP Cookie File",
		"# a comment",
		"",
		"example.org\tFALSE\t/\tFALSE\t0\ta\t1",
		".example.org\tTRUE\t/dir\tTRUE\t2000000000\tb\tx=y z\r",
		"#HttpOnly_.example.org\tTRUE\t/\tfalse\t2000000000.5\tc\t\"q\"",
		"example.org\tFALSE\t\tFALSE\t-1\td",
		"example.org\tFALSE\t/\tFALSE\t99999999999999999999\te\tf\tg", // a tab is a control character
		"example.org FALSE / FALSE 0 secret spaces",
		"example.org\tFALSE\t/\tFALSE\tnever\tf\tsecret",
		"example.org\tFALSE\t/\tFALSE\t1e300\tg\t1",
		"[::1]\tFALSE\t/\tFALSE\t0\t\tvalue",
	}, "\n")
	cookies, bad, err := ParseCookieFile([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []FileCookie{
		{Host: "example.org", Path: "/", Name: "a", Value: "1"},
		{Host: "example.org", Subdomains: true, Path: "/dir", Secure: true, Expires: time.Unix(2000000000, 0), Name: "b", Value: "x=y z"},
		{Host: "example.org", Subdomains: true, Path: "/", Expires: time.Unix(2000000000, 0), Name: "c", Value: `"q"`},
		{Host: "example.org", Path: "/", Name: "d"},
		{Host: "example.org", Path: "/", Expires: time.Unix(maxExpiry, 0), Name: "g", Value: "1"},
		{Host: "[::1]", Path: "/", Value: "value"},
	}
	if !slices.Equal(cookies, want) {
		t.Errorf("got  %+v\nwant %+v", cookies, want)
	}
	if want := []int{8, 9, 10}; !slices.Equal(bad, want) {
		t.Errorf("bad lines: got %v, want %v", bad, want)
	}
}

func TestParseCookieFileNone(t *testing.T) {
	for text, want := range map[string]error{
		"":                            nil,
		"# Netscape HTTP Cookie File": nil,
		`[{"domain": "example.org", "name": "a", "value": "secret"}]`: ErrNoCookies,
		"Cookie: a=secret": ErrNoCookies,
	} {
		if _, _, err := ParseCookieFile([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", text, err, want)
		}
	}
}

func FuzzCookieFile(f *testing.F) {
	f.Add("#HttpOnly_.example.org\tTRUE\t/\tfalse\t2000000000.5\tc\t\"q\"\nexample.org\tFALSE\t\tFALSE\t-1\td")
	f.Fuzz(func(t *testing.T, text string) {
		cookies, _, _ := ParseCookieFile([]byte(text))
		for _, c := range cookies {
			if h := c.HTTP(); c.Host == "" || c.Path[0] != '/' || strings.ContainsAny(h.Name+h.Value, "\r\n\t") {
				t.Errorf("got %+v", c)
			}
		}
	})
}
