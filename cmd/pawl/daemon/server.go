package daemon

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"pawl/downloader/queue"
)

// Options are the settings of a Server. Secret must be set.
type Options struct {
	Version string
	Root    string // absolute, the same as of the queue
	Secret  string
	Hosts   []string // further names by which the user calls the daemon, without port
	Origins []string // further web origins that may use it, for example "https://example.com"; "null" for local files
	// StateDir is the directory into which the address is written, for Find; "" for none.
	StateDir string
	// TLS makes the server speak https; nil for http.
	TLS *tls.Config
	// RPC returns the handler of /jsonrpc, which must call Server.Authorize. May be nil.
	RPC func(*Server) http.Handler
	// Page is the handler of all paths that are not the server's. May be nil.
	Page http.Handler
	// LimitRate and SetLimitRate are the limit of all downloads together, in bytes per second; 0 for none.
	LimitRate    func() int64
	SetLimitRate func(bytesPerSecond int64)
	// Free returns the free bytes below Root, -1 if unknown. May be nil.
	Free func() int64
	// Stop is called for a request to stop, and must make the ctx of Serve end soon. May be nil.
	Stop func()
	// Log gets refused requests and internal errors. Default: nothing is logged.
	Log *slog.Logger
}

// A Server serves a queue. Its methods are safe for concurrent use.
type Server struct {
	queue                      *queue.Queue
	options                    Options
	hosts                      []string // Options.Hosts as hostOf returns them
	log                        *slog.Logger
	refusals                   *sparseLog
	keeper                     *keeper
	hub                        *hub
	conns                      *connList
	largeBodies, unknownBodies slots // see meteredBody
	streams                    slots // of events
	sockets                    slots // of the RPC handler
	handler                    http.Handler
	ctx                        context.Context // of Serve
}

// New returns a server of q.
func New(q *queue.Queue, o Options) *Server {
	s := &Server{
		queue: q, options: o, log: o.Log, hub: newHub(q),
		conns: &connList{max: maxConns}, largeBodies: make(slots, maxLargeBodies), unknownBodies: make(slots, maxUnknownBodies),
		streams: make(slots, maxStreams), sockets: make(slots, maxStreams), ctx: context.Background(),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.hub.show = s.showWithPosition
	for _, h := range o.Hosts {
		s.hosts = append(s.hosts, hostOf(h))
	}
	s.refusals = &sparseLog{log: s.log}
	s.keeper = newKeeper(o.Secret, o.TLS != nil, s.refusals)
	s.handler = s.guard(s.routes())
	return s
}

// routes returns the handler of all paths.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/api", s.api())
	mux.Handle("/api/", s.api())
	mux.HandleFunc("/open", s.openPage)
	if s.options.RPC != nil {
		mux.Handle("/jsonrpc", s.options.RPC(s))
	}
	if s.options.Page != nil {
		mux.Handle("/", s.options.Page)
	}
	return mux
}

// connKey is the key of the conn in the context of a connection.
type connKey struct{}

// Serve serves the listeners, at least one, until ctx ends, and returns when no request is answered any more. It must
// be called once, and closes the listeners. Find names the first.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.ctx = ctx
	server := s.newHTTPServer(ctx)
	if s.options.StateDir != "" {
		withdraw, err := publish(s.options.StateDir, listeners[0], s.options.TLS)
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
			return err
		}
		defer withdraw()
	}
	var serving sync.WaitGroup
	serving.Go(func() { s.hub.run(ctx) })
	ended := make(chan error, len(listeners))
	for _, l := range listeners {
		l = listener{l, s.conns}
		if s.options.TLS != nil && l.Addr().Network() != "unix" { // which nobody else can read
			l = tls.NewListener(l, s.options.TLS)
		}
		serving.Go(func() { ended <- server.Serve(l) })
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-ended:
	}
	cancel()
	s.shutdown(server)
	serving.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// newHTTPServer returns the server of net/http with its limits.
func (s *Server) newHTTPServer(ctx context.Context) *http.Server {
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: headerTime, ReadTimeout: requestTime, WriteTimeout: answerTime, IdleTimeout: idleTime,
		MaxHeaderBytes: maxHeaderBytes,
		ErrorLog:       log.New(&httpErrors{s.log}, "", 0),
		BaseContext:    func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if secured, ok := c.(*tls.Conn); ok {
				c = secured.NetConn()
			}
			return context.WithValue(ctx, connKey{}, c)
		},
	}
	server.Protocols = new(http.Protocols) // HTTP/2 would put any number of requests on one connection
	server.Protocols.SetHTTP1(true)
	return server
}

// shutdown waits for the requests that are in progress, for stopTime at most, and then closes their connections.
func (s *Server) shutdown(server *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		server.Close()
	}
	s.conns.closeAll() // also WebSockets, which net/http does not track
	s.streams.drain()
	s.sockets.drain()
}

// httpErrors passes the messages of net/http to the log.
type httpErrors struct{ log *slog.Logger }

// Write logs a line. Most are about single connections that somebody has broken.
func (e *httpErrors) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("panic serving")) {
		e.log.Error("a request has failed because of a mistake in pawl", "panic", string(line))
	} else {
		e.log.Debug("http", "message", short(string(line)))
	}
	return len(line), nil
}

// Authorize reports whether r has the right secret: as token, or, if that is "", in its header, or as a
// session. It waits after a wrong one.
func (s *Server) Authorize(r *http.Request, token string) bool {
	return s.keeper.authorize(s.ctx, r, token)
}

// CheckOrigin reports whether r may open a WebSocket.
func (s *Server) CheckOrigin(r *http.Request) bool {
	_, _, ok := s.checkOrigin(r)
	return ok
}

// AcquireSocket takes one of the WebSockets that the RPC handler may have. If there are too many, it closes the oldest
// that has not shown the secret; ok is false if there is none. Otherwise release must be called at the end of the socket,
// which must come soon after the end of the request's context.
func (s *Server) AcquireSocket() (release func(), ok bool) {
	if release, ok = s.sockets.acquire(); ok || !s.conns.closeSocket() {
		return release, ok
	}
	return s.sockets.await(roomTime)
}

// Rate returns the bytes per second of all downloads.
func (s *Server) Rate() int64 { return s.hub.total() }

// OpenPath returns a path that opens the page once, within a minute, with a session.
func (s *Server) OpenPath() string { return "/open?token=" + s.keeper.newToken() }
