package downloader

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
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
)

// A streamServer is an https server that counts connections and requests.
type streamServer struct {
	*httptest.Server
	conns, most atomic.Int32 // connections in all, requests at once
	refuse      atomic.Bool  // further connections are closed
}

// newStreamServer starts a server with so many streams a connection, none for HTTP/1.1,
// and a client of it with at most so many connections.
func newStreamServer(t *testing.T, streams, conns int, do http.HandlerFunc) (*streamServer, *http.Client, *multiplexer) {
	t.Helper()
	s := &streamServer{}
	var now atomic.Int32
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for old := s.most.Load(); n > old && !s.most.CompareAndSwap(old, n); old = s.most.Load() {
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
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c, m := multiplexed(t, &tls.Config{RootCAs: roots}, conns)
	return s, c, m
}

// multiplexed returns a client over a multiplexer of at most so many connections.
func multiplexed(t *testing.T, c *tls.Config, most int) (*http.Client, *multiplexer) {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	m := newMultiplexer(&http.Transport{TLSClientConfig: c, Protocols: &protocols, IdleConnTimeout: 90 * time.Second}, most)
	t.Cleanup(m.CloseIdleConnections)
	return &http.Client{Transport: m, Timeout: 20 * time.Second}, m
}

// getMany asks n times at once for the URL, and returns how many had answers.
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

// TestMultiplexer: as many streams as the server allows, and as few connections as
// that takes.
func TestMultiplexer(t *testing.T) {
	tests := []struct {
		name                string
		streams, most, n    int
		conns, fewest, peak int32
	}{
		{"room on one connection", 100, 16, 80, 1, 80, 80},
		{"three connections", 10, 16, 30, 3, 25, 30},
		{"no more than there may be", 10, 2, 60, 2, 15, 20},
		{"one stream each", 1, 4, 20, 4, 3, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, c, _ := newStreamServer(t, tt.streams, tt.most, pauseThenOK)
			for range 5 {
				if good := getMany(t, c, s.URL, tt.n); good != tt.n {
					t.Errorf("%d of %d requests had answers", good, tt.n)
				}
			}
			if got := s.conns.Load(); got != tt.conns {
				t.Errorf("got %d connections, want %d", got, tt.conns)
			}
			if got := s.most.Load(); got < tt.fewest || got > tt.peak {
				t.Errorf("got %d requests at once, want %d to %d", got, tt.fewest, tt.peak)
			}
		})
	}
}

// TestMultiplexerHTTP1: a server without HTTP/2 has a connection for each request.
func TestMultiplexerHTTP1(t *testing.T) {
	s, c, _ := newStreamServer(t, 0, 2, pauseThenOK)
	if good := getMany(t, c, s.URL, 10); good != 10 {
		t.Errorf("%d of 10 requests had answers", good)
	}
	if got := s.most.Load(); got < 5 {
		t.Errorf("got %d requests at once, want nearly 10", got)
	}
}

// TestMultiplexerGoAway: servers end their connections after so many requests; those
// that wait go over another one, opened once for all of them.
func TestMultiplexerGoAway(t *testing.T) {
	var n atomic.Int32
	s, c, _ := newStreamServer(t, 100, 16, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1)%100 == 0 {
			w.Header().Set("Connection", "close")
		}
		pauseThenOK(w, r)
	})
	for range 20 {
		if good := getMany(t, c, s.URL, 50); good != 50 {
			t.Fatalf("%d of 50 requests had answers", good)
		}
	}
	if got := s.conns.Load(); got < 5 || got > 15 {
		t.Errorf("got %d connections, want about 11", got)
	}
}

// TestMultiplexerBroken: a connection that breaks takes no request with it that had no
// answer.
func TestMultiplexerBroken(t *testing.T) {
	var n atomic.Int32
	var s *streamServer
	s, c, _ := newStreamServer(t, 100, 16, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 30 {
			s.CloseClientConnections()
		}
		pauseThenOK(w, r)
	})
	if good := getMany(t, c, s.URL, 60); good != 60 {
		t.Errorf("%d of 60 requests had answers", good)
	}
}

// TestMultiplexerRefused: where no further connection is to be had, those there are
// have to do, and no request fails.
func TestMultiplexerRefused(t *testing.T) {
	s, c, _ := newStreamServer(t, 5, 16, pauseThenOK)
	getMany(t, c, s.URL, 1)
	s.refuse.Store(true)
	for range 5 {
		if good := getMany(t, c, s.URL, 30); good != 30 {
			t.Errorf("%d of 30 requests had answers", good)
		}
	}
	if got := s.conns.Load(); got != 2 {
		t.Errorf("got %d connections, want one, and one try of another", got)
	}
}

// TestMultiplexerDown: all that wait for a server that is down are told.
func TestMultiplexerDown(t *testing.T) {
	s, c, m := newStreamServer(t, 5, 16, pauseThenOK)
	s.Close()
	begun := time.Now()
	if good := getMany(t, c, s.URL, 30); good != 0 {
		t.Errorf("%d of 30 requests had answers", good)
	}
	if took := time.Since(begun); took > c.Timeout/2 {
		t.Errorf("it took %v", took)
	}
	for trunk := range m.trunks.All() {
		if trunk.waits() {
			t.Error("some still wait")
		}
	}
}

// TestMultiplexerCancelled: who gives up takes nobody's turn, and no stream.
func TestMultiplexerCancelled(t *testing.T) {
	hold := make(chan struct{})
	s, c, m := newStreamServer(t, 2, 1, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			<-hold
		}
	})
	getMany(t, c, s.URL, 1)
	var held sync.WaitGroup
	for range 2 {
		held.Go(func() { getMany(t, c, s.URL+"/hold", 1) })
	}
	for s.most.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	errGaveUp := errors.New("gave up")
	for range 100 {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errGaveUp)
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
		if _, err := m.RoundTrip(req); !errors.Is(err, errGaveUp) {
			t.Errorf("got %v, want %v", err, errGaveUp)
		}
		cancel()
	}
	close(hold)
	held.Wait()
	if good := getMany(t, c, s.URL, 20); good != 20 {
		t.Errorf("%d of 20 requests had answers", good)
	}
	for trunk := range m.trunks.All() {
		if trunk.waits() || len(trunk.conns) != 1 {
			t.Errorf("%d connections, waiting: %v", len(trunk.conns), trunk.waits())
		}
	}
}

// TestTrunkDequeue: who was told to look, and needs nothing any more, tells the next.
func TestTrunkDequeue(t *testing.T) {
	var tr trunk
	first, second := tr.enqueue(), tr.enqueue()
	tr.wake(1, nil)
	tr.dequeue(first)
	select {
	case <-second:
	default:
		t.Error("the next one is not told")
	}
}

// TestMultiplexerSlow: a first answer that takes long, or never comes, does not hold up
// the others for long.
func TestMultiplexerSlow(t *testing.T) {
	t.Run("slow", func(t *testing.T) {
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
			t.Errorf("%d of 20 requests had answers", good)
		}
		close(hold)
		all.Wait()
	})
	t.Run("silent", func(t *testing.T) {
		hold := make(chan struct{})
		s, c, m := newStreamServer(t, 100, 16, func(w http.ResponseWriter, r *http.Request) { <-hold })
		m.transport().ResponseHeaderTimeout = time.Second
		begun := time.Now()
		getMany(t, c, s.URL, 10)
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("10 requests took %v, one after the other", took)
		}
		close(hold)
	})
}

// TestMultiplexerProxy: what chooses the proxy is told the same URL as by net/http.
func TestMultiplexerProxy(t *testing.T) {
	for _, raw := range []string{"https://example.invalid:8443/x", "https://[::1]:8443/x", "https://[::1]/x"} {
		var seen []string
		errSeen := errors.New("seen")
		plain := &http.Transport{Proxy: func(r *http.Request) (*url.URL, error) {
			seen = append(seen, r.URL.Host)
			return nil, errSeen
		}}
		for _, rt := range []http.RoundTripper{plain, newMultiplexer(plain.Clone(), 5)} {
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

// TestTrunkEndedDial: a dial that was ended when nobody waited is no error for who comes
// after that.
func TestTrunkEndedDial(t *testing.T) {
	gate, errAgain := make(chan struct{}), errors.New("dialed again")
	var dials atomic.Int32
	tr := &trunk{most: 16, dial: func(ctx context.Context) (*http.ClientConn, error) {
		if dials.Add(1) > 1 {
			return nil, errAgain
		}
		<-ctx.Done()
		<-gate
		return nil, ctx.Err()
	}}
	tr.open()
	tr.closeIdle()
	got := make(chan error, 1)
	go func() { _, err := tr.take(t.Context()); got <- err }()
	for !tr.waits() {
		time.Sleep(time.Millisecond)
	}
	close(gate)
	if err := <-got; !errors.Is(err, errAgain) {
		t.Errorf("got %v, want %v", err, errAgain)
	}
}

// TestMultiplexerMissed: net/http tells nothing of a stream that begins and ends while it
// tells of another; who waits for it looks again.
func TestMultiplexerMissed(t *testing.T) {
	goOn := make(chan struct{})
	s, c, m := newStreamServer(t, 1, 1, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		if r.URL.Path == "/held" {
			<-goOn
		}
	})
	getMany(t, c, s.URL, 1)
	u, _ := url.Parse(s.URL)
	tr := m.of(u)
	tr.conns[0].SetStateHook(nil) // it tells nothing at all
	time.Sleep(2 * trialMost)     // nor does the end of the trial
	resp, err := c.Get(s.URL + "/held")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	go func() {
		for !tr.waits() {
			time.Sleep(time.Millisecond)
		}
		close(goOn)
	}()
	if getMany(t, c, s.URL, 1) != 1 {
		t.Error("it waits for ever")
	}
}
