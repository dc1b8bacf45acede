package sched

import (
	"cmp"
	"time"

	"pawl/chunk"
)

// A Conn is one connection of a download. One goroutine drives it; its methods may be
// called from others, too. No method waits.
type Conn struct {
	s *Scheduler

	// guarded by Scheduler.mu
	source     *Source
	claim      *chunk.Claim // the bytes it fetches; nil between two claims
	request    request
	meter      meter
	lastActive time.Time // the last received byte, or the begin of the claim or request
	slowSince  time.Time // since when it has been much slower than the others of its source; zero if it is not
	rateBefore float64   // bytes per second before it was replaced; 0 if that is judged
	replacedBy *Conn     // has taken over its unanswered request; nil for none, and from the next claim on

	delivered  bool // has received bytes since its last refusal
	isReusable bool // its next request needs no new TCP connection, as far as is known
	backsOff   bool // its last request failed, and no byte has come since
}

// Source returns the source to which the connection leads. FallBack can change it.
func (c *Conn) Source() *Source {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.source
}

// Remaining returns the bytes of the claim that have yet to be read, empty without a claim.
func (c *Conn) Remaining() chunk.Range {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.remaining()
}

func (c *Conn) remaining() chunk.Range {
	if c.claim == nil {
		return chunk.Range{}
	}
	return c.claim.Arriving()
}

// Next gives c a claim: unclaimed bytes, or else bytes of another connection. It returns
// false if there is nothing to do, or if c has to make room for others; then c has left the
// download. The claim before must have been released.
func (c *Conn) Next(now time.Time) bool {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) > 1 && s.mustLeave(c) {
		s.remove(c)
		if c.replacedBy != nil && !c.delivered {
			c.source.ramp.limitTo(s.conns.count(c.source), now)
		}
		return false
	}
	c.replacedBy = nil
	claim := s.plan.Take(s.reserved(), s.requestSize(c, now))
	if claim == nil && !s.single {
		claim = s.steal(c, now)
	}
	if claim == nil {
		s.remove(c)
		return false
	}
	s.assign(c, claim, now)
	return true
}

// Requesting reports that a request begins. The Scheduler may call stop, several times and
// until Release, to end the request; stop must not wait nor call the Scheduler.
func (c *Conn) Requesting(stop func(Reason), now time.Time) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.request.begin(stop, now)
	if !c.isReusable { // it takes one of the pool, or a new one
		c.source.pooled = max(0, c.source.pooled-1)
	}
	c.lastActive, c.meter.tricklingSince, c.isReusable = now, time.Time{}, false
}

// Queued reports that the request begins to wait for the request rate limit, or has waited.
func (c *Conn) Queued(waits bool, now time.Time) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.request.queue(waits)
	c.lastActive = now
}

// Dialing reports that the request opens its connection, for which it may have waited because other
// processes had all of them. The time without a response begins now.
func (c *Conn) Dialing(now time.Time) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.request.state == connecting {
		c.lastActive = now
	}
}

// Sent reports that the request was sent, the first time or again.
func (c *Conn) Sent(now time.Time) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.request.send(now)
}

// Retrying reports that the request has failed, and may be sent again after a pause.
func (c *Conn) Retrying() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.request.retry()
}

// A Response is the first part of a response, up to its body.
type Response struct {
	BodyEnd int64         // offset in the file at which the body ends, or chunk.Unbounded
	Took    time.Duration // from the request to the first byte; 0 if unknown
	NewConn bool          // a TCP connection was opened for it
}

// Responded reports that the response to the request has come.
func (c *Conn) Responded(r Response, now time.Time) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.source.multiUse = true
	c.s.respond(c, r, now)
}

// Extend adds to the claim of c the following bytes of its response, if nobody else fetches
// them. It returns how many bytes c has yet to read. If that is 0, wait says whether the body
// must stay open and Extend be called again after some milliseconds, because the bytes
// that follow may be lost otherwise.
func (c *Conn) Extend(now time.Time) (left int64, wait bool) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.claim == nil {
		return 0, false
	}
	if n := min(c.s.requestSize(c, now), c.request.bodyEnd-c.remaining().End); n > 0 && c.request.responded() {
		c.s.plan.Extend(c.claim, n)
	}
	left = c.remaining().Len()
	return left, left == 0 && c.s.keepsOpen(c, now)
}

// Received reports n more bytes of the body. It returns how many of them belong to the claim,
// the first ones, and how many are left to read; the caller must throw the others away.
func (c *Conn) Received(n int, now time.Time) (keep int, left int64) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > 0 {
		c.backsOff, c.delivered, c.isReusable = false, true, true
	}
	kept := s.plan.Arrive(c.claim, int64(n))
	if kept < int64(n) { // the body is past the claim, which must not be extended any more
		c.request.bodyEnd = c.remaining().End
	}
	c.lastActive = now
	if c.meter.isNew() && len(s.conns) > 1 {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	c.source.bytes += int64(n)
	if c.meter.add(n, now) {
		s.replacement.judge(c)
	}
	return int(kept), c.remaining().Len()
}

// Written reports that the next n received bytes are written. It returns how many bytes of
// the file are.
func (c *Conn) Written(n int64) (held int64) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.plan.Hold(c.claim, n)
	return c.s.plan.HeldLen()
}

// Release ends the claim and the request of c. Bytes that are not written are unclaimed again.
func (c *Conn) Release() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.release()
}

func (c *Conn) release() {
	if c.claim != nil {
		c.s.plan.Release(c.claim)
	}
	c.claim = nil
	c.request.end()
}

// InFlight returns how many bytes are on their way to c, whether they are wanted or not, and
// within which time they arrive. It returns 0 if the TCP connection is of no use afterwards.
func (c *Conn) InFlight(now time.Time) (n int64, in time.Duration) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.plan.Unclaimed() == 0 && thiefOf(c, now).slowest(c.s, now).victim == nil {
		return 0, 0
	}
	rtt := c.source.timing.rtt
	return min(int64(c.rateAt(now)*rtt.Seconds()), maxInFlight), 2 * (rtt + tripOverhead)
}

// Disconnected reports that the TCP connection is closed.
func (c *Conn) Disconnected() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.isReusable = false
}

// MayRetry reports whether c, which was refused, has received bytes since it was last
// refused. Then its TCP connection before may still count at the server, and c may ask again.
func (c *Conn) MayRetry() bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	delivered := c.delivered
	c.delivered = false
	return delivered
}

// StepDown takes c, whose request has failed, out of the download. It returns how many
// connections are left. The last one stays and backs off; then ok is false.
func (c *Conn) StepDown() (left int, ok bool) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if ok = c.s.removeUnlessLast(c); !ok {
		c.backsOff = true
	}
	return len(c.s.conns), ok
}

// LeaveUnlessLast takes c out of the download if it has other connections.
func (c *Conn) LeaveUnlessLast() bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.s.removeUnlessLast(c)
}

// FallBack takes c, whose source fails, out of the download. The last connection stays, and
// leads to the first source from then on; then FallBack returns false.
func (c *Conn) FallBack() bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.removeUnlessLast(c) {
		return true
	}
	c.source.Gate.Release()
	c.source, c.isReusable = c.s.sources[0], false
	c.source.Gate.Adopt()
	return false
}

// Leave takes c out of the download, if it is not out yet.
func (c *Conn) Leave() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.remove(c)
}

func (c *Conn) rateAt(now time.Time) float64 { return c.meter.rateAt(now, c.source.timing.rtt) }

// expectedRate returns the rate of c in bytes per second, or else the rate that is likely
// for a new connection to its source; 0 if nothing is known.
func (c *Conn) expectedRate(now time.Time) float64 {
	return cmp.Or(c.rateAt(now), c.source.expectedRate(c.s.conns, now))
}

// timeLeft estimates how many seconds c needs for the rest of its claim. After a silence, the
// measured rate counts for less and less.
func (c *Conn) timeLeft(now time.Time) float64 {
	rate := cmp.Or(c.expectedRate(now), c.s.conns.meanRate(nil, now), FirstRange)
	if silent := now.Sub(c.lastActive); silent > rateWindow && c.request.responded() {
		rate *= rateWindow.Seconds() / silent.Seconds()
	}
	return c.request.untilResponse(c.source.timing, now).Seconds() + float64(c.remaining().Len())/max(rate, 1)
}
