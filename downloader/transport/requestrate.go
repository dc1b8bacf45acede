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
	hosts recent.Map[*hostRate] // by host and port; guarded by mu
}

// newRequestLimiter returns the limiter of the rates in o, nil if there are none.
func newRequestLimiter(o Options) *requestLimiter {
	if o.ForHost == nil && !(o.RequestRate > 0) { // NaN, too
		return nil
	}
	return &requestLimiter{rate: o.requestRate, hosts: recent.NewMap((*hostRate).isIdle)}
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

// wait waits until a request to u may go for a connection. If ctx ends first, wait returns its cause. The
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
	return r.host(u).pace.take(ctx, 1)
}

// pass waits until a request to u, which has a connection now, may be written. If ctx ends first, pass returns its cause. The
// function onQueued is called as by wait, unless the request need not wait.
func (r *requestLimiter) pass(ctx context.Context, u *url.URL, onQueued func(bool)) error {
	return r.host(u).gate.pass(ctx, onQueued)
}

// A hostRate limits the requests to a host twice. The pace lets them go for their connections, so that no more of these are opened than
// are of use. How long that takes varies: requests overtake others, and several may get their connections at once. So the
// gate spaces them again when they are written.
type hostRate struct {
	pace *Limiter
	gate *gate
}

func newHostRate(rate float64, each time.Duration) *hostRate {
	return &hostRate{newLimiter(rate, each), newGate(rate, each)}
}

// isIdle reports whether h is like a new one.
func (h *hostRate) isIdle() bool { return h.pace.isIdle() && h.gate.isIdle() }

// maxWindow is how many requests a gate remembers. A guess: 8 KiB for a host with such a rate. Half would let a rate above 500 per second
// exceed it in half a second; with double, nobody would notice.
const maxWindow = 1000

// A gate lets requests to a host be written one after the other, each the time of one request after the last one. A timer that was late is made up for,
// as in a Limiter, but there are never more requests than the rate allows in a second, or in the time of one request if that is
// longer. Safe for concurrent use.
type gate struct {
	each   time.Duration // the time of one request
	window time.Duration // in which at most len(passed) requests pass
	turn   chan struct{} // holds a mark while the first caller waits; the other callers wait to put theirs

	mu     sync.Mutex
	spent  time.Time   // the rate is used up until this time; guarded by mu
	passed []time.Time // when the last requests passed; guarded by mu
	oldest int         // of passed; guarded by mu
}

// newGate returns a gate for a rate of requests per second. 0 means no limit.
func newGate(rate float64, each time.Duration) *gate {
	n := int(min(max(1, rate), maxWindow))
	return &gate{each: each, window: time.Duration(n) * each, turn: make(chan struct{}, 1), passed: make([]time.Time, n)}
}

func (g *gate) pass(ctx context.Context, onQueued func(bool)) error {
	if g.each == 0 {
		return nil
	}
	queued := false
	wait := func(on bool) {
		if on != queued && onQueued != nil {
			onQueued(on)
		}
		queued = on
	}
	defer wait(false)
	select {
	case g.turn <- struct{}{}:
	default:
		wait(true)
		select {
		case g.turn <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	defer func() { <-g.turn }()
	asked := time.Now()
	for {
		d := g.try(asked)
		if d <= 0 {
			return nil
		}
		wait(true)
		due := time.NewTimer(d)
		select {
		case <-due.C:
		case <-ctx.Done():
			due.Stop()
			return context.Cause(ctx)
		}
	}
}

// try lets a request pass whose turn it is since asked, or returns how long it must wait.
func (g *gate) try(asked time.Time) (wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	due := later(later(g.spent, asked.Add(-g.each)).Add(g.each), g.passed[g.oldest].Add(g.window))
	now := time.Now()
	if wait = due.Sub(now); wait > 0 {
		return wait
	}
	g.spent = later(due, now.Add(-maxLate))
	g.passed[g.oldest] = now
	g.oldest = (g.oldest + 1) % len(g.passed)
	return 0
}

// isIdle reports whether the gate is like a new one.
func (g *gate) isIdle() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	last := g.passed[(g.oldest+len(g.passed)-1)%len(g.passed)]
	return len(g.turn) == 0 && time.Since(last) > g.window
}

// host returns the rate of the host of u. One request may follow a pause at once, so the burst of its pace
// is the time of one request.
func (r *requestLimiter) host(u *url.URL) *hostRate {
	r.mu.Lock()
	defer r.mu.Unlock()
	host := hostPort(u)
	return r.hosts.Get(host, func() *hostRate { return newHostRate(r.rate(host), r.time(host, 1)) })
}
