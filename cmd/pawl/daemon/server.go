package daemon

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"

	"pawl/downloader/queue"
)

// Options are the settings of a Server. Secret must be set.
type Options struct {
	Version string
	Root    string // absolute; only shown
	Secret  string
	Hosts   []string // further names by which the user calls the daemon, without port
	Origins []string // further web origins that may use it, for example "https://example.com"; "null" for local files
	// StateDir is where the address is written for Find; "" for nowhere.
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
	// Log is told about requests that are refused, and changes. Default: nothing is logged.
	Log *slog.Logger
}

// A Server serves a queue. Its methods are safe for concurrent use.
type Server struct {
	queue   *queue.Queue
	options Options
}

// New returns a server of q.
func New(q *queue.Queue, o Options) *Server { return &Server{queue: q, options: o} }

// Serve serves the listeners until ctx ends, and returns when no request is answered any more. It must
// be called once, and closes the listeners. Find names the first.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error { panic("not yet") }

// Authorize reports whether r has the right secret: as token, or, if that is "", in its header, or as a
// session. It waits after a wrong one.
func (s *Server) Authorize(r *http.Request, token string) bool { panic("not yet") }

// CheckOrigin reports whether r may open a WebSocket.
func (s *Server) CheckOrigin(r *http.Request) bool { panic("not yet") }

// AcquireSocket takes one of the WebSockets that the RPC handler may have. ok is false if there are
// too many; else release must be called at its end.
func (s *Server) AcquireSocket() (release func(), ok bool) { panic("not yet") }

// Rate returns the bytes per second of all downloads.
func (s *Server) Rate() int64 { panic("not yet") }

// OpenPath returns a path that opens the page once, within a minute, with a session.
func (s *Server) OpenPath() string { panic("not yet") }
