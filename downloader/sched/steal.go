package sched

import "time"

// Measured: without minSteal's exceptions, muchSlower and largeGain, a download with mirrors
// takes 11 % longer, others as long.
const (
	// minSteal is the smallest part, in bytes, that is worth a request of its own. A guess:
	// a request costs about 500 bytes and one round trip. At half, the end of a file has
	// requests for next to nothing; at double, it waits for slow connections.
	minSteal = 64 << 10
	// largeGain is the gain of time that makes any part of at least minSteal/4 worth a
	// request. A guess: at half, more tiny requests; at double, slow connections keep their rest.
	largeGain = 200 * time.Millisecond
	// minGain, or one round trip if that is longer, is how much sooner a claim must be done.
	// A guess, five times tripOverhead: at half, estimates are not good enough; at double, a
	// short file is done up to 50 ms later.
	minGain = 25 * time.Millisecond
	// muchSlower is how many times slower than the thief a victim must be to lose
	// everything. A guess: at half, connections are closed for a short slowness; at double,
	// the thief has to come back for the rest.
	muchSlower = 8
)

// A thief is a connection that looks for bytes to take over from another one. It may not
// exist yet.
type thief struct {
	source      *Source
	rate        float64 // expected bytes per second
	isMeasured  bool    // the rate is that it has now, not an estimate
	rateLimited bool    // the rate limit of the user keeps all from being faster
	trips       int     // round trips until its first byte
}

// A victim is a connection from which something could be taken over.
type victim struct {
	conn      *Conn
	bytes     int64   // that it has yet to read
	left      float64 // estimated seconds until it has
	isStuck   bool
	isOverdue bool
	state     state
}

// A steal is a part of a claim that a thief takes over.
type steal struct {
	victim *Conn // nil for none
	bytes  int64 // at the end of its claim
	all    bool  // the request of the victim is of no more use
}

// thiefOf returns c as a thief.
func thiefOf(c *Conn, now time.Time) thief {
	t := thief{source: c.source, rate: c.expectedRate(now), isMeasured: c.rateAt(now) > 0, trips: coldTrips}
	if c.isReusable {
		t.trips = warmTrips
	}
	return t
}

// best returns the best steal: a part of the claim that would finish last. It has no
// victim if the gain of time is too small.
func (t thief) best(s *Scheduler, now time.Time) (best steal) {
	t.rateLimited = s.rateLimited
	least, longest := max(minGain, t.source.timing.rtt).Seconds(), 0.0
	for _, c := range s.conns {
		if c.remaining().Empty() || c.request.state == queued { // its successor would have to queue, too
			continue
		}
		v := victim{
			conn: c, bytes: c.remaining().Len(), left: c.timeLeft(now), state: c.request.state,
			isStuck: s.timeouts.isStuck(c, now), isOverdue: c.request.isOverdue(c.source.timing, now),
		}
		if got, gain := t.divide(v); gain > least && v.left > longest {
			best, longest = got, v.left
		}
	}
	return best
}

// divide divides the remaining bytes of v so that both connections are done at the same
// time. It returns by how many seconds that is sooner, 0 if it is not worth a request. The
// thief takes everything from a stuck victim, from one much slower than its own measured
// rate, and, if there is too little to divide, from an overdue one.
func (t thief) divide(v victim) (_ steal, gain float64) {
	size, delay := float64(v.bytes), t.source.timing.untilFirstByte(t.trips).Seconds()
	own := size / v.left // bytes per second
	all, gainOfAll := steal{v.conn, v.bytes, true}, v.left-delay-size/t.rate
	if v.isStuck {
		return all, stuckTimeout.Seconds()
	}
	if t.isMeasured && t.rate > muchSlower*own && v.state != idle && (v.state == awaiting || !t.rateLimited) {
		return all, gainOfAll
	}
	both := (size + t.rate*delay) / (own + t.rate)
	part := steal{victim: v.conn, bytes: int64(size - own*both)}
	gain = v.left - both
	tooSmall := part.bytes < minSteal && gain < largeGain.Seconds() || part.bytes < minSteal/4
	switch {
	case tooSmall && t.isMeasured && v.isOverdue:
		return all, gainOfAll
	case tooSmall || t.rateLimited:
		return part, 0
	}
	return part, gain
}
