package transport

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// TestRenewing: the transport is replaced after many requests that failed. A request under way
// then continues, and its connection, which becomes idle later, is closed with the others.
func TestRenewing(t *testing.T) {
	var open atomic.Int32
	goOn := make(chan struct{})
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		if r.URL.Path == "/held" {
			<-goOn
		}
	}))
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	srv.Start()
	defer srv.Close()
	waitFor := func(what string, n int32) {
		t.Helper()
		for range 1000 {
			if open.Load() == n {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Errorf("%s: %d connections are open, want %d", what, open.Load(), n)
	}
	r := newRenewing(new(http.Transport))
	before := r.transport()
	held, err := r.RoundTrip(newRequest(t, t.Context(), srv.URL+"/held"))
	if err != nil {
		t.Fatal(err)
	}
	idle, err := r.RoundTrip(newRequest(t, t.Context(), srv.URL))
	if err != nil {
		t.Fatal(err)
	}
	drain(idle)
	waitFor("before", 2)
	for range maxLeftBehind {
		if r.transport() != before {
			t.Fatal("it is replaced too early")
		}
		if _, err := r.RoundTrip(newRequest(t, t.Context(), "http://127.0.0.1:0/")); err == nil {
			t.Fatal("port 0 responds")
		}
	}
	if r.transport() == before {
		t.Error("it is not replaced")
	}
	waitFor("replaced", 1)
	if resp, err := before.RoundTrip(newRequest(t, t.Context(), srv.URL)); err != nil { // begins late, so that connections become idle again
		t.Error(err)
	} else {
		drain(resp)
	}
	close(goOn)
	drain(held)
	time.Sleep(50 * time.Millisecond)
	r.CloseIdleConnections()
	waitFor("closed", 0)
}
