package transport

import (
	"cmp"
	"context"
	"io"
	"math"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync"
	"time"

	"pawl/downloader/failure"
)

var (
	// errNoResponse ends a request whose response header does not arrive in time.
	errNoResponse = failure.New(failure.ErrSilent, "no response in time")
	// errStalled ends a body whose next byte does not arrive in time.
	errStalled = failure.New(failure.ErrSilent, "no byte arrived in time")
	// errTrickle ends a body that arrives at less than the minimum rate.
	errTrickle = failure.New(failure.ErrTrickle, "it arrives more slowly than the minimum rate")
)

// A watchdog ends a request when its response header, or the next byte of its body, does not
// arrive within the timeout. There is no deadline for the whole transfer, because a large file
// may take days.
//
// The watchdog first makes the request wait for the request rate, also if the request is a
// redirect or a retry. Then one clock runs until the response header is there, whatever the
// request waits for: a name, a connection, an HTTP/2 stream. It pauses while a request that has a connection waits
// for the rate, because others have overtaken it. The clock allows the time to
// connect and the timeout. It starts again with the timeout alone when the request has been
// sent, and it starts again when a queue of ours moves in which the request waits.
//
// A watchdog has no method but RoundTrip. In particular it has no CloseIdleConnections, so that
// a client (go-retryablehttp does so after a failure) cannot close the idle connections of all
// downloads.
type watchdog struct {
	next           http.RoundTripper
	requests       *requestLimiter // nil without a limit
	timeout        time.Duration   // of a request whose RequestInfo has none
	connectTimeout time.Duration   // allowed in addition to the timeout until the request is sent
	minRate        minRate
	fields         []string // of the response header, to keep; empty for all
}

// minRate is the rate below which a body is ended.
type minRate struct {
	perSecond int64         // in bytes; 0 for no minimum
	window    time.Duration // that the rate is measured over; 0 for twice the timeout, because a pause within the timeout is allowed
}

func (d watchdog) RoundTrip(req *http.Request) (*http.Response, error) {
	info := infoOf(req.Context())
	if info == nil {
		info = new(RequestInfo)
	}
	if err := d.requests.wait(req.Context(), req.URL, info.OnQueued); err != nil {
		return nil, err
	}
	timeout := d.timeout
	if info.Timeout != nil {
		timeout = info.Timeout()
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	clock := &headerTimer{timer: time.AfterFunc(d.connectTimeout+timeout, func() { cancel(errNoResponse) })}
	a := &attempt{url: req.URL, notSilent: func(connected bool) {
		if connected {
			clock.restart(timeout)
			return
		}
		clock.restart(d.connectTimeout + timeout)
	}}
	a.onSlot = func() { // the dial may outlive the request
		if clock.isRunning() && info.OnSlot != nil {
			info.OnSlot()
		}
	}
	if d.requests != nil {
		a.mayWrite = func() {
			clock.restart(math.MaxInt64)
			if d.requests.pass(ctx, req.URL, info.OnQueued) == nil { // else ctx has ended, which ends the request
				clock.restart(d.connectTimeout + timeout)
			}
		}
	}
	ctx = httptrace.WithClientTrace(withAttempt(ctx, a), a.trace(info, func() { clock.restart(timeout) }))
	resp, err := d.next.RoundTrip(req.WithContext(ctx))
	clock.end()
	if err != nil {
		if context.Cause(ctx) == errNoResponse {
			err = errNoResponse
		}
		cancel(err)
		return nil, err
	}
	b := &watchedBody{body: resp.Body, timeout: timeout, ctx: ctx, cancel: cancel, minRate: d.minRate}
	b.minRate.window = cmp.Or(b.minRate.window, 2*timeout)
	b.timer = time.AfterFunc(math.MaxInt64, func() { cancel(errStalled) })
	b.timer.Stop() // until Read resets it
	if c := a.conn.Load(); c != nil && resp.TLS != nil && !IsFramed(resp) {
		b.mayBeCut = c.ended.Load
	}
	resp.Body, resp.Header = b, pickFields(resp.Header, d.fields)
	return resp, nil
}

// pickFields returns the fields of h with these names, all of h if there are no names. A header of
// failure.MaxHeaderBytes may consist of so many short fields that they take 5 MiB, which must
// not stay in memory as long as the body.
func pickFields(h http.Header, names []string) http.Header {
	if len(names) == 0 {
		return h
	}
	few := make(http.Header)
	for _, name := range names {
		if v := h[name]; len(v) > 0 {
			few[name] = slices.Clone(v)
		}
	}
	return few
}

// A headerTimer limits the wait for a response header. It may be restarted by another
// goroutine, also after its end, because the dial of a request may outlive the request.
type headerTimer struct {
	timer *time.Timer

	mu    sync.Mutex
	ended bool // guarded by mu
}

func (t *headerTimer) restart(timeout time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		t.timer.Reset(timeout)
	}
}

func (t *headerTimer) isRunning() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.ended
}

func (t *headerTimer) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.timer.Stop()
}

// A watchedBody is a body under the watchdog. Its clocks run only during Read, so the reader
// may pause for as long as it likes.
type watchedBody struct {
	body     io.ReadCloser
	timeout  time.Duration
	timer    *time.Timer
	ctx      context.Context
	cancel   context.CancelCauseFunc
	mayBeCut func() bool // reports whether the end of the body may be a cut; nil if it cannot be

	minRate minRate
	waited  time.Duration // by Read since the rate was last measured
	arrived int64         // bytes since then
}

func (b *watchedBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.timeout)
	begun := time.Now()
	n, err := b.body.Read(p)
	b.timer.Stop()
	b.waited, b.arrived = b.waited+time.Since(begun), b.arrived+int64(n)
	switch {
	case err == nil && b.trickles():
		err = errTrickle
	case err == io.EOF && b.mayBeCut != nil && b.mayBeCut():
		err = failure.ErrCut
	case err != nil && err != io.EOF && context.Cause(b.ctx) == errStalled:
		err = errStalled
	}
	return n, err
}

// trickles reports whether the bytes have arrived too slowly. At the end of a window it begins
// the next one.
func (b *watchedBody) trickles() bool {
	if b.minRate.perSecond <= 0 || b.waited < b.minRate.window {
		return false
	}
	slow := float64(b.arrived) < float64(b.minRate.perSecond)*b.waited.Seconds()
	b.waited, b.arrived = 0, 0
	return slow
}

func (b *watchedBody) Close() error {
	b.timer.Stop()
	err := b.body.Close()
	b.cancel(nil)
	return err
}

// IsFramed reports whether the response marks the end of its body: by a length, by chunks, or
// by an HTTP/2 frame. Otherwise the body ends with the connection (RFC 9112 §6.3), which looks
// the same as a cut.
func IsFramed(resp *http.Response) bool {
	return resp.ProtoMajor != 1 || resp.ContentLength >= 0 || slices.Contains(resp.TransferEncoding, "chunked") ||
		resp.StatusCode == http.StatusPartialContent // Content-Range has the length
}
