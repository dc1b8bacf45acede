package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// modified is when all files that are served were made.
var modified = time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)

// A serverConfig says what to serve, and how.
type serverConfig struct {
	Shape
	Files         map[string]content // by name, without slash
	RealFile      string             // a file with the bytes of all Files, which then goes out by sendfile; "" for none
	MaxRequests   int                // answers under way beyond which there are refusals; 0 for no limit
	RefusalStatus int                // of those refusals, 0 for 503
	MaxConns      int                // connections beyond which they are reset; 0 for no limit
	Cert          *tls.Certificate   // nil for HTTP
	HTTP2         bool               // besides HTTP/1.1; only with Cert
}

// A server serves files on loopback, in the benchmark's own process: a child's
// CPU is its own by the rusage of its end, and the counters are at hand. It is
// made by startServer, and its counters may be read at any time.
type server struct {
	serverConfig
	baseURL  string // its URL, without slash at the end
	http     *http.Server
	listener *shapedListener
	serving  sync.WaitGroup

	conns, requests, refused, active atomic.Int64
	sent                             atomic.Int64 // bytes given to the kernel; 0 where the shape is plain
}

// startServer starts a server, which the caller has to close.
func startServer(c serverConfig) (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{serverConfig: c, baseURL: "http://" + l.Addr().String()}
	s.http = &http.Server{
		Handler:  s,
		ErrorLog: log.New(io.Discard, "", 0), // of clients that go away
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: 128},
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				s.conns.Add(1)
			}
		},
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(c.HTTP2)
	s.http.Protocols = &protocols
	if !c.plain() || c.MaxConns > 0 {
		s.listener = &shapedListener{Listener: l, server: s, link: newLimiter(c.LinkRate)}
		l = s.listener
	}
	serve := func() { s.http.Serve(l) }
	if c.Cert != nil {
		s.baseURL = "https" + strings.TrimPrefix(s.baseURL, "http")
		s.http.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*c.Cert}}
		serve = func() { s.http.ServeTLS(l, "", "") }
	}
	s.serving.Go(serve)
	return s, nil
}

// close ends all connections and waits for them.
func (s *server) close() {
	s.http.Close()
	s.serving.Wait()
	if s.listener != nil {
		s.listener.relays.Wait()
	}
}

// reset sets the counters back to 0, between one client and the next.
func (s *server) reset() {
	s.conns.Store(0)
	s.requests.Store(0)
	s.refused.Store(0)
	s.sent.Store(0)
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	defer s.active.Add(-1)
	if n := s.active.Add(1); s.MaxRequests > 0 && n > int64(s.MaxRequests) {
		s.refused.Add(1)
		http.Error(w, "too many connections", cmp.Or(s.RefusalStatus, http.StatusServiceUnavailable))
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	if name == "" {
		s.index(w)
		return
	}
	c, ok := s.Files[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Etag", fmt.Sprintf(`"%x-%x"`, c.seed, c.size))
	w.Header().Set("Content-Type", "application/octet-stream")
	if s.RealFile == "" {
		http.ServeContent(w, r, name, modified, c.reader())
		return
	}
	f, err := os.Open(s.RealFile)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer f.Close()
	http.ServeContent(w, r, name, modified, f)
}

// index answers with links to all files, for those that read no list.
func (s *server) index(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html")
	fmt.Fprint(w, "<html><body><pre>\n")
	for name := range s.Files {
		fmt.Fprintf(w, "<a href=\"%s\">%s</a>\n", name, name)
	}
	fmt.Fprint(w, "</pre></body></html>\n")
}

// A shapedListener accepts connections and hands out the far ends of relays.
type shapedListener struct {
	net.Listener
	server   *server
	link     *limiter
	accepted int64        // connections so far; owned by Accept
	open     atomic.Int64 // connections now
	relays   sync.WaitGroup
}

// Accept implements net.Listener.
func (l *shapedListener) Accept() (net.Conn, error) {
	for {
		client, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if most := l.server.MaxConns; most > 0 && l.open.Load() >= int64(most) {
			client.(*net.TCPConn).SetLinger(0)
			client.Close()
			l.server.refused.Add(1)
			continue
		}
		return l.startRelay(client), nil
	}
}

// relay starts a relay for a client and returns the far end.
func (l *shapedListener) startRelay(client net.Conn) net.Conn {
	shape := l.server.Shape
	r := &relay{shape: shape, linkLimit: l.link, connLimit: newLimiter(shape.rateOf(l.accepted)), sent: &l.server.sent,
		rng: rand.New(rand.NewPCG(uint64(l.accepted), 1))}
	near, far := net.Pipe()
	l.accepted++
	l.open.Add(1)
	l.relays.Go(func() {
		defer l.open.Add(-1)
		r.run(client, near)
	})
	return far
}

// untilSent waits until the server has sent n bytes, and reports whether it has
// before ctx ended.
func (s *server) waitSent(ctx context.Context, n int64) bool {
	for ctx.Err() == nil {
		if s.sent.Load() >= n {
			return true
		}
		time.Sleep(2 * time.Millisecond)
	}
	return false
}
