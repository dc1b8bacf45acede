package transport

import (
	"context"
	"math"
	"sync"
	"time"
)

const (
	// burstTime limits a burst after a pause: the bytes that the rate allows in this time may
	// arrive at once. A guess: double lets the rate be exceeded visibly in a measurement of one
	// second; at half, a connection that misses its turn by the scheduler's 10 ms or more loses
	// part of the rate.
	burstTime = 100 * time.Millisecond
	// maxLate is how late a wait may end without loss for the rate. A guess: timers of a loaded
	// machine are late by some 10 ms; half may lose rate there, double only adds to the burst.
	maxLate = 100 * time.Millisecond
	// readTime limits one read: the bytes that the rate allows in this time. A guess: half
	// doubles the system calls; double lets one of 16 connections make the others wait for
	// 160 ms.
	readTime = 5 * time.Millisecond
	// minRead is the least number of bytes of one read, however low the rate is. A guess: half
	// doubles the cost per byte; double is a wait of half a second at 1 KiB/s.
	minRead = 256
	// lowRate is in bytes per second. Below such a limit, a connection may be slow because of
	// the limit. A guess: 16 connections then have 64 KiB/s each. At half, healthy connections
	// may be ended as slow; at double, a hung connection may keep its range for longer.
	lowRate = 1 << 20
)

// A Limiter is a token bucket. It lets a rate of something pass, bytes or requests, in the order
// in which the callers asked. Safe for concurrent use.
type Limiter struct {
	turn chan struct{} // holds a mark while the first caller waits for time; the other callers wait to put theirs

	mu      sync.Mutex
	rate    float64       // per second; 0 for no limit; guarded by mu
	burst   time.Duration // after a pause, as much may pass at once as the rate allows in this time; guarded by mu
	spent   time.Time     // the rate is used up until this time; guarded by mu
	changed chan struct{} // closed and replaced when rate changes; guarded by mu
}

// newLimiter returns a limiter that nothing has passed yet.
func newLimiter(rate float64, burst time.Duration) *Limiter {
	return &Limiter{turn: make(chan struct{}, 1), rate: rate, burst: burst, changed: make(chan struct{})}
}

// NewByteLimiter returns a Limiter of bytes per second for Pace.With; 0 means no limit.
func NewByteLimiter(perSecond int64) *Limiter {
	return newLimiter(float64(max(0, perSecond)), burstTime)
}

// SetByteRate changes the limit to bytes per second, also for reads that wait under the previous limit. 0
// means no limit.
func (l *Limiter) SetByteRate(perSecond int64) { l.setRate(float64(max(0, perSecond))) }

// isIdle reports whether the limiter is like a new one: nobody waits, and nothing is used up.
func (l *Limiter) isIdle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.turn) == 0 && time.Since(l.spent) > l.burst
}

// setRate changes the rate, also for callers that wait.
func (l *Limiter) setRate(rate float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate = rate
	close(l.changed)
	l.changed = make(chan struct{})
}

// take waits until n may pass. If ctx ends first, take returns its cause and has taken nothing.
func (l *Limiter) take(ctx context.Context, n int) error {
	_, err := l.takeMost(ctx, func() int { return n })
	return err
}

// takeMost is take for as many as most returns, which it calls again when the rate has changed. It returns
// how many it has taken.
func (l *Limiter) takeMost(ctx context.Context, most func() int) (n int, err error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	asked := time.Now()
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	defer func() { <-l.turn }()
	for {
		n = most()
		wait, changed := l.try(n, asked)
		if wait <= 0 {
			return n, nil
		}
		due := time.NewTimer(wait)
		select {
		case <-due.C:
		case <-changed:
		case <-ctx.Done():
			due.Stop()
			return 0, context.Cause(ctx)
		}
		due.Stop()
	}
}

// try takes n for a caller that has waited since asked. If n are not due yet, it returns how
// long they are not, and a channel that is closed when the rate changes. A wait that ended up
// to maxLate too late is credited, because many short waits would otherwise add up to a lower
// rate.
func (l *Limiter) try(n int, asked time.Time) (wait time.Duration, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rate <= 0 {
		return 0, nil
	}
	now := time.Now()
	due := later(l.spent, asked.Add(-l.burst)).Add(l.timeLocked(n))
	if wait = due.Sub(now); wait > 0 {
		return wait, l.changed
	}
	l.spent = later(due, now.Add(-maxLate))
	return 0, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// giveBack returns n that were taken and not used.
func (l *Limiter) giveBack(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rate > 0 {
		l.spent = l.spent.Add(-l.timeLocked(n))
	}
}

// timeLocked returns how long the rate takes for n. The caller holds mu.
func (l *Limiter) timeLocked(n int) time.Duration {
	return time.Duration(min(float64(n)/l.rate*float64(time.Second), math.MaxInt64/4))
}

// limit returns the rate as a whole number, 0 for no limit.
func (l *Limiter) limit() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(min(l.rate, 1<<62))
}
