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
		j.setCookies(at(s), []string{line})
	}
	get := func(s string) string {
		var all []string
		for _, c := range j.cookies(at(s)) {
			all = append(all, c.Name+"="+c.Value)
		}
		return strings.Join(all, " ")
	}
	set("http://a.example.com/x", "host=1")
	set("http://a.example.com/", "site=2; Domain=example.com")
	set("http://a.co.uk/", "suffix=3; Domain=co.uk")
	set("https://a.example.com/", "safe=4; Secure")
	set("http://a.example.com/", "gone=5; Max-Age=0")
	set("http://a.example.com/", "gone=5; Expires=Thu, 01-Jan-1970 00:00:01 GMT")
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
	if got := len(j.cookies(at("http://evil.example/"))); got != maxCookiesPerSite {
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

// The values of cookies come back as they came, and the cookies of the user stay.
func TestCookieKeeper(t *testing.T) {
	long := strings.Repeat("x", maxCookie-1)
	for _, tt := range []struct{ field, user, want string }{
		{`j={"a":1,"b":[2]}; Path=/`, "", `j={"a":1,"b":[2]}`},
		{`a=b c d`, "", `a=b c d`},
		{`a="b c"; HttpOnly`, "", `a="b c"`},
		{`a=\b\; Path=/`, "", `a=\b\`},
		{"a=\xe4\xfc", "", "a=\xe4\xfc"},
		{"a = b ", "", "a=b"},
		{"a[0]=b=c", "", "a[0]=b=c"},
		{"a=", "", "a="},
		{"n=" + long + "; Path=/; Expires=Fri, 01 Jan 2100 00:00:00 GMT", "", "n=" + long},
		{"n=" + long + "x", "", ""},
		{"novalue", "", ""},
		{"=v", "", ""},
		{"a=\x01", "", ""},
		{"a=1; Max-Age=-1", "", ""},
		{"a=1; Max-Age=99999999999999999999", "", "a=1"},
		{"a=1; Max-Age=soon", "", "a=1"},
		{"a=1; Path=" + strings.Repeat("/x", maxCookieAttribute), "", "a=1"},
		{"a=1; Secure", "", ""},
		{"a=1; Domain=other.example", "", ""},
		{"a=1; path=/other", "", ""},
		{"a=1", "b=2; a=0", "b=2; a=1"},
		{"novalue", "b=2; c={3}", "b=2; c={3}"},
	} {
		var got []string
		k := cookieKeeper{roundTripper(func(r *http.Request) (*http.Response, error) {
			got = append(got, r.Header.Get("Cookie"))
			return &http.Response{Header: http.Header{"Set-Cookie": {tt.field}}, Request: r}, nil
		}), newBoundedJar()}
		req, _ := http.NewRequest(http.MethodGet, "http://h.example/d/f", nil)
		if tt.user != "" {
			req.Header.Set("Cookie", tt.user)
		}
		for range 2 {
			if resp, _ := k.RoundTrip(req); resp.Request != req || req.Header.Get("Cookie") != tt.user {
				t.Errorf("%.40q: the request was changed", tt.field)
			}
		}
		if got[0] != tt.user || got[1] != tt.want {
			t.Errorf("%.40q: sent %.40q and %.40q, want %.40q in the end", tt.field, got[0], got[1], tt.want)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
