package transport

import (
	"cmp"
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// A RequestInfo describes a request beyond its http.Request, and then reports the origin of
// its last response. It serves one request with its redirects and retries, which must follow
// one another. The caller must not change it while the request is under way.
type RequestInfo struct {
	// Timeout returns how long the server may take for the response header, and for each next
	// byte of the body. It is called each time that the request is sent. Default
	// Options.StallTimeout.
	Timeout func() time.Duration
	// Public means that a public server or list named the URL, so that it must not lead to a
	// private address.
	Public bool
	// Redirect returns an error if a redirect to a URL must not be followed. Default: all are, within
	// Options.Follow.
	Redirect func(to *url.URL) error
	// Small means that the file is one of many that may be small, so that a connection for the request may be
	// one of Options.SmallConnections.
	Small bool
	// Proven means that a digest will prove the bytes, so that they may come over http although the
	// URL is https.
	Proven bool
	// Login is the user and the password for the origin of the URL; nil for none. The scheme of their
	// Authorization field is the server's choice.
	Login *url.Userinfo
	// Cookies returns the user's cookies for a URL of that origin; nil for none. They are not sent after a
	// redirect to another origin.
	Cookies func(u *url.URL) []*http.Cookie
	// OnQueued is called with true when the request begins to wait for the request rate, and
	// with false when it no longer waits. Default none.
	OnQueued func(waiting bool)
	// OnSlot is called when the request has a slot and opens its connection. Until then it was not the
	// server that was silent. Default none.
	OnSlot func()
	// OnSent is called each time that the request has been sent: after a redirect or a failure, that is
	// again. Default none.
	OnSent func()

	restricted bool // a public source named the URL that is being requested now
	private    bool // the last response came from a private address
	way        way
}

// A way is how the last response has come. It is written by the goroutines of net/http. Safe for
// concurrent use.
type way struct {
	mu              sync.Mutex
	sent, responded time.Time // guarded by mu; the response may begin before the whole request is sent
	reused          bool      // the connection was used before; guarded by mu
}

// note calls do, which writes to w, with mu held.
func (w *way) note(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
}

// Restricted reports whether the URL that responded last must not lead to a private address,
// because a public source named it: the caller's source, or a server that redirects.
func (r *RequestInfo) Restricted() bool { return r.restricted }

// Private reports whether the last response came from a private address.
func (r *RequestInfo) Private() bool { return r.private }

// Took returns the time from the last request to the first byte of its response; 0 if unknown.
func (r *RequestInfo) Took() time.Duration {
	r.way.mu.Lock()
	defer r.way.mu.Unlock()
	if r.way.sent.IsZero() {
		return 0
	}
	return max(0, r.way.responded.Sub(r.way.sent))
}

// NewConn reports whether the connection of the last response was opened for it.
func (r *RequestInfo) NewConn() bool {
	r.way.mu.Lock()
	defer r.way.mu.Unlock()
	return !r.way.reused
}

// begin updates r before req is sent, which is the first request, a retry, or a redirect. A
// server at a private address may redirect to private addresses, because it is as trusted as
// its neighbours.
func (r *RequestInfo) begin(req *http.Request) {
	if req.Response == nil {
		r.restricted = r.Public
	} else if !r.private {
		r.restricted = r.restricted || !SameOrigin(req.URL, req.Response.Request.URL)
	}
	r.private = false
}

type infoKey struct{}

// WithRequest returns a context for a request that info describes. A request without a
// RequestInfo may go to any address.
func WithRequest(ctx context.Context, info *RequestInfo) context.Context {
	return context.WithValue(ctx, infoKey{}, info)
}

// infoOf returns the RequestInfo of a context, nil if there is none.
func infoOf(ctx context.Context) *RequestInfo {
	info, _ := ctx.Value(infoKey{}).(*RequestInfo)
	return info
}

// An attempt is one request on its way through the stages below the watchdog, or the dial of
// an HTTP/2 connection, which serves many requests.
type attempt struct {
	// notSilent is called again and again while the attempt waits in a queue of ours, so that the
	// server is not silent. The argument reports whether there is a connection to the server.
	notSilent func(connected bool)
	// onSlot is called when the attempt has a slot; nil for none.
	onSlot func()
	// mayWrite is called when the attempt has a connection, and returns when the request may be written; nil for at once.
	mayWrite func()
	// conn is the connection that carries the request, or the dialed connection; nil if there
	// is none yet, or if it is not known.
	conn atomic.Pointer[trackedConn]
	// dialed is the connection that was opened for the attempt last, nil if there is none.
	dialed atomic.Pointer[trackedConn]
	// reused means that the connection was used before.
	reused atomic.Bool
	// noALPN means that the server of the connection chose no version of HTTP.
	noALPN atomic.Bool
	// url is the URL of the request, nil for a dial.
	url *url.URL
	// dialFor is the URL that an HTTP/2 connection is dialed for, nil for a request.
	dialFor *url.URL
}

// target returns the URL of the request or of the dial, nil if it is not known.
func (a *attempt) target() *url.URL { return cmp.Or(a.url, a.dialFor) }

// gotSlot reports that the attempt has a slot.
func (a *attempt) gotSlot() {
	if a.onSlot != nil {
		a.onSlot()
	}
}

// awaitWrite returns when the request may be written. It must be called each time that the request gets a connection.
func (a *attempt) awaitWrite() {
	if a.mayWrite != nil {
		a.mayWrite()
	}
}

// gotConn notes the connection that carries the request.
func (a *attempt) gotConn(info httptrace.GotConnInfo) {
	a.conn.Store(trackedBelow(info.Conn))
	a.reused.Store(info.Reused)
	t, ok := info.Conn.(*tls.Conn)
	a.noALPN.Store(ok && t.ConnectionState().NegotiatedProtocol == "")
}

// trace returns the one trace of the request, because net/http calls the functions of several ones
// by reflection. sent is called when the request has been sent.
func (a *attempt) trace(info *RequestInfo, sent func()) *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { a.conn.Store(nil) }, // again if the connection before turns out to be closed
		GotConn: func(conn httptrace.GotConnInfo) {
			a.gotConn(conn)
			info.way.note(func() { info.way.reused = conn.Reused })
			a.awaitWrite()
		},
		WroteRequest: func(httptrace.WroteRequestInfo) {
			info.way.note(func() { info.way.sent = time.Now() })
			sent()
			if info.OnSent != nil {
				info.OnSent()
			}
		},
		GotFirstResponseByte: func() { info.way.note(func() { info.way.responded = time.Now() }) },
	}
}

type attemptKey struct{}

func withAttempt(ctx context.Context, a *attempt) context.Context {
	return context.WithValue(ctx, attemptKey{}, a)
}

// attemptOf returns the attempt of a context. Without one it returns an attempt that nobody
// else sees.
func attemptOf(ctx context.Context) *attempt {
	if a, ok := ctx.Value(attemptKey{}).(*attempt); ok {
		return a
	}
	return &attempt{notSilent: func(bool) {}}
}
