package hosts

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Options describe a host.
type Options struct {
	Origin  string  // scheme, host and port, for example "https://example.com"
	Ceiling int     // most connections
	Many    int     // most connections while the host serves small files over HTTP/1.1; default Ceiling
	Address Address // nil if no other process counts
	Memory  Memory  // of earlier runs; nil for none
}

// A Host has the state that all downloads share about one server. Safe for concurrent use.
type Host struct {
	Origin  string  // immutable
	Address Address // immutable
	Ranges  Ranges
	pauses

	mu           sync.Mutex // guards all that follows; a method of Address may be called with it held
	counts       counts
	limit        limit
	memory       memory
	hasResponded bool
}

// counts are the connections and downloads of a host.
type counts struct {
	open      int       // connections in use
	waiting   []*waiter // downloads that wait for their first connection, in the order of their calls
	downloads int       // downloads that may have several connections
	peak      int       // most connections that TryOpen has led to
}

// A waiter is a download that waits for its first connection.
type waiter struct {
	small bool          // the file may be one of many small ones
	look  chan struct{} // of capacity 1; has a value when there may be room
}

// fairShare returns how many of share connections each download may have.
func (c *counts) fairShare(share int) int {
	n := max(1, c.downloads)
	return (share + n - 1) / n
}

// New returns a host without connections.
func New(o Options) *Host {
	if o.Address == nil {
		o.Address = unshared{}
	}
	return &Host{
		Origin: o.Origin, Address: o.Address,
		limit: newLimit(o.Ceiling, o.Many), memory: memory{store: o.Memory},
	}
}

// Acquire counts the first connection of a download. It waits until there is room for one, or
// until ctx ends, and then returns the cause of ctx. The caller must call Release once. small says that
// the file is one of many that may be small.
func (h *Host) Acquire(ctx context.Context, small bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.admit(small) {
		return nil
	}
	w := &waiter{small, make(chan struct{}, 1)}
	h.counts.waiting = append(h.counts.waiting, w)
	var err error
	for admitted := false; !admitted && err == nil; admitted = err == nil && h.admit(small) {
		stale := h.untilStale()
		if stale <= 0 {
			stale = maxPenalty
		}
		h.mu.Unlock()
		err = wait(ctx, w.look, stale)
		h.mu.Lock()
	}
	h.counts.waiting = slices.DeleteFunc(h.counts.waiting, func(o *waiter) bool { return o == w })
	h.wake() // there may be room for more
	return err
}

// admit counts the first connection of a download if there is room for one. mu must be held.
func (h *Host) admit(small bool) bool {
	if !h.hasRoom(small) {
		return false
	}
	h.counts.open++
	h.limit.granted = max(h.limit.granted, h.counts.open)
	return true
}

// hasRoom reports whether there is room for the first connection of a download. mu must be held.
func (h *Host) hasRoom(small bool) bool {
	most := h.limit.maxFirst()
	if !small && !h.limit.isHTTP2 {
		most = h.limit.ceiling
	}
	return h.counts.open < most && (h.counts.open < h.limit.granted || h.untilStale() <= 0)
}

// wake makes the oldest waiting download look again for which there is room. When it has its connection,
// it wakes the next one. So the others sleep on, of which there may be hundreds for each connection.
// mu must be held.
func (h *Host) wake() {
	i := slices.IndexFunc(h.counts.waiting, func(w *waiter) bool { return h.hasRoom(w.small) })
	if i < 0 {
		return
	}
	select {
	case h.counts.waiting[i].look <- struct{}{}:
	default:
	}
}

// wait returns when look has a value, or after d, or when ctx ends, with its cause.
func wait(ctx context.Context, look <-chan struct{}, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-look:
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// untilStale returns how long the last refusal, of this run or an earlier one, still counts.
func (h *Host) untilStale() time.Duration {
	return max(time.Until(h.openingAt()), time.Until(h.limit.retryAt))
}

// MaxParallel returns how many downloads of small files are useful at once.
func (h *Host) MaxParallel() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.limit.maxFirst()
}

// ServedSmall reports that the host has served a small file over a connection of its own.
func (h *Host) ServedSmall() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.limit.servedSmall() {
		h.wake()
	}
}

// ServesLarge reports that the host responds with a large file. It returns whether the host then has more
// connections than it may, so that the caller must close this one.
func (h *Host) ServesLarge() (isTooMany bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.limit.endSmall()
	return !h.limit.isHTTP2 && h.counts.open > h.limit.ceiling
}

// FailedSmall reports that the host has refused or failed to serve a file that may be small, so that not many
// more meet the same.
func (h *Host) FailedSmall() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.limit.endSmall()
}

// SpeaksHTTP2 reports that the host has responded over HTTP/2: one connection has room for many
// small files.
func (h *Host) SpeaksHTTP2() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.limit.useStreams() {
		h.wake()
	}
}

// Adopt counts the connection of a download that has one already, for example after a redirect
// to this host. It must not wait: the download holds a connection that it does not read, and
// the downloads that wait here may need just that one.
func (h *Host) Adopt() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts.open++
}

// Release ends the use of a connection that Acquire, Adopt or TryOpen has counted.
func (h *Host) Release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts.open--
	h.wake()
}

// TryOpen counts a further connection of a download. It returns false if the granted number or
// the share of this process is reached, a refusal is fresh, the host pauses, or a download has
// no connection yet.
func (h *Host) TryOpen(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.counts.waiting) > 0 || h.counts.open >= h.share() || !h.isOver(now) {
		return false
	}
	if h.counts.open >= h.limit.granted && now.Before(h.limit.retryAt) {
		return false
	}
	h.counts.open++
	h.counts.peak = max(h.counts.peak, h.counts.open)
	h.limit.granted = max(h.limit.granted, h.counts.open) // one more than granted may be tried
	return true
}

// share returns how many of the ceiling this process may have, which changes with time.
func (h *Host) share() int { return min(h.limit.ceiling, h.Address.Share()) }

// OverShare reports whether another download waits for its first connection, or this process has
// more than its share.
func (h *Host) OverShare() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.counts.waiting) > 0 || h.counts.open > h.share()
}

// Join counts a download that may have several connections. Leave undoes it.
func (h *Host) Join() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts.downloads++
}

// Leave ends the use of several connections by a download.
func (h *Host) Leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts.downloads--
}

// Downloads returns how many downloads have joined, but at least 1.
func (h *Host) Downloads() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(1, h.counts.downloads)
}

// FairShare returns how many connections a download may have beside the others.
func (h *Host) FairShare() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.counts.fairShare(h.share())
}

// Wanted reports whether a download that has so many connections must give one to another
// download, which has none.
func (h *Host) Wanted(mine int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.counts.waiting) > 0 && mine > 1 && mine >= h.counts.fairShare(h.share())
}

// MustRelease reports whether a download must give a connection to another process (see Address).
func (h *Host) MustRelease(last bool) bool { return h.Address.MustRelease(last) }

// Queued reports whether a connection waits because other processes have all of them.
func (h *Host) Queued() bool { return h.Address.IsQueued() }

// Responded reports that the host has sent any response.
func (h *Host) Responded() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hasResponded = true
}

// HasOthers reports whether the host has responded, and more than one connection is in use. Only
// then can a failure of one of them mean a limit.
func (h *Host) HasOthers() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.counts.open > 1 && h.hasResponded
}

// Refused reports that the host has refused a connection while others worked. The connection must
// have been released before. It returns how many connections the host grants.
func (h *Host) Refused(now time.Time) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.PauseOpening(h.limit.refuse(h.counts.open, now))
	return h.limit.granted
}

// HasRefused reports whether the host has refused one of several connections, which may have been the
// begin of a ban.
func (h *Host) HasRefused() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.limit.before > 1
}

// Recovered reports that the host responds again after a connection had failed since a time, which
// is zero if the network was missing. If most of several connections failed then, the host may have
// banned us for a while because there were too many, so it is not asked for as many again. If the
// network was missing, the refusals in between meant no limit.
func (h *Host) Recovered(now, since time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.limit.recover(now, since) {
		h.resumeOpening()
	}
	h.wake()
}

// IsLimited reports whether the host is known to refuse connections.
func (h *Host) IsLimited() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.limit.isRefusing
}

// IsIdle reports whether nothing is lost if the host is forgotten: nothing is under way, it has
// not asked for a pause, and it has not refused connections or ranges.
func (h *Host) IsIdle(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	isBusy := h.counts.open > 0 || len(h.counts.waiting) > 0 || h.counts.downloads > 0
	return !isBusy && h.isOver(now) && !h.limit.isRefusing && h.Ranges.Use() != RangesRefused
}
