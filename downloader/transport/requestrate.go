package transport

import (
	"context"
	"net/url"
	"sync"
	"time"

	"pawl/downloader/recent"
)

// A requestLimiter limits the requests per second to each host. They are evenly spaced: there
// is no burst, not even after a pause. Safe for concurrent use. A nil requestLimiter limits
// nothing.
type requestLimiter struct {
	rate func(hostPort string) float64 // requests per second, 0 for no limit

	mu    sync.Mutex
	hosts recent.Map[*Limiter] // by host and port; guarded by mu
}

// newRequestLimiter returns the limiter of the rates in o, nil if there are none.
func newRequestLimiter(o Options) *requestLimiter {
	if o.ForHost == nil && !(o.RequestRate > 0) { // NaN, too
		return nil
	}
	return &requestLimiter{rate: o.requestRate, hosts: recent.NewMap((*Limiter).isIdle)}
}

// time returns how long n requests to a host take, 0 without a limit.
func (r *requestLimiter) time(hostPort string, n int) time.Duration {
	if r == nil {
		return 0
	}
	rate := r.rate(hostPort)
	if rate == 0 {
		return 0
	}
	return newLimiter(rate, 0).timeLocked(n)
}

// wait waits until a request to u may be sent. If ctx ends first, wait returns its cause. The
// function onQueued, unless it is nil, is called with true before the wait and with false after
// it, because the server is not slow meanwhile.
func (r *requestLimiter) wait(ctx context.Context, u *url.URL, onQueued func(bool)) error {
	if r == nil {
		return nil
	}
	if onQueued != nil {
		onQueued(true)
		defer onQueued(false)
	}
	return r.host(u).take(ctx, 1)
}

// turn returns the turn of a request to u that wait has just ended for. It is nil without a limit.
func (r *requestLimiter) turn(u *url.URL) *turn {
	if d := r.time(hostPort(u), 1); d > 0 {
		return &turn{from: time.Now(), lasts: d}
	}
	return nil
}

// A turn is the time at which a request may be sent. It is over when the turn of the next request begins: otherwise,
// requests that wait for connections would be sent all at once as soon as there are some. The nil *turn never ends.
type turn struct {
	from  time.Time
	lasts time.Duration

	used   bool // owned by the goroutine of the request
	mu     sync.Mutex
	slotAt time.Time // when a connection of its own could be opened for the request; guarded by mu
}

// hasSlot notes that a connection is opened for the request, which may take longer than the turn.
func (t *turn) hasSlot() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.slotAt = time.Now()
}

// isLate reports whether the turn is over, or used, now that the request has a connection, another one's or a new one.
func (t *turn) isLate(reused bool) bool {
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.slotAt // zero if nothing limits connections
	if reused {
		at = time.Now()
	}
	return t.used || at.Sub(t.from) > t.lasts
}

// use notes that the request is sent. If its connection turns out to be closed, it needs another turn.
func (t *turn) use() { t.used = true }

// host returns the limiter of the host of u. One request may follow a pause at once, so its
// burst is the time of one request.
func (r *requestLimiter) host(u *url.URL) *Limiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	host := hostPort(u)
	return r.hosts.Get(host, func() *Limiter { return newLimiter(r.rate(host), r.time(host, 1)) })
}
