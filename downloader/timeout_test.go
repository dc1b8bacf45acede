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

	"pawl/downloader/sched"
	"pawl/downloader/transport"
	"pawl/store"
)

// brokenServer returns a server of a file that ends its connection after each quarter
// of it, and does what later says from the second request on.
func brokenServer(later func(http.ResponseWriter) (done bool)) *httptest.Server {
	const size = 4 << 20
	var n atomic.Int32
	return httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) > 1 && later(w) {
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
}

// getOverdue gets the file of s over one connection.
func getOverdue(t *testing.T, s *httptest.Server, o Options) error {
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o.Connections = 1
	d := New(st, o)
	defer d.Close()
	_, err = d.Get(t.Context(), Request{URL: s.URL + "/f", Dir: t.TempDir()})
	return err
}

// TestOverdueBackoff: the wait for the next try is not one for an answer.
func TestOverdueBackoff(t *testing.T) {
	s := brokenServer(func(w http.ResponseWriter) bool { http.Error(w, "down", http.StatusServiceUnavailable); return true })
	s.Start()
	defer s.Close()
	begun, waits := time.Now(), time.Duration(0)
	err := getOverdue(t, s, Options{Tries: 4, RetryWait: 400 * time.Millisecond, OnEvent: func(e Event) {
		if e.Kind == Retrying {
			waits += e.Wait
		}
	}})
	if took := time.Since(begun); err == nil || waits < time.Second || took < waits {
		t.Errorf("gave up after %v (%v), where the waits are of %v", took, err, waits)
	}
}

// TestOverdueConnect: nor is the time that a connection takes to be there.
func TestOverdueConnect(t *testing.T) {
	s := brokenServer(func(http.ResponseWriter) bool { return false })
	l := &slowListener{Listener: s.Listener}
	s.Listener = l
	s.StartTLS()
	defer s.Close()
	if err := getOverdue(t, s, Options{Insecure: true}); err != nil || l.n.Load() > 5 {
		t.Errorf("%d connections for 4 requests; %v", l.n.Load(), err)
	}
}

// A slowListener has connections that take long until TLS.
type slowListener struct {
	net.Listener
	n atomic.Int32
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

// newRateLimited returns the client of a Downloader with a request rate. Each of its requests
// waits for the rate, and then fails with errScripted.
func newRateLimited(rate float64) (*Downloader, *http.Client) {
	d := New(nil, Options{StallTimeout: time.Second, RequestRate: rate, Proxy: func(*http.Request) (*url.URL, error) { return nil, errScripted }})
	return d, d.transport.Client(false)
}

// TestTurnsNoStall: the wait for a turn is no silence of the server's, neither to
// the transport nor to the pool.
func TestTurnsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, hc := newRateLimited(0.1)
		_, ws, stops := transferring(t, d, 2*mB, 2, time.Now())
		ws[0].Requesting(func(r sched.Reason) { stops[0] = r }, time.Now())
		tick := func(now time.Time) {
			ws[1].Received(1, now) // the other connection moves
			ws[0].t.sched.Tick(now, sched.Limit{}, func(*sched.Conn) {})
		}
		var calls atomic.Int64
		ctx := transport.WithRequest(t.Context(), &transport.RequestInfo{OnQueued: func(waits bool) {
			calls.Add(1)
			ws[0].Queued(waits, time.Now())
		}})
		for i := range 3 {
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://h/f", nil)
				if _, err := hc.Do(req); !errors.Is(err, errScripted) {
					t.Errorf("request %d: got %v", i, err)
				}
			}()
			for waits := true; waits; {
				select {
				case <-ended:
					waits = false
				case <-time.After(time.Second):
					if tick(time.Now()); stops[0] != 0 {
						t.Errorf("request %d was stopped while it waited: %v", i, stops[0])
					}
				}
			}
		}
		if calls.Load() != 6 {
			t.Errorf("the pool was told %d times, want 6", calls.Load())
		}
		if tick(time.Now().Add(6 * time.Second)); stops[0] != sched.Overdue {
			t.Errorf("a request that was sent and has no response: got %v, want %v", stops[0], sched.Overdue)
		}
	})
}

// TestTurnsTold: the scheduler learns that a request waits for its turn, and does not take
// that for a server that sends no response.
func TestTurnsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, hc := newRateLimited(0.01)
		hc.Get("http://h/f") // the next request must wait for 100 s
		j, ws, _ := transferring(t, d, 2*mB, 2, time.Now())
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		to := j.target(destination{url: j.origin.url})
		to.judge = func(resp *http.Response, err error) (verdict, error) { return j.judge(ws[0], resp, err) }
		var asking sync.WaitGroup
		asking.Go(func() {
			if _, err := send(ctx, j.download, to, ws[0], ws[0].Remaining()); err != errScripted {
				t.Errorf("got error %v, want %v", err, errScripted)
			}
		})
		for range 30 {
			time.Sleep(time.Second)
			ws[1].Received(1, time.Now()) // the other connection moves
			ws[0].t.sched.Tick(time.Now(), sched.Limit{}, func(*sched.Conn) {})
		}
		cancel(errScripted)
		asking.Wait()
	})
}
