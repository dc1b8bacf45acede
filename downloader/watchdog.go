package downloader

import (
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pawl/downloader/failure"
	"pawl/downloader/response"
)

// watchdog ends a request when no response header, or no next byte of the body, comes
// for the timeout, in place of a deadline on the whole transfer. A request may have a
// timeout of its own: see timeoutKey. One clock runs from the moment the request has its
// turn, whatever it waits for until the header is there: a name, a connection, a stream of
// HTTP/2. Before, the watchdog lets the request wait for its turn, also if that is a
// redirect or another try. It has RoundTrip alone, so that nobody closes the idle
// connections of all downloads through it.
type watchdog struct {
	next    http.RoundTripper
	timeout time.Duration
	turns   *turns
	connect time.Duration // in addition to timeout, until the request is sent
	least   minRate       // of a body
}

// minRate is a rate below which a body is given up.
type minRate struct {
	bytes int64         // per second; 0 for none
	span  time.Duration // of which the rate is the mean; 0 for twice the timeout, as a pause that is allowed is no trickle
}

var (
	// errNoAnswer ends a request whose response header does not arrive in time.
	errNoAnswer = failure.New(failure.ErrSilent, "no response in time")
	// errStalled ends a response when the next byte of its body does not arrive in time.
	errStalled = failure.New(failure.ErrSilent, "no byte arrived in time")
	// errTrickle ends a response whose body arrives at less than the minimum rate.
	errTrickle = failure.New(failure.ErrTrickle, "it arrives more slowly than the minimum rate")
)

// waitKey is that of the context value, a func(connected bool), that starts the clock of a
// request again.
type waitKey struct{}

// waitsInTurn notes that a request waits in a queue of our own, which has just moved, so that
// the server is not silent. connected reports whether there is a connection to it.
func waitsInTurn(ctx context.Context, connected bool) {
	if restart, ok := ctx.Value(waitKey{}).(func(bool)); ok {
		restart(connected)
	}
}

// timeoutKey is that of the context value, a func() time.Duration, that returns the
// timeout of a request each time that it is sent.
type timeoutKey struct{}

func (d watchdog) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := d.turns.wait(req.Context(), req.URL); err != nil {
		return nil, err
	}
	timeout := d.timeout
	if own, ok := req.Context().Value(timeoutKey{}).(func() time.Duration); ok {
		timeout = own()
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	conn := new(connHolder)
	ctx = context.WithValue(ctx, connKey{}, conn)
	wait := &headerTimer{timer: time.AfterFunc(time.Hour, func() { cancel(errNoAnswer) })}
	restart := func(connected bool) {
		if connected {
			wait.start(timeout)
			return
		}
		wait.start(d.connect + timeout)
	}
	restart(false)
	ctx = context.WithValue(ctx, waitKey{}, restart)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      func(info httptrace.GotConnInfo) { conn.Store(endConnOf(info.Conn)) },
		WroteRequest: func(httptrace.WroteRequestInfo) { wait.start(timeout) },
	})
	resp, err := d.next.RoundTrip(req.WithContext(ctx))
	wait.end()
	if err != nil {
		if context.Cause(ctx) == errNoAnswer {
			err = errNoAnswer
		}
		cancel(err)
		return nil, err
	}
	b := &watchedBody{body: resp.Body, timeout: timeout, ctx: ctx, cancel: cancel, least: d.least}
	b.least.span = cmp.Or(b.least.span, 2*timeout)
	b.timer = time.AfterFunc(time.Hour, func() { cancel(errStalled) })
	b.timer.Stop()
	if c := conn.Load(); c != nil && resp.TLS != nil && !isFramed(resp) {
		b.cut = c.ended.Load
	}
	resp.Body, resp.Header = b, response.UsedHeader(resp.Header)
	return resp, nil
}

// A headerTimer limits the wait for a response header. Its owner may start it from
// another goroutine, also after its end.
type headerTimer struct {
	timer *time.Timer

	mu    sync.Mutex
	ended bool
}

func (t *headerTimer) start(timeout time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		t.timer.Reset(timeout)
	}
}

func (t *headerTimer) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.timer.Stop()
}

// watchedBody is a body under the watchdog. Its clocks run only while a Read
// waits, so a reader may take its time.
type watchedBody struct {
	body    io.ReadCloser
	timeout time.Duration
	timer   *time.Timer
	ctx     context.Context
	cancel  context.CancelCauseFunc
	cut     func() bool // reports whether the end of the body may be a cut; nil if it cannot be

	least  minRate
	waited time.Duration // by Reads, since the rate was last measured
	came   int64         // bytes since then
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.timeout)
	begun := time.Now()
	n, err := b.body.Read(p)
	b.timer.Stop()
	b.waited, b.came = b.waited+time.Since(begun), b.came+int64(n)
	switch {
	case err == nil && b.trickles():
		err = errTrickle
	case err == io.EOF && b.cut != nil && b.cut():
		err = failure.ErrCut
	case err != nil && err != io.EOF && context.Cause(b.ctx) == errStalled:
		err = errStalled
	}
	return n, err
}

// trickles reports whether the bytes have come too slowly. It begins a new measurement when
// the last one has ended.
func (b *watchedBody) trickles() bool {
	if b.least.bytes <= 0 || b.waited < b.least.span {
		return false
	}
	slow := float64(b.came) < float64(b.least.bytes)*b.waited.Seconds()
	b.waited, b.came = 0, 0
	return slow
}

func (b *watchedBody) Close() error {
	b.timer.Stop()
	err := b.body.Close()
	b.cancel(nil)
	return err
}

// isFramed reports whether the response says where its body ends: by its length, by
// chunks, or by the framing of HTTP/2. Else the body ends with the connection (RFC 9112
// §6.3), which looks the same as a cut.
func isFramed(resp *http.Response) bool {
	return resp.ProtoMajor != 1 || resp.ContentLength >= 0 || slices.Contains(resp.TransferEncoding, "chunked") ||
		resp.StatusCode == http.StatusPartialContent // Content-Range has the length
}

// An endConn is a connection that knows whether the peer has ended it. crypto/tls
// reports an end without close_notify as io.EOF, as it does one with it; but after the
// alert it reads no further, and so does not meet the end of the connection.
type endConn struct {
	net.Conn
	ended atomic.Bool
}

func (c *endConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == io.EOF {
		c.ended.Store(true)
	}
	return n, err
}

// connKey is that of the context value, a *connHolder, that takes the connection of a
// request, or the one that is dialed.
type connKey struct{}

// dialKey is that of the context value of a dial that no request is for, a *connHolder. A
// dial for a request may end when that has another connection already.
type dialKey struct{}

// A connHolder holds a connection, nil if it is not known.
type connHolder struct{ atomic.Pointer[endConn] }

// watchEnd makes the connections that dial opens endConns.
func watchEnd(dial func(ctx context.Context, network, addr string) (net.Conn, error)) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		conn := &endConn{Conn: c}
		if h, ok := ctx.Value(dialKey{}).(*connHolder); ok {
			h.Store(conn)
		}
		return conn, nil
	}
}

// endConnOf returns the connection beneath c, nil if it is none of watchEnd. The proxy of a
// tunnel may have a TLS connection in between.
func endConnOf(c net.Conn) *endConn {
	for {
		switch conn := c.(type) {
		case *tls.Conn:
			c = conn.NetConn()
		case *endConn:
			return conn
		default:
			return nil
		}
	}
}
