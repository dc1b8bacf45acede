package transport

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// A cookie comes back to its own site only, a public suffix is no site, and hostile servers
// cannot fill the memory.
func TestCookies(t *testing.T) {
	at := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	j := newBoundedJar()
	set := func(s, line string) {
		c, err := http.ParseSetCookie(line)
		if err != nil {
			t.Fatal(err)
		}
		j.SetCookies(at(s), []*http.Cookie{c})
	}
	get := func(s string) string {
		var all []string
		for _, c := range j.Cookies(at(s)) {
			all = append(all, c.Name+"="+c.Value)
		}
		return strings.Join(all, " ")
	}
	set("http://a.example.com/x", "host=1")
	set("http://a.example.com/", "site=2; Domain=example.com")
	set("http://a.co.uk/", "suffix=3; Domain=co.uk")
	set("https://a.example.com/", "safe=4; Secure")
	set("http://a.example.com/", "big="+strings.Repeat("x", maxCookie))
	for s, want := range map[string]string{
		"http://a.example.com/":  "host=1 site=2",
		"https://a.example.com/": "host=1 site=2 safe=4",
		"http://b.example.com/":  "site=2",
		"http://a.co.uk/":        "",
		"http://b.co.uk/":        "",
	} {
		if got := get(s); got != want {
			t.Errorf("%s: got %q, want %q", s, got, want)
		}
	}
	for i := range 2 * maxCookiesPerSite {
		set(fmt.Sprintf("http://h%d.evil.example/", i), fmt.Sprintf("n%d=1; Domain=evil.example; Path=/", i))
	}
	if got := len(j.Cookies(at("http://evil.example/"))); got != maxCookiesPerSite {
		t.Errorf("got %d cookies of one site, want %d", got, maxCookiesPerSite)
	}
	set("http://h0.evil.example/", "n0=2; Domain=evil.example; Path=/")
	if got := get("http://evil.example/"); !strings.Contains(got, "n0=2") {
		t.Errorf("a known cookie did not change: %s", got)
	}
	for i := range 2 * maxCookiesPerSite { // each directory has a cookie of its own
		set(fmt.Sprintf("http://paths.example/%d/x", i), "n=1")
	}
	if got := len(j.known["paths.example"]); got != maxCookiesPerSite {
		t.Errorf("got %d cookies of many directories, want %d", got, maxCookiesPerSite)
	}
	for i := range 2 * maxCookies {
		set(fmt.Sprintf("http://site%d.example/", i), "n=1")
	}
	if j.count != maxCookies {
		t.Errorf("got %d cookies, want %d", j.count, maxCookies)
	}
}
