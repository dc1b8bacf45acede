package transport

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pawl/downloader/faultserver"
	"pawl/downloader/recent"
)

// A streamServer is an https server that counts connections and concurrent requests.
type streamServer struct {
	*httptest.Server
	conns, peak atomic.Int32 // connections in all, most requests at once
	refuse      atomic.Bool  // further connections are closed
}

// newStreamServer starts a server that allows so many streams on a connection, or only HTTP/1.1
// if streams is 0. The client opens at most so many connections to it.
func newStreamServer(t *testing.T, streams, conns int, do http.HandlerFunc) (*streamServer, *http.Client, *h2Pool) {
	t.Helper()
	s := &streamServer{}
	var now atomic.Int32
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for old := s.peak.Load(); n > old && !s.peak.CompareAndSwap(old, n); old = s.peak.Load() {
		}
		do(w, r)
	}))
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateNew {
			if s.conns.Add(1); s.refuse.Load() {
				c.Close()
			}
		}
	}
	if streams > 0 {
		s.EnableHTTP2 = true
		s.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: streams}
	}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	network := faultserver.NewNetwork()
	s.Listener.Close()
	s.Listener = network.Listen()
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	p := newPool(t, &http.Transport{DialContext: network.Dial, TLSClientConfig: &tls.Config{RootCAs: roots}}, conns)
	return s, &http.Client{Transport: p, Timeout: 20 * time.Second}, p
}

// newPool returns an h2Pool of at most so many connections to an origin.
func newPool(t *testing.T, base *http.Transport, conns int) *h2Pool {
	base.Protocols = new(http.Protocols)
	base.Protocols.SetHTTP1(true)
	base.Protocols.SetHTTP2(true)
	base.IdleConnTimeout = cmp.Or(base.IdleConnTimeout, 90*time.Second)
	p := newH2Pool(base, func(string) int { return conns }, false)
	t.Cleanup(p.CloseIdleConnections)
	return p
}

// getMany sends n requests at once, and returns how many had a complete response.
func getMany(t *testing.T, c *http.Client, url string, n int) (good int) {
	t.Helper()
	var all sync.WaitGroup
	var ok atomic.Int32
	for range n {
		all.Go(func() {
			resp, err := c.Get(url)
			if err != nil {
				return
			}
			defer resp.Body.Close()
			if _, err := io.Copy(io.Discard, resp.Body); err == nil && resp.StatusCode == http.StatusOK {
				ok.Add(1)
			}
		})
	}
	all.Wait()
	return int(ok.Load())
}

func pauseThenOK(w http.ResponseWriter, r *http.Request) {
	time.Sleep(20 * time.Millisecond)
	io.WriteString(w, "ok")
}

// TestH2PoolLimits: requests use as many streams as the server allows, on as few connections as
// possible.
func TestH2PoolLimits(t *testing.T) {
	tests := []struct {
		name                    string
		streams, max, n         int
		conns, minPeak, maxPeak int32
	}{
		{"room on one connection", 100, 16, 80, 1, 80, 80},
		{"three connections", 10, 16, 30, 3, 25, 30},
		{"no more than there may be", 10, 2, 60, 2, 15, 20},
		{"one stream each", 1, 4, 20, 4, 3, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s, c, _ := newStreamServer(t, tt.streams, tt.max, pauseThenOK)
				for range 5 {
					if good := getMany(t, c, s.URL, tt.n); good != tt.n {
						t.Errorf("%d of %d requests had responses", good, tt.n)
					}
				}
				if got := s.conns.Load(); got != tt.conns {
					t.Errorf("got %d connections, want %d", got, tt.conns)
				}
				if got := s.peak.Load(); got < tt.minPeak || got > tt.maxPeak {
					t.Errorf("got %d requests at once, want %d to %d", got, tt.minPeak, tt.maxPeak)
				}
			})
		})
	}
}

// TestH2PoolReserves: a request that has been given a connection takes a stream of its limit
// before it is sent.
func TestH2PoolReserves(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, c, p := newStreamServer(t, 2, 1, pauseThenOK)
		getMany(t, c, s.URL, 1)
		u, _ := url.Parse(s.URL)
		o := p.origin(u)
		one, ok1 := o.reserve()
		two, ok2 := o.reserve()
		if _, ok := o.reserve(); !ok1 || !ok2 || ok {
			t.Fatalf("got %v, %v, %v, want two of three", ok1, ok2, ok)
		}
		for _, conn := range []*h2Conn{one, two} {
			resp, err := o.send(conn, newRequest(t, t.Context(), s.URL))
			if err != nil {
				t.Fatal(err)
			}
			drain(resp)
			o.finished(conn, resp)
		}
		if good := getMany(t, c, s.URL, 10); good != 10 {
			t.Errorf("then %d of 10 requests had responses", good)
		}
	})
}

// TestH2PoolHTTP1: a server without HTTP/2 gets a connection for each request.
func TestH2PoolHTTP1(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, c, _ := newStreamServer(t, 0, 2, pauseThenOK)
		if good := getMany(t, c, s.URL, 10); good != 10 {
			t.Errorf("%d of 10 requests had responses", good)
		}
		if got := s.peak.Load(); got < 5 {
			t.Errorf("got %d requests at once, want nearly 10", got)
		}
	})
}

// TestH2PoolGoAway: the server ends each connection after 100 requests. The waiting requests
// move to another connection, which is dialed once for all of them.
func TestH2PoolGoAway(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var n atomic.Int32
		s, c, _ := newStreamServer(t, 100, 16, func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1)%100 == 0 {
				w.Header().Set("Connection", "close")
			}
			pauseThenOK(w, r)
		})
		for range 20 {
			if good := getMany(t, c, s.URL, 50); good != 50 {
				t.Fatalf("%d of 50 requests had responses", good)
			}
		}
		if got := s.conns.Load(); got < 5 || got > 15 {
			t.Errorf("got %d connections, want about 11", got)
		}
	})
}

// TestH2PoolBroken: requests without a response are sent again when their connection breaks.
func TestH2PoolBroken(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var n atomic.Int32
		var s *streamServer
		s, c, _ := newStreamServer(t, 100, 16, func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) == 30 {
				s.CloseClientConnections()
			}
			pauseThenOK(w, r)
		})
		if good := getMany(t, c, s.URL, 60); good != 60 {
			t.Errorf("%d of 60 requests had responses", good)
		}
	})
}

// TestH2PoolRefused: if the server refuses further connections, requests use the existing ones,
// and none fails.
func TestH2PoolRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, c, _ := newStreamServer(t, 5, 16, pauseThenOK)
		getMany(t, c, s.URL, 1)
		s.refuse.Store(true)
		for range 5 {
			if good := getMany(t, c, s.URL, 30); good != 30 {
				t.Errorf("%d of 30 requests had responses", good)
			}
		}
		if got := s.conns.Load(); got != 2 {
			t.Errorf("got %d connections, want one, and one try of a second", got)
		}
	})
}

// TestH2PoolDown: all requests that wait for a server that is down fail soon.
func TestH2PoolDown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s, c, p := newStreamServer(t, 5, 16, pauseThenOK)
		s.Close()
		begun := time.Now()
		if good := getMany(t, c, s.URL, 30); good != 0 {
			t.Errorf("%d of 30 requests had responses", good)
		}
		if took := time.Since(begun); took > c.Timeout/2 {
			t.Errorf("it took %v", took)
		}
		wantNoWaiters(t, p)
	})
}

// wantNoWaiters checks that no ended request is left in a queue.
func wantNoWaiters(t *testing.T, p *h2Pool) {
	t.Helper()
	for o := range p.origins.All() {
		if !o.waiters.isEmpty() {
			t.Error("a request waits")
		}
	}
}

// TestH2PoolCancelled: a cancelled request takes no other request's turn, and no stream.
func TestH2PoolCancelled(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		hold := make(chan struct{})
		s, c, p := newStreamServer(t, 2, 1, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/hold" {
				<-hold
			}
		})
		getMany(t, c, s.URL, 1)
		var held sync.WaitGroup
		for range 2 {
			held.Go(func() { getMany(t, c, s.URL+"/hold", 1) })
		}
		for s.peak.Load() < 2 {
			time.Sleep(time.Millisecond)
		}
		errGaveUp := errors.New("gave up")
		for range 100 {
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errGaveUp)
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
			if _, err := p.RoundTrip(req); !errors.Is(err, errGaveUp) {
				t.Errorf("got %v, want %v", err, errGaveUp)
			}
			cancel()
		}
		close(hold)
		held.Wait()
		if good := getMany(t, c, s.URL, 20); good != 20 {
			t.Errorf("%d of 20 requests had responses", good)
		}
		if n := s.conns.Load(); n != 1 {
			t.Errorf("got %d connections, want 1", n)
		}
		wantNoWaiters(t, p)
	})
}

// TestWaitListRemove: a caller that is woken and no longer waits wakes the next one.
func TestWaitListRemove(t *testing.T) {
	var l waitList
	first, second := l.add(), l.add()
	l.wake(1, nil)
	l.remove(first)
	select {
	case <-second:
	default:
		t.Error("the next one is not woken")
	}
}

// TestH2PoolSlow: a first response that takes long, or never arrives, does not delay other
// requests for long.
func TestH2PoolSlow(t *testing.T) {
	t.Run("slow", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			var n atomic.Int32
			hold := make(chan struct{})
			s, c, _ := newStreamServer(t, 100, 16, func(w http.ResponseWriter, r *http.Request) {
				if n.Add(1) == 1 {
					<-hold
				}
			})
			var all sync.WaitGroup
			all.Go(func() { getMany(t, c, s.URL, 1) })
			for n.Load() == 0 {
				time.Sleep(time.Millisecond)
			}
			if good := getMany(t, c, s.URL, 20); good != 20 { // else it takes until the client's timeout
				t.Errorf("%d of 20 requests had responses", good)
			}
			close(hold)
			all.Wait()
		})
	})
	t.Run("silent", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			hold := make(chan struct{})
			s, c, _ := newStreamServer(t, 100, 16, func(w http.ResponseWriter, r *http.Request) { <-hold })
			c.Timeout = time.Second
			begun := time.Now()
			getMany(t, c, s.URL, 10)
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("10 requests took %v, one after the other", took)
			}
			close(hold)
		})
	})
}

// TestH2PoolProxy: the function that chooses the proxy gets the same URL as from net/http.
func TestH2PoolProxy(t *testing.T) {
	for _, raw := range []string{"https://example.invalid:8443/x", "https://[::1]:8443/x", "https://[::1]/x"} {
		var seen []string
		errSeen := errors.New("seen")
		plain := &http.Transport{Proxy: func(r *http.Request) (*url.URL, error) {
			seen = append(seen, r.URL.Host)
			return nil, errSeen
		}}
		for _, rt := range []http.RoundTripper{plain, newPool(t, plain.Clone(), 5)} {
			req, _ := http.NewRequest(http.MethodGet, raw, nil)
			if _, err := rt.RoundTrip(req); !errors.Is(err, errSeen) {
				t.Errorf("%s: got %v, want %v", raw, err, errSeen)
			}
		}
		if len(seen) != 2 || seen[0] != seen[1] {
			t.Errorf("%s: got %q", raw, seen)
		}
	}
}

// TestH2PoolEndedDial: a dial that was ended because nobody waited for it is dialed again for a
// request that came meanwhile, and does not fail it.
func TestH2PoolEndedDial(t *testing.T) {
	gate, errAgain := make(chan struct{}), errors.New("dialed again")
	var dials atomic.Int32
	o := &h2Origin{max: 16, connect: func(ctx context.Context) (*h2Conn, error) {
		if dials.Add(1) > 1 {
			return nil, errAgain
		}
		<-ctx.Done()
		<-gate
		return nil, ctx.Err()
	}}
	o.dial()
	o.closeIdle()
	got := make(chan error, 1)
	go func() { _, err := o.acquire(t.Context()); got <- err }()
	for o.waiters.isEmpty() {
		time.Sleep(time.Millisecond)
	}
	close(gate)
	if err := <-got; !errors.Is(err, errAgain) {
		t.Errorf("got %v, want %v", err, errAgain)
	}
}

// TestH2PoolMissed: net/http does not report a stream that begins and ends while it reports
// another one. A request that waits for it looks again after streamPollInterval.
func TestH2PoolMissed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		goOn := make(chan struct{})
		s, c, p := newStreamServer(t, 1, 1, func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			if r.URL.Path == "/held" {
				<-goOn
			}
		})
		getMany(t, c, s.URL, 1)
		u, _ := url.Parse(s.URL)
		o := p.origin(u)
		o.conns[0].SetStateHook(nil) // nothing is reported
		time.Sleep(2 * probeTime)    // nor does the end of the probe wake anybody
		resp, err := c.Get(s.URL + "/held")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		go func() {
			for o.waiters.isEmpty() {
				time.Sleep(time.Millisecond)
			}
			close(goOn)
		}()
		if getMany(t, c, s.URL, 1) != 1 {
			t.Error("the request waits for ever")
		}
	})
}

// TestH2PoolForgets: origins without connections are not all remembered.
func TestH2PoolForgets(t *testing.T) {
	p := newPool(t, &http.Transport{}, 2)
	for i := range 50 * recent.MaxIdle {
		p.origin(&url.URL{Scheme: "https", Host: fmt.Sprintf("h%d:443", i)})
	}
	if n := p.origins.Len(); n > 2*recent.MaxIdle {
		t.Errorf("%d origins are remembered", n)
	}
}

// TestH2PoolManyHosts: of the connections to many hosts few stay open, and no origin whose
// connections have ended is kept.
func TestH2PoolManyHosts(t *testing.T) {
	t.Parallel()
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
	p := newPool(t, &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.Listener.Addr().String())
		},
	}, 4)
	wantOpen := func(max int) {
		t.Helper()
		for range 1000 {
			if int(open.Load()) <= max {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Errorf("%d connections are open, want at most %d", open.Load(), max)
	}
	for i := range 2*maxIdleConns + 10 {
		resp, err := p.RoundTrip(newRequest(t, t.Context(), fmt.Sprintf("https://h%d.example/", i)))
		if err != nil {
			t.Fatal(err)
		}
		drain(resp)
	}
	wantOpen(2 * maxIdleConns)
	p.CloseIdleConnections()
	wantOpen(0)
	for o := range p.origins.All() {
		if !o.isIdle() {
			t.Fatal("an origin would not be forgotten")
		}
	}
}
