package transport

import (
	"context"
	"io"
	"net/url"
	"sync"
)

// A Pace is the limits of bytes per second that a body keeps to, all at the same time: of all bodies,
// of its host, and of a group of bodies, for example of one download (With). The zero Pace has no limit. Safe for
// concurrent use.
type Pace []*Limiter

// With returns p with one more limit. It comes first, so that a body that waits for it takes nothing
// from the bodies that only have the limits of p.
func (p Pace) With(l *Limiter) Pace { return append(Pace{l}, p...) }

// ByteRate returns the lowest limit in bytes per second, 0 for no limit.
func (p Pace) ByteRate() (lowest int64) {
	for _, l := range p {
		if rate := l.limit(); rate > 0 && (lowest == 0 || rate < lowest) {
			lowest = rate
		}
	}
	return lowest
}

// IsRateLow reports whether the limit is so low that a slow connection may be slow because of the
// limit.
func (p Pace) IsRateLow() bool {
	limit := p.ByteRate()
	return limit > 0 && limit < lowRate
}

// Read reads once from body into b, which must not be empty, when all limits allow it. It waits
// before it reads, so that the bytes in the buffers of many connections do not exceed a limit. If
// ctx ends first, Read returns its cause and reads nothing.
func (p Pace) Read(ctx context.Context, body io.Reader, b []byte) (int, error) {
	most := func() int { return p.maxRead(len(b)) }
	for i, l := range p {
		n, err := l.takeMost(ctx, most)
		if err != nil {
			p[:i].giveBack(len(b))
			return 0, err
		}
		if i > 0 {
			p[:i].giveBack(len(b) - n) // a limit has become lower meanwhile
		}
		b = b[:n]
	}
	n, err := body.Read(b)
	if n < len(b) {
		p.giveBack(len(b) - n)
	}
	return n, err
}

// giveBack returns n bytes that were taken and not read.
func (p Pace) giveBack(n int) {
	for _, l := range p {
		l.giveBack(n)
	}
}

// maxRead returns how many of n bytes one read may take.
func (p Pace) maxRead(n int) int {
	limit := p.ByteRate()
	if limit == 0 {
		return n
	}
	return int(min(float64(n), max(minRead, float64(limit)*readTime.Seconds())))
}

// MaxDrain returns how many of n unwanted bytes are worth reading to keep a connection. Under
// a limit, these are the bytes of a short moment.
func (p Pace) MaxDrain(n int64) int64 {
	if limit := p.ByteRate(); limit > 0 {
		n = int64(min(float64(limit)*burstTime.Seconds(), float64(n)))
	}
	return n
}

// SetByteRate changes the limit of all bodies together to bytes per second, also for reads that
// wait under the previous limit. 0 means no limit.
func (t *Transport) SetByteRate(perSecond int64) { t.Pace[0].SetByteRate(perSecond) }

// PaceOf returns the limits of the bodies from the host of u. Its own limit comes first, so that
// a body that waits for it takes nothing from the other hosts.
func (t *Transport) PaceOf(u *url.URL) Pace {
	if own := t.options.forHost(hostPort(u)); own.ByteRates != "" {
		return Pace{t.hostPaces.limiter(own), t.Pace[0]}
	}
	return t.Pace
}

// SetHostByteRate changes the limit of the hosts with these ByteRates, as SetByteRate does.
func (t *Transport) SetHostByteRate(byteRates string, perSecond int64) {
	t.hostPaces.limiter(HostOptions{ByteRates: byteRates}).SetByteRate(perSecond)
}

// hostPaces has the limiters of hosts with a limit of their own. Safe for concurrent use.
type hostPaces struct {
	mu       sync.Mutex
	limiters map[string]*Limiter // by HostOptions.ByteRates; guarded by mu
}

// limiter returns the limiter of a host.
func (h *hostPaces) limiter(o HostOptions) *Limiter {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.limiters[o.ByteRates]
	if l == nil {
		if h.limiters == nil {
			h.limiters = make(map[string]*Limiter)
		}
		l = NewByteLimiter(o.ByteRate)
		h.limiters[o.ByteRates] = l
	}
	return l
}
