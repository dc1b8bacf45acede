package downloader

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"pawl/downloader/failure"
	"pawl/store"
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
			err := failure.Explain(get(client, true))
			if !errors.Is(err, failure.ErrPrivate) || !errors.Is(err, failure.ErrProtocol) || !failure.IsPermanent(err) || asked.Load() != 1 {
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
			if (err == nil) != tt.want || asked.Load() == 1 != tt.want || !tt.want && !errors.Is(err, failure.ErrPrivate) {
				t.Errorf("%s, public %v: got %v, %d requests", tt.url, tt.public, err, asked.Load())
			}
		}
	}
}

// TestPrivateNotAsked: a file of which nothing was asked in this run is not known to be from
// a private address.
func TestPrivateNotAsked(t *testing.T) {
	r := newRig(t)
	target := filepath.Join(r.dir, "list")
	p, err := r.store.Create(store.Record{URL: "http://203.0.113.1/list", Target: target, Size: 4, ETag: `"a"`})
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.WriteAt([]byte("list"), 0)
	if err := errors.Join(err, p.Commit(0), p.Close()); err != nil {
		t.Fatal(err)
	}
	res, err := r.get(t.Context(), "", func(req *Request) { req.URL, req.Output = "http://203.0.113.1/list", "list" })
	if err != nil || res.Private {
		t.Errorf("got %+v, %v, want it not to be private", res, err)
	}
}

// TestTooLargeCountsOnce: held bytes that are sent again, because the server sends the file
// from its start, do not count twice.
func TestTooLargeCountsOnce(t *testing.T) {
	r := newRig(t)
	body := bytes.Repeat([]byte("0123456789abcdef"), 7<<16)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"a"`)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Write(body)
	}))
	defer srv.Close()
	p, err := r.store.Create(store.Record{URL: srv.URL + "/f", Target: filepath.Join(r.dir, "f"), Size: 7 << 20, ETag: `"a"`})
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.WriteAt(body[:1<<20], 0)
	_, err2 := p.WriteAt(body[2<<20:], 2<<20)
	if err := errors.Join(err, err2, p.Commit(0), p.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = r.get(t.Context(), "", func(req *Request) { req.URL, req.MaxSize = srv.URL+"/f", 8<<20 })
	if got, readErr := os.ReadFile(filepath.Join(r.dir, "f")); err != nil || readErr != nil || !bytes.Equal(got, body) {
		t.Errorf("got %v, %v", err, readErr)
	}
}
