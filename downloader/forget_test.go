package downloader

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"pawl/downloader/hosts"
	"sync/atomic"
	"testing"
	"time"
)

// Hosts with nothing under way are forgotten when there are many, and no others.
func TestForgetHosts(t *testing.T) {
	d := New(nil, Options{})
	at := func(name string) *hosts.Host { return d.host(&url.URL{Scheme: "http", Host: name}) }
	used, paused, refusing, recent := at("used"), at("paused"), at("refusing"), at("recent")
	used.Adopt()
	paused.PauseUntil(time.Now().Add(time.Hour))
	refusing.Adopt()
	refusing.Refused(time.Now())
	refusing.Release()
	for i := range 100_000 {
		at(fmt.Sprint("idle", i))
		at("recent")
	}
	for name, h := range map[string]*hosts.Host{"used": used, "paused": paused, "refusing": refusing, "recent": recent} {
		if at(name) != h {
			t.Errorf("%s was forgotten", name)
		}
	}
	if n := len(d.hosts.known); n > 2*mostIdle+10 {
		t.Errorf("%d hosts are remembered", n)
	}
}

// Names, turns and trunks of many hosts are forgotten, too.
func TestForgetNames(t *testing.T) {
	var d dialer
	turns := newTurns(1000)
	m := newMultiplexer(&http.Transport{}, 2)
	for i := range 50_000 {
		name := fmt.Sprintf("h%d:443", i)
		d.remember(name, "127.0.0.1:443", time.Now())
		d.noteResolved(name)
		turns.of(&url.URL{Host: name})
		m.of(&url.URL{Scheme: "https", Host: name})
	}
	if len(d.known) > mostNames+1 || len(d.resolved) > mostNames+1 {
		t.Errorf("%d and %d names are remembered", len(d.known), len(d.resolved))
	}
	if n := len(turns.hosts.known); n > 2*mostIdle {
		t.Errorf("%d turns are remembered", n)
	}
	if n := len(m.trunks.known); n > 2*mostIdle {
		t.Errorf("%d trunks are remembered", n)
	}
}

// Of many hosts over HTTP/2 few connections stay, and no host whose connections have ended.
func TestForgetConnected(t *testing.T) {
	var open atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.EnableHTTP2 = true
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	s.StartTLS()
	defer s.Close()
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	m := newMultiplexer(&http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: &protocols,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
		},
	}, 4)
	c := &http.Client{Transport: m}
	few := func(most int) {
		t.Helper()
		for range 1000 {
			if int(open.Load()) <= most {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Errorf("%d connections are open, want at most %d", open.Load(), most)
	}
	for i := range 3 * idleMost {
		resp, err := c.Get(fmt.Sprintf("https://h%d.example/", i))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	few(2 * idleMost)
	m.CloseIdleConnections()
	few(0)
	for origin, known := range m.trunks.known {
		if !known.value.idle() {
			t.Fatalf("%s would not be forgotten", origin)
		}
	}
}
