package downloader

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"pawl/downloader/failure"
)

const (
	// bytesPerTry is how many received bytes pay for one failure. A server that closes the
	// connection after every 16 KiB is asked until the file is complete; a server that sends a single
	// byte each time uses up the tries. At half, such a server may be asked twice as often
	// before the download ends; at double, a connection that breaks every 20 KiB is given up.
	bytesPerTry = 16 << 10
	// maxSilenceTimeout limits the timeout that grows with silent failures. A server may build
	// an archive for some minutes before it sends the first byte. A guess; an hour would hide a
	// dead server, and half may be too short for such an archive.
	maxSilenceTimeout = 15 * time.Minute
)

// A retryBudget counts the consecutive failures of one download, and decides whether there is
// another try, and when. Received bytes refill it: one failure for each bytesPerTry. Safe for
// concurrent use.
type retryBudget struct {
	tries            int // consecutive failures that end the download; 0 for no limit
	minWait, maxWait time.Duration

	mu        sync.Mutex
	failures  int           // guarded by mu
	credit    int64         // received bytes that have not paid for a failure yet; guarded by mu
	trickles  int           // consecutive failures by a trickle, which no bytes pay for; guarded by mu
	exhausted bool          // the last failure was the last try; guarded by mu
	timeout   time.Duration // of the only connection, for a response and for each next byte; guarded by mu
}

func newRetryBudget(o Options) *retryBudget {
	return &retryBudget{tries: o.Retry.Tries, minWait: o.Retry.Wait, maxWait: o.Retry.MaxWait, timeout: o.Timeouts.Stall}
}

// silenceTimeout returns how long the only connection of the download may be silent.
func (b *retryBudget) silenceTimeout() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.timeout
}

// exhaustedAfter returns the number of failures that used up the budget, 0 if it is not.
func (b *retryBudget) exhaustedAfter() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.exhausted {
		return max(b.failures, b.trickles)
	}
	return 0
}

// failed counts a failure. limit consecutive ones end the download; 0 means no limit. It
// returns the count, the time to wait before the next try, and whether there may be one. After
// silence, the timeout of the next try is twice as long.
func (b *retryBudget) failed(err error, limit int) (n int, wait time.Duration, again bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures++
	if errors.Is(err, failure.ErrSilent) {
		b.timeout = max(b.timeout, min(2*b.timeout, maxSilenceTimeout))
	}
	if b.trickles++; !errors.Is(err, failure.ErrTrickle) {
		b.trickles = 0
	}
	b.exhausted = limit > 0 && max(b.failures, b.trickles) >= limit
	wait = b.maxWait
	if shift := min(b.failures-1, 62); b.minWait < b.maxWait>>shift {
		wait = b.minWait << shift
	}
	wait = wait*3/4 + rand.N(wait/2+1) // jitter, so that many connections do not return in step
	return b.failures, wait, !b.exhausted
}

// received refills the budget by n bytes of the file that arrived for the first time.
func (b *retryBudget) received(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.credit += n
	b.failures = int(max(0, int64(b.failures)-b.credit/bytesPerTry))
	b.credit %= bytesPerTry
}

// sleep waits for d, or until ctx ends. It returns the cause of that end, or nil.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
