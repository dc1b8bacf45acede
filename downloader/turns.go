package downloader

import (
	"context"
	"net/url"
	"strings"
	"sync"
	"time"

	"pawl/downloader/recent"
)

// turns lets so many requests a second go to each host, one at a time and never
// two at once after a pause. Safe for concurrent use; nil is without a limit.
type turns struct {
	rate float64 // requests per second

	mu    sync.Mutex
	hosts recent.Map[*bucket] // by host and port as in the URL; guarded by mu
}

// newTurns returns the turns of a rate, nil for none.
func newTurns(rate float64) *turns {
	if !(rate > 0) {
		return nil
	}
	return &turns{rate: rate, hosts: recent.NewMap((*bucket).full)}
}

// span returns how long n requests to one host take, 0 without a limit.
func (t *turns) span(n int) time.Duration {
	if t == nil {
		return 0
	}
	return (&bucket{rate: t.rate}).time(n)
}

// queuedKey is that of the context value, a func(bool), that is told when a
// request begins to wait for its turn and when it has waited: no server is slow then.
type queuedKey struct{}

// wait waits for the turn of a request to u, or for the end of ctx, whose cause
// it returns.
func (t *turns) wait(ctx context.Context, u *url.URL) error {
	if t == nil {
		return nil
	}
	if queued, ok := ctx.Value(queuedKey{}).(func(bool)); ok {
		queued(true)
		defer queued(false)
	}
	return t.of(u).take(ctx, 1)
}

// of returns the bucket of the host of u.
func (t *turns) of(u *url.URL) *bucket {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.hosts.Get(strings.ToLower(u.Host), func() *bucket { return newBucket(t.rate, t.span(1)) })
}
