package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"pawl/downloader/failure"
	"pawl/downloader/recent"
)

const (
	// maxUnanswered is how often one request is sent when the server refuses its stream, or
	// when its connection ends before any response. A guess: half fails a request because of
	// one unlucky connection; double asks a broken server for longer, while the retry over
	// HTTP/1.1 would succeed.
	maxUnanswered = 3
	// maxEnded is how often one request is sent over connections that work and then end. Some
	// servers end a connection after a number of requests (RFC 9113 §6.8), for example nginx
	// after 1,000, and a busy pool can meet several such ends in a row. A guess: half fails a
	// request if a server allows ten requests each to 256 at once; double only delays an error.
	maxEnded = 32
	// probeTime is how long other requests wait for the first response of a connection: it may
	// reveal that the server speaks HTTP/1.1, and its limit of streams is known by then. A
	// guess: half sends requests to far connections before their limit is known; double
	// delays the second small file if the first is slow to come.
	probeTime = 250 * time.Millisecond
	// streamPollInterval is how often a waiting request looks for a free stream without being
	// woken, because net/http does not report a stream that begins and ends while it reports
	// another one (Go 1.26). A guess: half costs more wake-ups, double doubles the rare pause.
	streamPollInterval = time.Second
	// refusedTime is how long no further connection is tried after one could not be opened, or
	// ended unused, while others work. A guess: half asks the server for connections that it
	// does not want twice as often, double uses a new permission later.
	refusedTime = 10 * time.Second
)

// An h2Pool is a transport that sends https requests as streams of HTTP/2 connections: as many
// on each connection as the server allows, and then over a further connection, which is dialed
// once for all requests that wait. Requests to http URLs and to servers without HTTP/2 go
// through net/http's own pool. Safe for concurrent use.
//
// net/http's own pool (Go 1.26) does not serve for HTTP/2. It opens one connection for each
// request beyond the limit of streams. With StrictMaxConcurrentRequests it opens none, but
// then stalls for ever as soon as more requests wait than the server allows streams: a waiting
// request counts the reservations of the requests behind it (golang/go#70809). A server that
// allows 20 streams would hang 40 requests.
type h2Pool struct {
	*renewing                           // opens the connections
	max       func(hostPort string) int // connections to an origin
	legacy    bool                      // see Options.Legacy

	mu      sync.Mutex
	origins recent.Map[*h2Origin] // by Origin; guarded by mu
	created int                   // origins so far; guarded by mu
}

// newH2Pool returns a pool whose connections t opens, up to max to each origin. It changes
// t.Proxy.
func newH2Pool(t *http.Transport, max func(hostPort string) int, legacy bool) *h2Pool {
	if proxy := t.Proxy; proxy != nil {
		t.Proxy = func(req *http.Request) (*url.URL, error) {
			if u := attemptOf(req.Context()).dialFor; u != nil { // NewClientConn passes a URL without its port
				req = &http.Request{URL: u}
			}
			return proxy(req)
		}
	}
	return &h2Pool{renewing: newRenewing(t), max: max, legacy: legacy, origins: recent.NewMap((*h2Origin).isIdle)}
}

// RoundTrip sends req when there is a stream for it. It sends req again if the connection ends
// without a response, because a GET may be repeated, unless the end is the fault of req.
func (p *h2Pool) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" || !isASCII(req.URL.Host) { // net/http knows the ASCII form of a name
		return p.renewing.RoundTrip(req)
	}
	o := p.origin(req.URL)
	for unanswered, ended := 0, 0; ; ended++ {
		c, err := o.acquire(req.Context())
		switch {
		case err != nil:
			return nil, err
		case c == nil:
			return p.renewing.RoundTrip(req)
		}
		resp, err := o.send(c, req)
		if err != nil {
			err = secured{legacy: p.legacy}.explain(err, c.tcp)
		}
		responded, refused := o.finished(c, resp), isRefusedStream(err)
		if !responded || refused {
			unanswered++
		}
		usable := c.Err() == nil && c.Available() > 0 && !refused
		if err == nil || usable || failure.IsPermanent(err) || isBrokenHTTP2(err) || unanswered == maxUnanswered || ended == maxEnded || isTimeout(err) || req.Context().Err() != nil {
			return resp, err
		}
	}
}

// origin returns the connections to the origin of u.
func (p *h2Pool) origin(u *url.URL) *h2Origin {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.origins.Get(Origin(u), func() *h2Origin {
		if p.created++; p.created%maxIdleConns == 0 { // else a list of many hosts would keep a connection to each
			p.closeIdleLocked()
		}
		addr := net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "443"))
		o := &h2Origin{max: p.max(hostPort(u))}
		o.connect = func(ctx context.Context) (*h2Conn, error) {
			// A dial that waits for a slot is no silence of the server: whoever waits for the
			// dial sees that moves grows.
			a := &attempt{notSilent: func(bool) { o.moves.Add(1) }, dialFor: u}
			c, err := p.NewClientConn(withAttempt(ctx, a), u.Scheme, addr)
			if err != nil {
				err = secured{legacy: p.legacy}.explain(err, a.dialed.Load())
			}
			return &h2Conn{ClientConn: c, tcp: a.conn.Load()}, err
		}
		return o
	})
}

// CloseIdleConnections closes the connections without a request, and ends the dials that no
// request waits for.
func (p *h2Pool) CloseIdleConnections() {
	p.renewing.CloseIdleConnections()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closeIdleLocked()
}

// closeIdleLocked closes the idle HTTP/2 connections. The caller holds mu.
func (p *h2Pool) closeIdleLocked() {
	for o := range p.origins.All() {
		o.closeIdle()
	}
}

// An h2Conn is an HTTP/2 connection. Its first request probes it: others wait until that has a
// response, or for probeTime.
type h2Conn struct {
	*http.ClientConn
	tcp      *trackedConn // below ClientConn
	reserved atomic.Int32 // requests that acquire gave it to and that are not streams yet; increased under the origin's mu

	probe     probeState // guarded by the origin's mu
	responded bool       // there has been a response; guarded by the origin's mu
}

type probeState int

const (
	unprobed probeState = iota // no request is under way
	probing                    // its first request is under way
	probed                     // it has responded, or takes long to do so
)

// free returns how many more requests may be sent over the connection. It does not use
// ClientConn.Reserve: if the server lowers its limit of streams, net/http (Go 1.26) makes a
// request that is to become a stream wait for the reservations behind it, for ever.
func (c *h2Conn) free() int {
	reserved := int(c.reserved.Load()) // before Available: a request that becomes a stream meanwhile counts twice, not never
	return max(0, c.Available()-reserved)
}

// isIdle reports whether no request uses the connection.
func (c *h2Conn) isIdle() bool { return c.reserved.Load() == 0 && c.InFlight() == 0 }

// An h2Origin is the connections to one origin, and the requests that wait for a stream of
// them. Safe for concurrent use.
type h2Origin struct {
	connect func(context.Context) (*h2Conn, error)
	max     int // connections

	// moves counts the streams that acquire has returned, and the looks of a dial for a slot:
	// signs that a request which waits is not waiting for a silent server.
	moves atomic.Int64

	mu         sync.Mutex         // may be held while waiters is used, because net/http calls the state hook within Close
	conns      []*h2Conn          // guarded by mu
	http1      bool               // the server has no HTTP/2; guarded by mu
	cancelDial context.CancelFunc // ends the dial that is under way, nil if there is none; guarded by mu
	refusedAt  time.Time          // when a connection besides others could last not be had; guarded by mu

	waiters waitList
}

// acquire returns a connection with room for a stream, and waits for it if necessary. The
// caller must then call send and finished. If the server has no HTTP/2, acquire returns nil.
func (o *h2Origin) acquire(ctx context.Context) (*h2Conn, error) {
	for seen := int64(-1); ; {
		if c, ok := o.reserve(); ok {
			return c, nil
		}
		if n := o.moves.Load(); n != seen {
			seen = n
			attemptOf(ctx).notSilent(o.isConnected())
		}
		me := o.waiters.add()
		if c, ok := o.reserve(); ok { // a stream may have become free before add
			o.waiters.remove(me)
			return c, nil
		}
		o.dial()
		poll := time.NewTimer(streamPollInterval)
		select {
		case err := <-me:
			poll.Stop()
			if err != nil {
				return nil, err
			}
		case <-poll.C:
			o.waiters.remove(me)
		case <-ctx.Done():
			poll.Stop()
			o.waiters.remove(me)
			return nil, context.Cause(ctx)
		}
	}
}

// isConnected reports whether there is a connection.
func (o *h2Origin) isConnected() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.conns) > 0
}

// reserve returns a connection with room for a stream, which it reserves, and true; or nil and
// true if the server has no HTTP/2; or false if the caller must wait.
func (o *h2Origin) reserve() (*h2Conn, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dropEnded()
	for _, c := range o.conns {
		if c.probe == probing || c.free() == 0 {
			continue
		}
		c.reserved.Add(1)
		o.moves.Add(1)
		if c.probe == unprobed {
			c.probe = probing
			time.AfterFunc(probeTime, func() { o.probeIsSlow(c) })
		}
		return c, true
	}
	return nil, o.http1
}

// dropEnded removes connections that have ended. It closes the ones that the server ends with
// GOAWAY and does not close. The caller holds mu.
func (o *h2Origin) dropEnded() {
	o.conns = slices.DeleteFunc(o.conns, func(c *h2Conn) bool {
		if c.Err() == nil && c.isIdle() && c.Available() == 0 {
			c.Close()
		}
		return c.Err() != nil
	})
}

// send sends a request over c, which acquire returned for it.
func (o *h2Origin) send(c *h2Conn, req *http.Request) (*http.Response, error) {
	release := sync.OnceFunc(func() { c.reserved.Add(-1) })
	defer release() // if the request never became a stream
	trace := &httptrace.ClientTrace{WroteHeaders: func() { release(); o.fill(c) }}
	a := attemptOf(req.Context())
	a.conn.Store(c.tcp) // net/http does not call GotConn for a ClientConn
	a.awaitWrite()
	return c.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
}

// probeIsSlow lets other requests use c although its first response takes long.
func (o *h2Origin) probeIsSlow(c *h2Conn) {
	o.mu.Lock()
	c.probe = probed
	o.mu.Unlock()
	o.fill(c)
}

// fill wakes as many requests as c has room for, and dials for the rest.
func (o *h2Origin) fill(c *h2Conn) {
	o.wakeFor(c)
	if !o.waiters.isEmpty() {
		o.dial()
	}
}

// wakeFor wakes as many requests as c has room for, or one if c has ended, so that it dials.
// It locks only waiters, so that it may be called as a state hook.
func (o *h2Origin) wakeFor(c *h2Conn) {
	n := c.free()
	if c.Err() != nil {
		n = 1
	}
	o.waiters.wake(n, nil)
}

// finished notes the response to a request over c, nil if there is none. It reports whether
// there has ever been a response over c.
func (o *h2Origin) finished(c *h2Conn, resp *http.Response) (responded bool) {
	o.mu.Lock()
	http1 := resp != nil && resp.ProtoMajor < 2
	c.responded = c.responded || resp != nil
	switch {
	case c.responded:
		c.probe = probed
	case c.Err() != nil: // the server may have closed it because it is one too many
		o.refusedAt = time.Now()
	case c.probe == probing:
		c.probe = unprobed
	}
	if http1 {
		o.http1 = true
		o.conns = slices.DeleteFunc(o.conns, func(other *h2Conn) bool { return other == c })
	}
	responded = c.responded
	o.mu.Unlock()
	if http1 {
		c.SetStateHook(closeUnused)
		o.waiters.wake(math.MaxInt, nil)
	} else {
		o.fill(c) // because the state hook is not called for a request that has ended by now
	}
	return responded
}

// closeUnused closes an HTTP/1.1 connection when its response has been read.
func closeUnused(c *http.ClientConn) {
	if c.InFlight() == 0 {
		c.Close()
	}
}

// dial opens a connection, unless a dial is under way, an existing connection may still take
// streams, or there are enough connections.
func (o *h2Origin) dial() {
	o.mu.Lock()
	defer o.mu.Unlock()
	enough := len(o.conns) >= o.max || len(o.conns) > 0 && time.Since(o.refusedAt) < refusedTime
	hasRoom := func(c *h2Conn) bool { return c.Err() == nil && (c.probe != probed || c.Available() > 0) }
	if o.cancelDial != nil || enough || slices.ContainsFunc(o.conns, hasRoom) {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	o.cancelDial = cancel
	go func() { // ends with the dial, which closeIdle cancels if nobody waits for it
		defer cancel()
		c, err := o.connect(ctx)
		o.dialed(ctx, c, err)
	}()
}

// dialed takes over the result of a dial. If closeIdle has ended the dial, it dials again for
// the requests that wait by now.
func (o *h2Origin) dialed(ctx context.Context, c *h2Conn, err error) {
	o.mu.Lock()
	o.cancelDial = nil
	first, cancelled := len(o.conns) == 0, ctx.Err() != nil
	switch {
	case cancelled && err == nil:
		c.Close()
	case cancelled:
	case err == nil:
		o.conns = append(o.conns, c)
	default:
		o.refusedAt = time.Now()
	}
	o.mu.Unlock()
	switch {
	case cancelled:
		if !o.waiters.isEmpty() {
			o.dial()
		}
	case err == nil:
		c.SetStateHook(func(*http.ClientConn) { o.wakeFor(c) })
		o.waiters.wake(1, nil)
	case first:
		o.waiters.wake(math.MaxInt, err)
	}
}

// closeIdle closes the connections without a request, and ends a dial that no request waits for.
func (o *h2Origin) closeIdle() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cancelDial != nil && o.waiters.isEmpty() {
		o.cancelDial()
	}
	for _, c := range o.conns {
		if c.isIdle() {
			c.Close()
		}
	}
}

// isIdle reports whether the origin may be forgotten: it has no open connection, and no request
// waits for one.
func (o *h2Origin) isIdle() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.conns = slices.DeleteFunc(o.conns, func(c *h2Conn) bool { return c.Err() != nil })
	return len(o.conns) == 0 && o.cancelDial == nil && o.waiters.isEmpty()
}

// A waitList is a queue of requests that wait for a stream. Safe for concurrent use.
type waitList struct {
	mu     sync.Mutex
	queued []chan error // each with room for one value; guarded by mu
}

// add queues the caller, and returns the channel that wakes it.
func (l *waitList) add() chan error {
	me := make(chan error, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queued = append(l.queued, me)
	return me
}

// remove takes a caller that no longer waits out of the queue. If it has been woken already,
// the next one is woken instead.
func (l *waitList) remove(me chan error) {
	l.mu.Lock()
	i := slices.Index(l.queued, me)
	if i >= 0 {
		l.queued = slices.Delete(l.queued, i, i+1)
	}
	l.mu.Unlock()
	if i < 0 {
		l.wake(1, nil)
	}
}

// wake wakes the first n callers. With a nil error they look for a stream again, else they fail.
func (l *waitList) wake(n int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = min(n, len(l.queued))
	for _, w := range l.queued[:n] {
		w <- err
	}
	l.queued = slices.Delete(l.queued, 0, n)
}

func (l *waitList) isEmpty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queued) == 0
}

// An http1Fallback sends a request over HTTP/2, but uses HTTP/1.1 if the proxy is an https URL,
// or if the connection has failed because of a response. net/http would offer HTTP/2 to such a
// proxy, too, and still speak HTTP/1.1 with it if the proxy accepts (Go 1.26).
type http1Fallback struct {
	http1, http2 http.RoundTripper
	proxy        func(*http.Request) (*url.URL, error) // may be nil
}

func (f http1Fallback) RoundTrip(req *http.Request) (*http.Response, error) {
	if f.proxy != nil {
		if u, err := f.proxy(req); err == nil && u != nil && u.Scheme == "https" {
			return f.http1.RoundTrip(req)
		}
	}
	resp, err := f.http2.RoundTrip(req)
	if isBrokenHTTP2(err) && req.Context().Err() == nil {
		return f.http1.RoundTrip(req)
	}
	return resp, err
}

// isBrokenHTTP2 reports whether the connection has ended because a response broke the rules of
// HTTP/2. A header far longer than failure.MaxHeaderBytes counts as such (RFC 9113 §10.5.1), and
// also ends the other requests of the connection. Over HTTP/1.1 each request has its own
// outcome.
func isBrokenHTTP2(err error) bool {
	if err == nil {
		return false
	}
	text := err.Error() // net/http has no error value for it
	return strings.Contains(text, "connection error: COMPRESSION_ERROR") || strings.Contains(text, "connection error: PROTOCOL_ERROR")
}

// A streamError has the fields of net/http's error for a stream that the server ended, which
// errors.As converts to such a type.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string { return fmt.Sprintf("stream %d: code %d", e.StreamID, e.Code) }

// isRefusedStream reports whether the server has ended a request without processing it
// (REFUSED_STREAM, RFC 9113 §8.7).
func isRefusedStream(err error) bool {
	const refusedStream = 7 // RFC 9113 §7
	e, ok := errors.AsType[streamError](err)
	return ok && e.Code == refusedStream
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}
