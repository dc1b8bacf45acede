package transport

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pawl/downloader/faultserver"
)

// A rawServer is an https server whose HTTP/2 frames (RFC 9113 §6) the test sends itself.
type rawServer struct {
	url   string
	conns atomic.Int32 // connections in all
	live  atomic.Int32 // open connections
}

// A rawConn is a connection of a rawServer.
type rawConn struct {
	net.Conn
	mu sync.Mutex // held during writes
}

func (c *rawConn) frame(typ, flags byte, id uint32, payload []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := make([]byte, 9, 9+len(payload))
	h[0], h[1], h[2] = byte(len(payload)>>16), byte(len(payload)>>8), byte(len(payload))
	h[3], h[4] = typ, flags
	binary.BigEndian.PutUint32(h[5:], id)
	c.Write(append(h, payload...))
}

func (c *rawConn) settings(streams uint32) {
	p := make([]byte, 6)
	binary.BigEndian.PutUint16(p, 3)
	binary.BigEndian.PutUint32(p[2:], streams)
	c.frame(4, 0, 0, p)
}
func (c *rawConn) ok(id uint32)      { c.frame(1, 5, id, []byte{0x88}) }
func (c *rawConn) headers(id uint32) { c.frame(1, 4, id, []byte{0x88}) }
func (c *rawConn) end(id uint32)     { c.frame(0, 1, id, []byte("ok")) }
func (c *rawConn) reset(id uint32, code uint32) {
	p := make([]byte, 4)
	binary.BigEndian.PutUint32(p, code)
	c.frame(3, 0, id, p)
}
func (c *rawConn) goaway(last uint32) {
	p := make([]byte, 8)
	binary.BigEndian.PutUint32(p, last)
	c.frame(7, 0, 0, p)
}

// read calls on for each request until the connection ends. It answers pings if pong is true.
func (c *rawConn) read(pong bool, on func(id uint32)) {
	pre := make([]byte, 24)
	if _, err := io.ReadFull(c, pre); err != nil {
		return
	}
	for {
		h := make([]byte, 9)
		if _, err := io.ReadFull(c, h); err != nil {
			return
		}
		p := make([]byte, int(h[0])<<16|int(h[1])<<8|int(h[2]))
		if _, err := io.ReadFull(c, p); err != nil {
			return
		}
		id := binary.BigEndian.Uint32(h[5:])
		switch {
		case h[3] == 1:
			on(id)
		case h[3] == 4 && h[4]&1 == 0:
			c.frame(4, 1, 0, nil)
		case h[3] == 6 && h[4]&1 == 0 && pong:
			c.frame(6, 1, 0, p)
		}
	}
}

// newRawServer starts a server that serves connection n, from 1, with serve. The pool opens at
// most so many connections to it.
func newRawServer(t *testing.T, conns int, serve func(n int32, c *rawConn)) (*rawServer, *http.Client, *h2Pool) {
	t.Helper()
	return newRawServerWith(t, &http.Transport{}, conns, serve)
}

// newRawServerWith is newRawServer with settings of the pool's transport.
func newRawServerWith(t *testing.T, base *http.Transport, conns int, serve func(n int32, c *rawConn)) (*rawServer, *http.Client, *h2Pool) {
	t.Helper()
	hs := httptest.NewUnstartedServer(nil)
	hs.StartTLS()
	cert := hs.TLS.Certificates[0]
	hs.Close()
	network := faultserver.NewNetwork()
	l := tls.NewListener(network.Listen(), &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}})
	s := &rawServer{url: "https://" + l.Addr().String()}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n := s.conns.Add(1)
			s.live.Add(1)
			t.Cleanup(func() { c.Close() })
			go func() {
				defer s.live.Add(-1)
				defer c.Close()
				serve(n, &rawConn{Conn: c})
			}()
		}
	}()
	base.DialContext = network.Dial
	base.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	p := newPool(t, base, conns)
	return s, &http.Client{Transport: p, Timeout: 20 * time.Second}, p
}

// TestH2PoolProbe: until the first response, when the limit of streams is certainly known, a
// connection carries one request.
func TestH2PoolProbe(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const limit = 5
		var early, refused atomic.Int32
		arrived := make(chan struct{}, 3*limit) // a request arrives before the limit is known
		s, c, _ := newRawServer(t, 16, func(_ int32, c *rawConn) {
			var open atomic.Int32
			var known atomic.Bool
			time.AfterFunc(probeTime/4, func() { // after a long way to the client
				known.Store(true)
				c.settings(limit)
			})
			c.read(true, func(id uint32) {
				if !known.Load() {
					early.Add(1)
					arrived <- struct{}{}
				}
				if open.Add(1) > limit {
					open.Add(-1)
					refused.Add(1)
					c.reset(id, 7)
					return
				}
				time.AfterFunc(probeTime/2, func() { open.Add(-1); c.ok(id) })
			})
		})
		var first sync.WaitGroup
		first.Go(func() {
			if getMany(t, c, s.url, 1) != 1 {
				t.Error("the first request had no response")
			}
		})
		<-arrived
		if good := getMany(t, c, s.url, 3*limit-1); good != 3*limit-1 {
			t.Errorf("%d of %d requests had responses", good, 3*limit-1)
		}
		first.Wait()
		if early.Load() > s.conns.Load() || refused.Load() > 0 {
			t.Errorf("%d connections carried %d requests before the limit was known, %d were refused", s.conns.Load(), early.Load(), refused.Load())
		}
	})
}

// TestH2PoolEnding: as nginx does, the server sends GOAWAY with the last request that it
// processes. Requests behind it move to other connections.
func TestH2PoolEnding(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, k := range []int{10, 50, 100} {
			s, c, _ := newRawServer(t, 16, func(_ int32, c *rawConn) {
				c.settings(128)
				i := 0
				var all sync.WaitGroup
				c.read(true, func(id uint32) {
					if i++; i > k {
						return
					}
					all.Go(func() { time.Sleep(20 * time.Millisecond); c.ok(id) })
					if i == k {
						c.goaway(id)
						go func() { all.Wait(); c.Close() }()
					}
				})
			})
			if good := getMany(t, c, s.url, 256); good != 256 {
				t.Errorf("%d requests a connection: %d of 256 had responses", k, good)
			}
		}
	})
}

// TestH2PoolRefusedStream: a request that the server did not process is sent again.
func TestH2PoolRefusedStream(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var n atomic.Int32
		s, c, _ := newRawServer(t, 16, func(_ int32, c *rawConn) {
			c.settings(128)
			c.read(true, func(id uint32) {
				if i := n.Add(1); i == 10 || i == 11 {
					c.reset(id, 7)
					return
				}
				c.ok(id)
			})
		})
		for i := range 20 {
			if getMany(t, c, s.url, 1) != 1 {
				t.Errorf("request %d had no response", i+1)
			}
		}
	})
}

// TestH2PoolClosedAfterTLS: no request fails because a further connection is closed at once.
func TestH2PoolClosedAfterTLS(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for range 20 {
			s, c, _ := newRawServer(t, 16, func(n int32, c *rawConn) {
				if n > 1 {
					c.Conn.(*tls.Conn).Handshake()
					return
				}
				c.settings(5)
				c.read(true, func(id uint32) { time.AfterFunc(5*time.Millisecond, func() { c.ok(id) }) })
			})
			getMany(t, c, s.url, 1)
			if good := getMany(t, c, s.url, 30); good != 30 {
				t.Errorf("%d of 30 requests had responses", good)
			}
		}
	})
}

// TestH2PoolFewerStreams: the server lowers its limit of streams while requests have been given
// the connection and are not streams yet. They then follow one another.
func TestH2PoolFewerStreams(t *testing.T) {
	t.Parallel() // without a fake clock: net/http holds a mutex while it cannot write
	s, _, p := newRawServer(t, 1, func(_ int32, c *rawConn) {
		c.settings(128)
		first := true
		c.read(true, func(id uint32) {
			c.ok(id)
			if first {
				first = false
				time.Sleep(300 * time.Millisecond) // reads nothing, and so the client cannot write
				c.settings(1)
				time.Sleep(300 * time.Millisecond)
			}
		})
	})
	var all sync.WaitGroup
	var good atomic.Int32
	for range 100 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, "GET", s.url, nil)
			req.Header.Set("Big", strings.Repeat("x", 256<<10)) // more than the buffers of the connection, in all
			if resp, err := p.RoundTrip(req); err == nil {
				resp.Body.Close()
				good.Add(1)
			}
		})
	}
	all.Wait()
	if good.Load() != 100 {
		t.Errorf("%d of 100 requests had responses", good.Load())
	}
}

// TestH2PoolEnded: a connection that the server has ended with GOAWAY and not closed is given up,
// with and without a response over it.
func TestH2PoolEnded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, used := range []bool{true, false} {
			ended := make(chan struct{})
			s, c, p := newRawServer(t, 1, func(n int32, c *rawConn) {
				c.settings(128)
				end := func(last uint32) {
					if n == 1 {
						c.goaway(last)
						close(ended)
					}
				}
				if !used {
					end(0)
				}
				c.read(true, func(id uint32) {
					c.ok(id)
					if used {
						end(id)
					}
				})
			})
			if used {
				getMany(t, c, s.url, 1)
			} else {
				u, _ := url.Parse(s.url)
				p.origin(u).dial() // for a request that no longer waits
			}
			<-ended
			c.Timeout = 5 * time.Second
			if good := getMany(t, c, s.url, 3); good != 3 {
				t.Errorf("used %v: %d of 3 requests had responses", used, good)
			}
		}
	})
}

// TestH2PoolStress: whatever the server does, no request waits for ever, and no connection is
// left at the end.
func TestH2PoolStress(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		end := time.Now().Add(3 * time.Second)
		var mean atomic.Bool
		mean.Store(true)
		base := &http.Transport{ // as New makes it, but for the times
			ResponseHeaderTimeout: 200 * time.Millisecond,
			IdleConnTimeout:       2 * time.Second,
			HTTP2:                 &http.HTTP2Config{SendPingTimeout: time.Second, PingTimeout: time.Second},
		}
		s, _, p := newRawServerWith(t, base, 4, func(n int32, c *rawConn) {
			c.settings(uint32(1 + rand.N(8)))
			life := 1 + rand.N(40)
			i := 0
			c.read(rand.N(2) == 0 || !mean.Load(), func(id uint32) {
				i++
				if mean.Load() {
					switch k := rand.N(60); {
					case i > life && k < 20:
						c.goaway(id - 2)
						time.AfterFunc(50*time.Millisecond, func() { c.Close() })
						return
					case k == 0:
						c.Close()
						return
					case k == 1:
						return // silent
					case k == 2:
						c.reset(id, 7)
						return
					case k == 3:
						c.settings(uint32(1 + rand.N(8)))
					case k == 4:
						c.headers(id)
						time.AfterFunc(20*time.Millisecond, func() { c.end(id) })
						return
					}
				}
				time.AfterFunc(rand.N(5*time.Millisecond), func() { c.ok(id) })
			})
		})
		var all sync.WaitGroup
		var good, bad, late atomic.Int32
		for range 64 {
			all.Go(func() {
				for time.Now().Before(end) {
					ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
					if rand.N(10) == 0 {
						time.AfterFunc(rand.N(10*time.Millisecond), cancel)
					}
					req, _ := http.NewRequestWithContext(ctx, "GET", s.url, nil)
					req.Close = rand.N(50) == 0
					resp, err := p.RoundTrip(req)
					switch {
					case err == nil:
						io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
						good.Add(1)
					case ctx.Err() == context.DeadlineExceeded:
						late.Add(1)
					default:
						bad.Add(1)
					}
					cancel()
					if rand.N(500) == 0 {
						p.CloseIdleConnections()
					}
				}
			})
		}
		all.Wait()
		mean.Store(false)
		t.Logf("good %d, bad %d, waited 8 s in vain %d; %d conns", good.Load(), bad.Load(), late.Load(), s.conns.Load())
		if late.Load() > 0 {
			t.Error("some waited for ever")
		}
		wantNoWaiters(t, p)
		// net/http counts a cancelled request as active until a ping is answered, or until the
		// connection has been idle for IdleConnTimeout.
		for end := time.Now().Add(10 * time.Second); s.live.Load() > 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			p.CloseIdleConnections()
		}
		if s.live.Load() > 0 {
			t.Errorf("%d connections are left", s.live.Load())
		}
	})
}

// TestH2PoolNoStreams: a server that lowers its limit of streams to 0 and answers pings does not
// hang requests, because the watchdog also ends requests that wait for a stream.
func TestH2PoolNoStreams(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const conns = 3
		for name, serve := range map[string]func(c *rawConn){
			"none after the first": func(c *rawConn) {
				c.settings(1)
				c.read(true, func(id uint32) {
					c.settings(0)
					c.headers(id) // and its body never ends
				})
			},
			"none from the start": func(c *rawConn) {
				c.settings(0)
				c.read(true, func(uint32) {})
			},
		} {
			s, c, _ := newRawServer(t, conns, func(_ int32, c *rawConn) { serve(c) })
			c.Transport = watchdog{next: c.Transport, timeout: 300 * time.Millisecond, connectTimeout: time.Second}
			done := make(chan error, 2*conns)
			for range cap(done) {
				go func() {
					resp, err := c.Get(s.url)
					if err == nil {
						t.Cleanup(func() { resp.Body.Close() })
					}
					done <- err
				}()
			}
			for i := range cap(done) {
				select {
				case err := <-done:
					if err != nil && !errors.Is(err, errNoResponse) {
						t.Errorf("%s: got %v, want %v", name, err, errNoResponse)
					}
				case <-time.After(20 * time.Second):
					t.Fatalf("%s: %d requests hang", name, cap(done)-i)
				}
			}
		}
	})
}
