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

// modified is the Last-Modified time of all served files.
var modified = time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)

// A serverConfig configures a server.
type serverConfig struct {
	Shape
	Files         map[string]content // by name, without a leading slash
	RealFile      string             // file with the bytes that every one of Files has, sent with sendfile(2); "" generates them
	MaxRequests   int                // concurrent requests, beyond which the server refuses; 0 for no limit
	RefusalStatus int                // status of a refusal; 0 for 503
	MaxConns      int                // open connections, beyond which the server resets new ones; 0 for no limit
	Cert          *tls.Certificate   // nil for HTTP
	Link          *link              // at whose end the server listens; nil for loopback
	HTTP2         bool               // offer HTTP/2 besides HTTP/1.1; needs Cert
}

// A fileServer serves the files of a testbed. Its counters may be read at any time.
type fileServer interface {
	url() string          // for example "http://127.0.0.1:40123"
	reset()               // sets the counters to 0; must be called only while no client is connected
	counts() serverCounts // since the last reset
	// waitSent waits until n bytes are sent since the last reset. It reports false if ctx is done
	// first, or if the server does not count bytes.
	waitSent(ctx context.Context, n int64) bool
	close() // returns when all of the server has ended
}

// serverCounts are the counters of a server.
type serverCounts struct {
	conns    int64 // accepted connections
	requests int64
	refused  int64 // requests and connections
	sent     int64 // bytes that relays have written to clients; 0 without relays
}

// A server is a fileServer with relays. It runs in bench's own process: the CPU time of a
// contender is still separate, because rusage counts it per child, and the counters
// are at hand. A server is made by startServer and must be closed. Its counters may be
// read at any time.
type server struct {
	serverConfig
	baseURL  string // for example "http://127.0.0.1:40123"
	http     *http.Server
	listener *shapedListener // nil if connections need no relay
	serving  sync.WaitGroup  // the goroutine in http.Serve

	conns, requests, refused atomic.Int64 // since the last reset; conns counts accepted connections
	active                   atomic.Int64 // requests being served now
	sent                     atomic.Int64 // bytes that relays have written to clients; stays 0 without relays
}

// startServer starts a server on a free port. The caller must close it.
func startServer(c serverConfig) (*server, error) {
	l, err := listenAt(c.Link)
	if err != nil {
		return nil, err
	}
	s := &server{serverConfig: c, baseURL: "http://" + l.Addr().String()}
	s.http = &http.Server{
		Handler:  s,
		ErrorLog: log.New(io.Discard, "", 0), // clients that disconnect are normal here
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

func (s *server) url() string { return s.baseURL }

func (s *server) counts() serverCounts {
	return serverCounts{s.conns.Load(), s.requests.Load(), s.refused.Load(), s.sent.Load()}
}

func (s *server) close() {
	s.http.Close()
	s.serving.Wait()
	if s.listener != nil {
		s.listener.relays.Wait()
	}
}

func (s *server) reset() {
	s.conns.Store(0)
	s.requests.Store(0)
	s.refused.Store(0)
	s.sent.Store(0)
}

// ServeHTTP implements http.Handler. The path "/" is an HTML index of all files.
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
	// A strong ETag, because programs need one to resume safely.
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

// index sends an HTML page with links to all files, for the programs that mirror a
// directory and cannot read a list.
func (s *server) index(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html")
	fmt.Fprint(w, "<html><body><pre>\n")
	for name := range s.Files {
		fmt.Fprintf(w, "<a href=\"%s\">%s</a>\n", name, name)
	}
	fmt.Fprint(w, "</pre></body></html>\n")
}

// A shapedListener puts a relay between each client and the HTTP server. The server
// sees only the far ends of the relays.
type shapedListener struct {
	net.Listener
	server   *server
	link     *limiter     // shared by all connections
	accepted int64        // number of connections so far; owned by Accept
	open     atomic.Int64 // number of open connections
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
			// With a linger time of 0, Close sends a reset instead of an orderly end.
			client.(*net.TCPConn).SetLinger(0)
			client.Close()
			l.server.refused.Add(1)
			continue
		}
		return l.startRelay(client), nil
	}
}

// startRelay starts a relay for a client and returns the end that the HTTP server uses.
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

// waitSent implements fileServer. It polls every 2 ms, in which the fastest shape with a
// relay (200 MB/s) sends 400 KB.
func (s *server) waitSent(ctx context.Context, n int64) bool {
	for ctx.Err() == nil {
		if s.sent.Load() >= n {
			return true
		}
		time.Sleep(2 * time.Millisecond)
	}
	return false
}
