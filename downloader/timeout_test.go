package downloader

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pawl/downloader/faultserver"
	"pawl/downloader/sched"
	"pawl/downloader/transport"
	"pawl/store"
)

// newCuttingServer returns a server in n of a 4 MiB file. It closes each connection after a quarter of
// the file. From the second request on, it calls later first, which may respond itself and then
// returns true.
func newCuttingServer(n *faultserver.Network, later func(http.ResponseWriter) (responded bool)) *httptest.Server {
	const size = 4 << 20
	var requests atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) > 1 && later(w) {
			return
		}
		from, to := 0, size-1
		fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to)
		w.Header().Set("ETag", `"a"`)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, size))
		w.Header().Set("Content-Length", fmt.Sprint(to-from+1))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(make([]byte, min(to-from+1, size/4)))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	s.Listener.Close()
	s.Listener = n.Listen()
	return s
}

// getOverOneConn downloads the file of s over one connection.
func getOverOneConn(t *testing.T, s *httptest.Server, o Options) error {
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o.Connections = 1
	d := New(st, o)
	defer d.Close()
	_, err = d.Get(t.Context(), Request{URL: s.URL + "/f", Into: File{Dir: t.TempDir()}})
	return err
}

// The backoff before the next try does not count as a late response: the download waits for all
// of it.
func TestBackoffIsNotOverdue(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := faultserver.NewNetwork()
		s := newCuttingServer(n, func(w http.ResponseWriter) bool { http.Error(w, "down", http.StatusServiceUnavailable); return true })
		s.Start()
		defer s.Close()
		began, waits := time.Now(), time.Duration(0)
		err := getOverOneConn(t, s, Options{Dial: n.Dial, Retry: RetryPolicy{Tries: 4}, OnEvent: func(e Event) {
			if e.Kind == Retrying {
				waits += e.Retry.Wait
			}
		}})
		if took := time.Since(began); err == nil || waits < time.Second || took < waits {
			t.Errorf("got error %v after %v, want one after at least the backoff of %v, which must be 1s or more", err, took, waits)
		}
	})
}

// The time to open a connection does not count as a late response.
func TestConnectIsNotOverdue(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := faultserver.NewNetwork()
		s := newCuttingServer(n, func(http.ResponseWriter) bool { return false })
		l := &slowListener{Listener: s.Listener}
		s.Listener = l
		s.StartTLS()
		defer s.Close()
		err := getOverOneConn(t, s, Options{Dial: n.Dial, TLS: TLSOptions{Insecure: true}})
		if err != nil || l.n.Load() > 5 {
			t.Errorf("got %d connections, error %v, want at most 5 connections for 4 requests", l.n.Load(), err)
		}
	})
}

// A slowListener counts its connections, and delays the TLS handshake of each one by 700 ms.
type slowListener struct {
	net.Listener
	n atomic.Int32 // accepted connections
}

func (l *slowListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	l.n.Add(1)
	return &slowConn{Conn: c}, err
}

type slowConn struct {
	net.Conn
	once sync.Once
}

func (c *slowConn) Read(b []byte) (int, error) {
	c.once.Do(func() { time.Sleep(700 * time.Millisecond) })
	return c.Conn.Read(b)
}

// newRateLimited returns a Downloader with a request rate, in requests per second, and its
// client. Each request waits for its turn, and then fails with errScripted before it connects.
func newRateLimited(rate float64) (*Downloader, *http.Client) {
	d := New(nil, Options{Timeouts: Timeouts{Stall: time.Second}, RequestRate: rate, Proxy: func(*http.Request) (*url.URL, error) { return nil, errScripted }})
	return d, d.transport.Client(false)
}

// While a request waits for its turn under Options.RequestRate, neither the transport nor the
// scheduler takes the server for silent. Once the request is sent, the scheduler does.
func TestRequestRateIsNotSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, hc := newRateLimited(0.1)
		_, conns, stops := newTestTransfer(t, d, 2*mB, 2, time.Now())
		conns[0].Requesting(func(r sched.Reason) { stops[0] = r }, time.Now())
		tick := func(now time.Time) {
			conns[1].Received(1, now) // the other connection receives bytes
			conns[0].t.sched.Tick(now, sched.Limit{}, func(*sched.Conn) {})
		}
		var calls atomic.Int64
		ctx := transport.WithRequest(t.Context(), &transport.RequestInfo{OnQueued: func(waits bool) {
			calls.Add(1)
			conns[0].Queued(waits, time.Now())
		}})
		for i := range 3 {
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://h/f", nil)
				if _, err := hc.Do(req); !errors.Is(err, errScripted) {
					t.Errorf("request %d: got error %v, want %v", i, err, errScripted)
				}
			}()
			for waits := true; waits; {
				select {
				case <-ended:
					waits = false
				case <-time.After(time.Second):
					if tick(time.Now()); stops[0] != 0 {
						t.Errorf("request %d: stopped as %v while it waited for its turn", i, stops[0])
					}
				}
			}
		}
		if calls.Load() != 6 {
			t.Errorf("got %d calls of OnQueued, want 6: two for each request", calls.Load())
		}
		if tick(time.Now().Add(6 * time.Second)); stops[0] != sched.Overdue {
			t.Errorf("request without a response for 6s: stopped as %v, want %v", stops[0], sched.Overdue)
		}
	})
}

// An exchange reports to the scheduler that its request waits for its turn, so that the request
// is not overdue.
func TestRequestRateIsNotOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, hc := newRateLimited(0.01)
		hc.Get("http://h/f") // the next request must wait for 100 s
		j, conns, _ := newTestTransfer(t, d, 2*mB, 2, time.Now())
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		to := j.target(destination{url: j.origin.url})
		to.judge = func(resp *http.Response, err error) (verdict, error) { return j.judge(conns[0], resp, err) }
		var sending sync.WaitGroup
		sending.Go(func() {
			if _, err := send(ctx, j.download, to, conns[0], conns[0].Remaining()); err != errScripted {
				t.Errorf("got error %v, want %v", err, errScripted)
			}
		})
		for range 30 {
			time.Sleep(time.Second)
			conns[1].Received(1, time.Now()) // the other connection receives bytes
			conns[0].t.sched.Tick(time.Now(), sched.Limit{}, func(*sched.Conn) {})
		}
		cancel(errScripted)
		sending.Wait()
	})
}
