package downloader

import (
	"context"
	"sync"
	"time"

	"pawl/downloader/transport"
	"pawl/store"
)

const (
	firstPenalty = 5 * time.Second // after a refused connection, before the next try to open one
	maxPenalty   = 5 * time.Minute
)

// A host is what all downloads of a Downloader share about one server: how many
// connections are open to it, how many it lets us have, and when it wants to
// be asked again. Safe for concurrent use.
type host struct {
	name     string
	origin   string
	addr     address // of the host, or of its proxy
	ceiling  int
	recalled sync.Once

	mu         sync.Mutex
	note       store.HostNote // what was remembered of it
	start      int            // connections to begin with; 0 unknown
	downloads  int            // under way that may have several connections
	open       int            // connections in use
	waiting    int            // downloads without any connection
	freed      chan struct{}  // closed and replaced when there may be room for a connection
	works      bool           // it has answered something
	ranges     rangeUse       // how it takes requests for ranges
	streams    bool           // it speaks HTTP/2
	limit      int            // connections the server lets us have, as far as is known
	refuses    bool           // it refuses those beyond
	hasRefused bool           // and did so in this run
	growAfter  time.Time      // no further connection before
	tryAfter   time.Time      // none beyond the limit before
	peak       int            // most that were in use at once
	penalty    time.Duration  // after the next refusal
	penalized  time.Time      // end of the penalty of the last one
	notBefore  time.Time      // no request at all before
}

// An address is the address that the connections to a host lead to, a *transport.Address.
type address interface {
	Share() int                 // how many connections this process should have at most
	MustRelease(last bool) bool // whether the caller must close a connection, the last one of a download or not
	IsQueued() bool             // whether a dial waits because other processes have the connections
	Forget()                    // the next dial must look up the name again
	HasResolved() bool          // whether the name has had an address in this run
}

// rangeUse is how a host takes requests with a Range field.
type rangeUse int

const (
	rangesUntried rangeUse = iota // no range has worked yet
	rangesDoubted                 // a request for one failed, perhaps by chance, and the same without it did not
	rangesRefused                 // it refuses what it serves without the field
	rangesWork                    // it has served one, so that an error is not about the field
)

// rangeServed notes that the host has served a range.
func (h *host) rangeServed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ranges = rangesWork
}

// rangeFailed notes that a request for a range has failed, and the same without Range has
// not. A failure that may have passed meanwhile has to come twice.
func (h *host) rangeFailed(mayPass bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.ranges == rangesWork:
	case mayPass && h.ranges == rangesUntried:
		h.ranges = rangesDoubted
	default:
		h.ranges = rangesRefused
	}
}

// rangeUse returns how the host takes requests for ranges.
func (h *host) rangeUse() rangeUse {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ranges
}

func newHost(name string, ceiling int) *host {
	return &host{name: name, addr: (*transport.Address)(nil), ceiling: ceiling, limit: ceiling, penalty: firstPenalty, freed: make(chan struct{})}
}

// enter takes the first connection of a download, and waits for it if need be.
func (h *host) enter(ctx context.Context) error {
	for {
		h.mu.Lock()
		old := max(time.Until(h.growAfter), time.Until(h.tryAfter)) // how long until a refusal has grown old
		if h.open < h.limit || h.open < h.most() && old <= 0 {
			h.open++
			h.limit = max(h.limit, h.open)
			h.mu.Unlock()
			return nil
		}
		freed := h.freed
		h.waiting++
		h.mu.Unlock()
		if old <= 0 {
			old = maxPenalty
		}
		retry := time.NewTimer(old)
		var err error
		select {
		case <-freed:
		case <-retry.C:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		retry.Stop()
		h.mu.Lock()
		h.waiting--
		h.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// streamsMost is how many files are asked for at once where a connection has room for
// many: servers allow a hundred and some mostly (RFC 9113 §6.5.2), so that it takes two.
const streamsMost = 256

// most returns how many first connections may be in use, with mu held. Of HTTP/2
// they are streams of few connections.
func (h *host) most() int {
	if h.streams {
		return max(h.ceiling, streamsMost)
	}
	return h.ceiling
}

// multiplexes notes that the host speaks HTTP/2.
func (h *host) multiplexes() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.streams {
		h.streams = true
		h.limit = max(h.limit, h.most())
		h.wake()
	}
}

// Adopt counts the first connection of a download that has one already. It does
// not wait: who holds a connection without reading may hold that which those need
// who have entered.
func (h *host) Adopt() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open++
}

// TryOpen takes a further connection of a download, unless the limit or the
// share of this process is reached, a refusal is fresh, or another download has
// none yet.
func (h *host) TryOpen(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting > 0 || h.open >= h.share() || now.Before(h.growAfter) || now.Before(h.notBefore) {
		return false
	}
	if h.open >= h.limit && now.Before(h.tryAfter) {
		return false
	}
	if h.open >= h.limit {
		h.limit = h.open + 1 // the refusal has grown old: try again
	}
	h.open++
	h.peak = max(h.peak, h.open)
	return true
}

// share returns how many of the ceiling are for this process, which may change.
func (h *host) share() int {
	return min(h.ceiling, h.addr.Share())
}

// OverShare reports whether another download waits for its first connection, or
// another process for one.
func (h *host) OverShare() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.waiting > 0 || h.open > h.share()
}

// answered notes that the host is there.
func (h *host) answered() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.works = true
}

// others reports whether more than one connection is open, to a host that has
// answered: one that has not is no host that has given enough.
func (h *host) others() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open > 1 && h.works
}

// Release gives a connection back.
func (h *host) Release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open--
	h.wake()
}

// wake lets those look again who wait for their first connection, with mu held.
func (h *host) wake() {
	close(h.freed)
	h.freed = make(chan struct{})
}

// refused notes that the server refused a further connection, which has been
// given back, while others worked. It returns how many the host is left with.
func (h *host) refused(now time.Time) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.limit, h.refuses, h.hasRefused = max(1, min(h.limit, h.open)), true, true
	if now.Before(h.penalized) { // one of several that were opened at once
		return h.limit
	}
	h.penalized = now.Add(h.penalty)
	h.growAfter = later(h.growAfter, h.penalized)
	h.penalty = min(2*h.penalty, maxPenalty)
	return h.limit
}

// recovered notes that the server answers again after an outage of all
// connections, so that refusals during it told nothing about a limit.
func (h *host) recovered() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.limit, h.growAfter, h.tryAfter, h.penalty, h.refuses, h.hasRefused = h.ceiling, time.Time{}, time.Time{}, firstPenalty, false, false
	h.penalized = time.Time{}
	h.wake()
}

// hold lets no request to the host begin before t, and reports whether that is
// later than it was by a second at least.
func (h *host) hold(t time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	later := t.Sub(h.notBefore) >= time.Second
	if t.After(h.notBefore) {
		h.notBefore = t
	}
	return later
}

// holdGrowth lets no further connection be opened before t.
func (h *host) holdGrowth(t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.After(h.growAfter) {
		h.growAfter = t
	}
}

// held returns how long the host wants to be left alone.
func (h *host) held(now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(0, h.notBefore.Sub(now))
}

// idle reports whether the host may be forgotten: nothing is under way, it has not asked to be
// left alone, and it has not refused connections.
func (h *host) idle(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	busy := h.open > 0 || h.waiting > 0 || h.downloads > 0
	return !busy && !h.refuses && h.ranges != rangesRefused && !now.Before(later(h.notBefore, h.growAfter))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
