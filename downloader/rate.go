package downloader

import (
	"context"
	"io"
	"math"
	"sync"
	"time"
)

const (
	burstTime = 100 * time.Millisecond // whose bytes may come at once after a pause
	lateBy    = 100 * time.Millisecond // how much too late a wait may end without loss for the rate
	readTime  = 5 * time.Millisecond   // whose bytes one read takes
	leastRead = 256                    // bytes of one read, however low the rate
	slowRate  = 1 << 20                // bytes per second; under a lower limit it may be us who are slow
)

// A bucket lets a rate of something through, bytes or requests, to each in the
// order in which they asked. Safe for concurrent use.
type bucket struct {
	turn chan struct{} // holds the mark of the one whose wait is timed; all others wait to put theirs

	mu      sync.Mutex
	rate    float64       // per second, 0 for no limit; guarded by mu
	burst   time.Duration // what this time brings may be taken at once after a pause; guarded by mu
	spent   time.Time     // the rate is given away up to this time; guarded by mu
	changed chan struct{} // closed and replaced when rate changes; guarded by mu
}

// newBucket returns a bucket that is full.
func newBucket(rate float64, burst time.Duration) *bucket {
	return &bucket{turn: make(chan struct{}, 1), rate: rate, burst: burst, changed: make(chan struct{})}
}

// full reports whether the bucket is as a new one: nobody waits, and nothing is given away.
func (b *bucket) full() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.turn) == 0 && time.Since(b.spent) > b.burst
}

// setRate makes rate the one from now on, also for those who wait.
func (b *bucket) setRate(rate float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rate = rate
	close(b.changed)
	b.changed = make(chan struct{})
}

// take waits until n are due, or for the end of ctx, whose cause it returns.
// Then it has taken nothing.
func (b *bucket) take(ctx context.Context, n int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	came := time.Now()
	select {
	case b.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-b.turn }()
	for {
		wait, changed := b.try(n, came)
		if wait <= 0 {
			return nil
		}
		due := time.NewTimer(wait)
		select {
		case <-due.C:
		case <-changed:
		case <-ctx.Done():
			due.Stop()
			return context.Cause(ctx)
		}
		due.Stop()
	}
}

// try takes n for one who has waited since came, if they are due; otherwise it
// returns how long they are not, and what is closed if that changes. What a wait
// was too long is not lost, or many short ones would add up.
func (b *bucket) try(n int, came time.Time) (wait time.Duration, changed <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rate <= 0 {
		return 0, nil
	}
	now := time.Now()
	due := later(b.spent, came.Add(-b.burst)).Add(b.time(n))
	if wait = due.Sub(now); wait > 0 {
		return wait, b.changed
	}
	b.spent = later(due, now.Add(-lateBy))
	return 0, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// giveBack returns n of what was taken.
func (b *bucket) giveBack(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rate > 0 {
		b.spent = b.spent.Add(-b.time(n))
	}
}

// time returns how long the rate needs for n, with mu held.
func (b *bucket) time(n int) time.Duration {
	return time.Duration(min(float64(n)/b.rate*float64(time.Second), math.MaxInt64/4))
}

// limit returns the rate as a whole number, 0 for none.
func (b *bucket) limit() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return int64(min(b.rate, 1<<62))
}

// SetLimitRate makes bytesPerSecond the limit of all downloads together from now
// on, also for connections that wait under the one before. 0 is no limit. Safe
// for concurrent use.
func (d *Downloader) SetLimitRate(bytesPerSecond int64) {
	d.bytes.setRate(float64(max(0, bytesPerSecond)))
}

// slowed reports whether the limit is so low that it may be us who are slow.
func (d *Downloader) slowed() bool {
	limit := d.bytes.limit()
	return limit > 0 && limit < slowRate
}

// readMost returns how many bytes one read may take.
func (d *Downloader) readMost() int {
	limit := d.bytes.limit()
	if limit == 0 {
		return bufferSize
	}
	return int(max(leastRead, min(float64(limit)*readTime.Seconds(), bufferSize)))
}

// drainMost returns how many unwanted bytes are worth reading to keep a connection: so
// many, or, under a limit, no more than come in an instant.
func (d *Downloader) drainMost(most int64) int64 {
	if limit := d.bytes.limit(); limit > 0 {
		most = int64(min(float64(limit)*burstTime.Seconds(), float64(most)))
	}
	return most
}

// read reads once from body into p, which must not be empty, when that is due.
// What of p is due is waited for before and not behind the read, so that however
// many connections there are, none has read what the rate does not give.
func (d *Downloader) read(ctx context.Context, body io.Reader, p []byte) (int, error) {
	p = p[:min(len(p), d.readMost())]
	if err := d.bytes.take(ctx, len(p)); err != nil {
		return 0, err
	}
	n, err := body.Read(p)
	if n < len(p) {
		d.bytes.giveBack(len(p) - n)
	}
	return n, err
}
