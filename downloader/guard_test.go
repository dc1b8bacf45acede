package downloader

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// TestGuardNames: a name that leads to a private address is followed if the user typed it,
// and not if a public source has named it, whatever connections there are already.
func TestGuardNames(t *testing.T) {
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked.Add(1) }))
	defer srv.Close()
	d := New(nil, Options{})
	defer d.Close()
	d.dialer.Resolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go answerDNS(theirs)
		return ours, nil
	}}
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	get := func(client *http.Client, public bool) error {
		within := &reach{public: public}
		req, err := http.NewRequestWithContext(context.WithValue(t.Context(), reachKey{}, within), http.MethodGet, "http://files.example:"+port+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
			if !within.private {
				t.Error("the address is not known to be private")
			}
		}
		return err
	}
	for _, client := range []*http.Client{d.http, d.http2} {
		for range 2 {
			asked.Store(0)
			if err := get(client, false); err != nil {
				t.Error(err)
			}
			err := explain(get(client, true))
			if !errors.Is(err, ErrPrivate) || !errors.Is(err, ErrProtocol) || !isPermanent(err) || asked.Load() != 1 {
				t.Errorf("named by a public source: got %v after %d requests", err, asked.Load())
			}
			if want := "127.0.0.1:" + port + " is a private address"; err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		}
	}
}

// TestGuardProxy: a proxy may have any address; literal private addresses behind it are refused.
func TestGuardProxy(t *testing.T) {
	var asked atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked.Add(1) }))
	defer proxy.Close()
	at, _ := url.Parse(proxy.URL)
	d := New(nil, Options{Proxy: http.ProxyURL(at)})
	defer d.Close()
	for _, tt := range []struct {
		url    string
		public bool
		want   bool
	}{
		{"http://files.example/", true, true},
		{"http://203.0.113.9/", true, true},
		{"http://127.0.0.1/", true, false},
		{"http://[::1]/", true, false},
		{"http://127.1/", true, false},
		{"http://localhost/", true, false},
		{"http://127.0.0.1/", false, true},
	} {
		for _, client := range []*http.Client{d.http, d.http2} {
			asked.Store(0)
			req, err := http.NewRequestWithContext(context.WithValue(t.Context(), reachKey{}, &reach{public: tt.public}), http.MethodGet, tt.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(req)
			if err == nil {
				resp.Body.Close()
			}
			if (err == nil) != tt.want || asked.Load() == 1 != tt.want || !tt.want && !errors.Is(err, ErrPrivate) {
				t.Errorf("%s, public %v: got %v, %d requests", tt.url, tt.public, err, asked.Load())
			}
		}
	}
}
