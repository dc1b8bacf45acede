package transport

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"pawl/downloader/failure"
)

// TestIsPrivate: the addresses that a public source must not name, in all their forms.
func TestIsPrivate(t *testing.T) {
	for text, want := range map[string]bool{
		"127.0.0.1": true, "127.255.0.1": true, "10.1.2.3": true, "172.16.0.1": true, "172.31.255.255": true, "192.168.1.1": true,
		"169.254.169.254": true, "100.64.0.1": true, "100.127.255.255": true, "0.0.0.0": true, "0.1.2.3": true, "224.0.0.1": true,
		"255.255.255.255": true, "240.0.0.1": true, "198.18.0.1": true, "192.0.0.8": true,
		"::": true, "::1": true, "fe80::1": true, "fe80::1%eth0": true, "fc00::1": true, "fd12::1": true, "ff02::1": true, "fec0::1": true,
		"::ffff:127.0.0.1": true, "::ffff:10.0.0.1": true, "::127.0.0.1": true,
		"64:ff9b::127.0.0.1": true, "64:ff9b::a9fe:a9fe": true, "64:ff9b:1::1": true, "2002:7f00:1::1": true, "2002:c0a8:101::": true,
		"2001:0:1:2:3:4:80ff:fffe": true, // Teredo of 127.0.0.1
		"203.0.113.1":              false, "8.8.8.8": false, "172.32.0.1": false, "100.128.0.1": false, "192.1.2.3": false,
		"2606:4700::1": false, "::ffff:8.8.8.8": false, "64:ff9b::8.8.8.8": false, "2002:808:808::1": false, "2001:db8::1": false,
	} {
		if got := isPrivate(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: got %v", text, got)
		}
		if got := isPrivateHost(text); got != want {
			t.Errorf("host %s: got %v", text, got)
		}
	}
	if !isPrivate(netip.Addr{}) {
		t.Error("the invalid address is public")
	}
	for host, want := range map[string]bool{
		"localhost": true, "a.LOCALHOST.": true, "127.1": true, "2130706433": true, "0x7f000001": true, "0177.0.0.1": true, "127.0.0.1.": true, "08": true,
		"example.com": false, "127.0.0.1.example.com": false, "a1": false, "x0x1": false,
	} {
		if got := isPrivateHost(host); got != want {
			t.Errorf("host %s: got %v", host, got)
		}
	}
}

// TestGuardNames: a name that leads to a private address is followed if the user typed it, but
// not if a public source has named it, whatever connections are open already.
func TestGuardNames(t *testing.T) {
	var requests atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { requests.Add(1) }))
	defer srv.Close()
	nameEverything(t)
	tr := newTestTransport(t, Options{})
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	get := func(c *http.Client, public bool) error {
		info := &RequestInfo{Public: public}
		resp, err := c.Do(newRequest(t, WithRequest(t.Context(), info), "http://files.example:"+port+"/"))
		if err == nil {
			resp.Body.Close()
			if !info.Private() {
				t.Error("the address is not known to be private")
			}
		}
		if info.Restricted() != public {
			t.Errorf("public %v: got restricted %v", public, info.Restricted())
		}
		return err
	}
	for _, streams := range []bool{false, true} {
		for range 2 {
			requests.Store(0)
			if err := get(tr.Client(streams), false); err != nil {
				t.Error(err)
			}
			err := failure.Explain(get(tr.Client(streams), true))
			if !errors.Is(err, failure.ErrPrivate) || !errors.Is(err, failure.ErrProtocol) || !failure.IsPermanent(err) || requests.Load() != 1 {
				t.Errorf("named by a public source: got %v after %d requests", err, requests.Load())
			}
			if want := "127.0.0.1:" + port + " is a private address"; err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		}
	}
}

// TestGuardProxy: a proxy may have any address, but private addresses behind it are refused.
func TestGuardProxy(t *testing.T) {
	var requests atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { requests.Add(1) }))
	defer proxy.Close()
	at, _ := url.Parse(proxy.URL)
	tr := newTestTransport(t, Options{Proxy: http.ProxyURL(at)})
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
		for _, streams := range []bool{false, true} {
			requests.Store(0)
			resp, err := tr.Client(streams).Do(newRequest(t, WithRequest(t.Context(), &RequestInfo{Public: tt.public}), tt.url))
			if err == nil {
				resp.Body.Close()
			}
			if (err == nil) != tt.want || requests.Load() == 1 != tt.want || !tt.want && !errors.Is(err, failure.ErrPrivate) {
				t.Errorf("%s, public %v: got %v, %d requests", tt.url, tt.public, err, requests.Load())
			}
		}
	}
}

// TestGuardRedirects: a public server must not redirect to a private address, but a private
// server may.
func TestGuardRedirects(t *testing.T) {
	// A proxy stands for all servers, so that they can have public names.
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
		}
	}))
	defer proxy.Close()
	at, _ := url.Parse(proxy.URL)
	for _, tt := range []struct {
		name, url          string
		public, allow      bool
		want, isRestricted bool
	}{
		{"public to private", "http://files.example/?to=http://10.0.0.1/", false, false, false, true},
		{"public to private, allowed", "http://files.example/?to=http://10.0.0.1/", false, true, true, false},
		{"private to private", "http://10.0.0.1/?to=http://10.0.0.2/", false, false, true, false},
		{"public to public", "http://files.example/?to=http://other.example/", false, false, true, true},
		{"public within its origin", "http://files.example/?to=/f", false, false, true, false},
		{"named by a public source", "http://files.example/?to=/f", true, false, true, true},
	} {
		tr := newTestTransport(t, Options{Proxy: http.ProxyURL(at), Follow: Follow{Private: tt.allow}})
		info := &RequestInfo{Public: tt.public}
		resp, err := tr.Client(false).Do(newRequest(t, WithRequest(t.Context(), info), tt.url))
		if err == nil {
			resp.Body.Close()
		}
		if (err == nil) != tt.want || info.Restricted() != tt.isRestricted || !tt.want && !errors.Is(err, failure.ErrPrivate) {
			t.Errorf("%s: got %v, restricted %v", tt.name, err, info.Restricted())
		}
	}
}
