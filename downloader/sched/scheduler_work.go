package sched

// This file is about the work of a connection: how many bytes it gets, and from whom it takes them.

import (
	"slices"
	"time"

	"pawl/chunk"
)

// Measured: without the rules for distant sources and for the shortest request, a download
// at 80 ms of round trip time takes 20 % longer; others as long.
const (
	// FirstRange is the size in bytes of the first request, when no rate is known. A guess:
	// at half, fast connections make a second request sooner; at double, slow connections
	// hold bytes that others must steal.
	FirstRange = 8 << 20
	// MinRequest is the smallest request in bytes, except for a rest. A guess: at half, the
	// cost of requests shows on loopback; at double, little is left to share in small files.
	MinRequest = 1 << 20
	// minFarRequest replaces MinRequest if the source is far away (see ramp.isFar), because
	// 1 MiB takes several round trips on a new connection. A guess with the same limits.
	minFarRequest = 256 << 10
	// minTrips is how many round trips, with their overhead, a request lasts at least, because
	// the connection idles for one round trip between two requests: at 4, that costs a fifth.
	// Derived. At half, it costs a third; at double, more bytes must be stolen at the end.
	minTrips = 4
	// maxReserve is the most bytes that are reserved for the first connection, which are never more
	// than half of those that are unclaimed. Measured over TCP at 80 ms and 1 Gbit/s: without it,
	// 48 MiB take 18 % longer. Double keeps the beginning of a file incomplete for longer.
	maxReserve = 32 << 20
	// runLength is how long a request lasts at most. A guess: at half, servers log twice as
	// many requests; at double, a failed request loses nothing, but more bytes are stolen.
	runLength = 10 * time.Second
	// maxInFlight is the most bytes that are taken to be on their way already. A guess: the
	// product of 100 Mbit/s and 80 ms. At half, distant connections are closed instead of
	// reused; at double, up to 1 MiB more is received for nothing.
	maxInFlight = 1 << 20
)

// mustLeave reports whether others have taken the place of c, or there are too many
// connections, to its source or in all.
func (s *Scheduler) mustLeave(c *Conn) bool {
	return c.replacedBy != nil || s.surplus() > 0 || c.source.Gate.OverShare() ||
		s.plan.Unclaimed() > 0 && c.source.isTooMany(s.conns.count(c.source))
}

// assign gives claim to c. After a pause, the open window of the meter means nothing.
func (s *Scheduler) assign(c *Conn, claim *chunk.Claim, now time.Time) {
	if now.Sub(c.lastActive) > rateWindow {
		c.meter.restart(now)
	}
	c.claim, c.lastActive = claim, now
}

// requestSize returns how many bytes c should ask for: as many as it receives in runLength,
// but not so many that the others find nothing.
func (s *Scheduler) requestSize(c *Conn, now time.Time) int64 {
	if s.single {
		return chunk.Unbounded
	}
	fair := s.plan.Unclaimed() / int64(len(s.conns)+1)
	if c.rateAt(now) == 0 {
		fair /= 2
	}
	want, rate := int64(FirstRange), c.expectedRate(now)
	if rate > 0 {
		want = int64(rate * runLength.Seconds())
	}
	least := int64(MinRequest)
	if c.source.ramp.isFar() {
		least = min(least, max(minFarRequest, int64(rate*c.source.timing.rtt.Seconds())))
	}
	long := int64(rate * minTrips * (c.source.timing.rtt + tripOverhead).Seconds())
	return max(least, min(long, 2*fair), min(want, fair))
}

// reserved returns the offset up to which unclaimed bytes are left to the first connection as long as
// others find enough behind it. They are in its body, so that it needs no request for them, and keeps
// the lead that it has in slow start.
func (s *Scheduler) reserved() int64 {
	for _, c := range s.conns {
		if c.request.state == receiving && c.remaining().End < s.reservedTo && s.reservedTo <= c.request.bodyEnd {
			return s.reservedTo
		}
	}
	return 0
}

// steal takes over bytes of another connection for c, and stops its request if that is of no
// more use. What is more than the share of c is left to the connections that come next, of which the
// victim may be one, over a new TCP connection. It returns nil if no steal is worth a request.
func (s *Scheduler) steal(c *Conn, now time.Time) *chunk.Claim {
	got := thiefOf(c, now).slowest(s, now)
	v := got.victim
	if v == nil {
		return nil
	}
	if got.stops {
		if v.request.state == awaiting {
			c.request.replacesAfter, v.replacedBy = v.request.waited(now), c
		}
		if !v.request.responded() && s.timeouts.isStuck(v, now) {
			s.timeouts.lengthen()
		}
		v.request.stop(Stolen)
	}
	s.plan.Release(s.plan.Steal(v.claim, got.bytes))
	return s.plan.Take(0, s.requestSize(c, now))
}

// respond notes a response to c. A rate window that contains a long wait for it means nothing,
// nor does the rate of another TCP connection.
func (s *Scheduler) respond(c *Conn, r Response, now time.Time) {
	if r.NewConn { // because none was left open
		c.meter.rate, c.meter.windowBytes, c.source.pooled = 0, 0, 0
	}
	if c.meter.windowBytes == 0 || c.request.waited(now) > rateWindow/2 {
		c.meter.restart(now)
	}
	c.request.respond(r.BodyEnd)
	c.source.timing.add(r.Took)
}

// keepsOpen reports whether the body of c, which goes on behind its claim, is needed until
// the request for the following bytes has a response: with a single-use link, it is the only
// response there will ever be. A connection that is stuck with that request is not waited for.
func (s *Scheduler) keepsOpen(c *Conn, now time.Time) bool {
	end := c.remaining().End
	if c.source.multiUse || c.request.state != receiving || end >= c.request.bodyEnd {
		return false
	}
	return slices.ContainsFunc(s.conns, func(o *Conn) bool {
		return o.claim != nil && o.remaining().Off == end && o.request.state != receiving && now.Sub(o.lastActive) < stuckTimeout
	})
}
