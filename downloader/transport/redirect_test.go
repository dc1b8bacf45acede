package transport

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"pawl/downloader/failure"
)

// TestRedirectOfRequest: a request may forbid a redirect, for good.
func TestRedirectOfRequest(t *testing.T) {
	no := errors.New("no")
	info := &RequestInfo{Redirect: func(to *url.URL) error {
		if to.Host == "h" {
			return nil
		}
		return no
	}}
	for to, want := range map[string]error{"http://h/b": nil, "http://o/b": no} {
		via, _ := http.NewRequest(http.MethodGet, "http://h/a", nil)
		req, _ := http.NewRequestWithContext(WithRequest(t.Context(), info), http.MethodGet, to, nil)
		err := Options{}.checkRedirect(req, []*http.Request{via})
		if !errors.Is(err, want) || failure.IsPermanent(err) != (want != nil) {
			t.Errorf("%s: got %v, want %v", to, err, want)
		}
	}
}

// TestCheckRedirect: secrets and the Referer stay within the origin, and redirects that must not
// be followed are permanent errors.
func TestCheckRedirect(t *testing.T) {
	secrets := []string{"Authorization", "Cookie", "Proxy-Authorization", "X-Token"}
	onlyHTTPS := Options{Follow: Follow{Schemes: []string{"https"}}}
	tests := []struct {
		name string
		path string // the URLs, in order
		opts Options
		err  error
		home bool // keeps the fields that are only for the origin
	}{
		{"same origin", "http://h/a http://h/b", Options{}, nil, true},
		{"other case", "http://h/a http://H/b", Options{}, nil, true},
		{"default port", "https://h/a https://h:443/b", Options{}, nil, true}, // RFC 6454 §4: the same origin
		{"other host", "http://h/a http://o/b", Options{}, nil, false},
		{"subdomain", "http://h/a http://sub.h/b", Options{}, nil, false},
		{"other port", "http://h/a http://h:81/b", Options{}, nil, false},
		{"to https", "http://h/a https://h/b", Options{}, nil, false},
		{"to https on the same port", "http://h:81/a https://h:81/b", Options{}, nil, false},
		{"to http", "https://h/a http://h/b", Options{}, failure.ErrTLS, false},
		{"to http in the end", "http://h/a https://h/b http://h/c", Options{}, failure.ErrTLS, false},
		{"to http, allowed", "https://h/a http://h/b", Options{Insecure: true}, nil, false},
		{"to http, allowed alone", "https://h/a http://h/b", Options{Follow: Follow{HTTP: true}}, nil, false},
		{"to http, which is not a scheme to follow", "https://h/a http://h/b", Options{Follow: Follow{HTTP: true, Schemes: []string{"https"}}}, failure.ErrScheme, false},
		{"to another scheme", "http://h/a ftp://h/b", Options{}, failure.ErrProtocol, false},
		{"to a scheme that is not allowed", "http://h/a http://h/b", onlyHTTPS, failure.ErrScheme, false},
		{"on from another host", "http://h/a http://o/b http://o/c", Options{}, nil, false},
		{"home again", "http://h/a http://o/b http://h/c", Options{}, nil, false},
		{"nineteen", strings.Repeat("http://h/a ", maxRedirects-1) + "http://h/b", Options{}, nil, true},
		{"twenty", strings.Repeat("http://h/a ", maxRedirects) + "http://h/b", Options{}, failure.ErrProtocol, false},
	}
	for _, tt := range tests {
		var via []*http.Request
		for _, u := range strings.Fields(tt.path) {
			req, err := http.NewRequest(http.MethodGet, u, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Range", "bytes=0-1")
			req.Header.Set("User-Agent", "pawl")
			req.Header.Set("Referer", "mine")
			for _, name := range secrets {
				req.Header.Set(name, "secret")
			}
			if len(via) > 0 { // as net/http does
				req.Response = &http.Response{Request: via[len(via)-1]}
			}
			via = append(via, req)
		}
		req := via[len(via)-1]
		req.Header.Set("Referer", "http://h/a?signature") // as net/http does
		err := tt.opts.checkRedirect(req, via[:len(via)-1])
		if !errors.Is(err, tt.err) || failure.IsPermanent(err) != (tt.err != nil) {
			t.Errorf("%s: got error %v (permanent %v), want %v", tt.name, err, failure.IsPermanent(err), tt.err)
		}
		if tt.err != nil {
			continue
		}
		if got := req.Header.Get("Referer"); got != "mine" {
			t.Errorf("%s: Referer: got %q, want the user's", tt.name, got)
		}
		via[0].Header.Del("Referer")
		req.Header.Set("Referer", "http://h/a?signature")
		if err := tt.opts.checkRedirect(req, via[:len(via)-1]); err != nil || req.Header.Get("Referer") != "" {
			t.Errorf("%s: no Referer of the user: got %q, %v", tt.name, req.Header.Get("Referer"), err)
		}
		for _, name := range secrets {
			if got := req.Header.Get(name) != ""; got != tt.home {
				t.Errorf("%s: %s kept: got %v, want %v", tt.name, name, got, tt.home)
			}
		}
		if req.Header.Get("Range") != "bytes=0-1" || req.Header.Get("User-Agent") != "pawl" {
			t.Errorf("%s: got header %v, want Range and User-Agent as they were", tt.name, req.Header)
		}
		if got := LeftOrigin(req); got == tt.home {
			t.Errorf("%s: left the origin: got %v", tt.name, got)
		}
	}
}
