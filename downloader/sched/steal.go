package sched

import "time"

// Measured: without muchSlower and largeGain, so that minSteal has no exception, a download with
// mirrors takes 11 % longer; a download without mirrors takes as long as before.
const (
	// minSteal is the smallest part, in bytes, that is worth a request for its size alone. A
	// smaller part, from minSteal/4 on, needs largeGain; a steal of everything has no minimum. A
	// guess: a request costs about 500 bytes and one round trip. At half, the end of a file has
	// many tiny requests; at double, the end of a file waits for slow connections.
	minSteal = 64 << 10
	// largeGain is the gain of time that makes any part of at least minSteal/4 worth a
	// request. A guess: at half, more tiny requests; at double, slow connections keep their rest.
	largeGain = 200 * time.Millisecond
	// minGain, or one round trip if that is longer, is how much sooner a claim must be done.
	// A guess, five times tripOverhead: at half, estimates are not good enough; at double, a
	// short file is done up to 50 ms later.
	minGain = 25 * time.Millisecond
	// muchSlower is how many times slower than the thief a victim must be to lose
	// everything, and than the mean of its source to be replaced. A guess: at half, connections
	// are closed for a short slowness; at double, the thief has to come back for the rest.
	muchSlower = 8
)

// A thief is a connection that looks for bytes to take over from another one. It may not
// exist yet.
type thief struct {
	source      *Source
	rate        float64 // expected bytes per second; 0 if unknown: then only a stuck victim loses bytes
	isMeasured  bool    // rate was measured on this connection; otherwise it is estimated from others
	rateLimited bool    // the rate limit of the user keeps all connections from being faster; set by slowest
	trips       float64 // round trips until it receives at that rate
	sharers     int     // downloads that share the source, if the connection does not exist yet; else 1
}

// A victim is a connection from which something could be taken over.
type victim struct {
	conn      *Conn
	bytes     int64   // that it has yet to read
	left      float64 // estimated seconds until it has read them, without a steal
	isStuck   bool    // it has been silent for so long that it is given up (timeouts.isStuck); never while idle
	isOverdue bool    // no response for much longer than usual (request.isOverdue); never while idle
	state     state
}

// A steal is a part of a claim that a thief takes over.
type steal struct {
	victim *Conn // nil for none
	bytes  int64 // at the end of its claim
	stops  bool  // the thief takes everything, and the request of the victim must be stopped; the victim must not be idle
}

// thiefOf returns c as a thief.
func thiefOf(c *Conn, now time.Time) thief {
	rate := c.expectedRate(now)
	return thief{source: c.source, rate: rate, isMeasured: c.rateAt(now) > 0, trips: c.source.tripsUntil(rate, c.isReusable), sharers: 1}
}

// slowest returns a steal from the claim that would finish last, among those claims that would be
// done sooner by more than minGain and one round trip. The size of the gain does not matter beyond
// that, because the file is complete when its last claim is. The steal has no victim if there is no
// such claim.
func (t thief) slowest(s *Scheduler, now time.Time) (slowest steal) {
	t.rateLimited = s.rateLimited
	least, longest := float64(t.sharers)*max(minGain, t.source.timing.rtt).Seconds(), 0.0
	for _, c := range s.conns {
		if c.remaining().Empty() || c.request.state == queued { // its successor would have to queue, too
			continue
		}
		v := victim{
			conn: c, bytes: c.remaining().Len(), left: c.timeLeft(now), state: c.request.state,
			isStuck: s.timeouts.isStuck(c, now), isOverdue: c.request.isOverdue(c.source.timing, now),
		}
		if got, gain := t.divide(v); gain > least && v.left > longest {
			slowest, longest = got, v.left
		}
	}
	return slowest
}

// divide decides which part of the remaining bytes of v the thief would take, and by how many
// seconds the claim of v would be done sooner. The caller must ignore the steal if the gain is not
// above its threshold; the gain may be 0 or negative.
//
// Usually both connections are then done at the same time, and the thief gets the last bytes. The
// thief takes everything from a stuck victim and, if its own rate is measured, from a victim that is
// more than muchSlower times slower, and from an overdue victim with too little left to divide.
// Under the rate limit of the user, only a victim without a response loses anything, because the
// limit makes the others slow.
func (t thief) divide(v victim) (_ steal, gain float64) {
	size, delay := float64(v.bytes), t.source.timing.after(t.trips).Seconds()
	victimRate := size / v.left // bytes per second, on average until the end: a wait for the response counts
	everything, gainOfEverything := steal{v.conn, v.bytes, true}, v.left-delay-size/t.rate
	if v.isStuck { // it would not be done at all, which is more than any threshold
		return everything, stuckTimeout.Seconds()
	}
	// An idle victim has no request to stop, so it keeps the first part of its claim.
	if t.isMeasured && t.rate > muchSlower*victimRate && v.state != idle && (v.state == awaiting || !t.rateLimited) {
		return everything, gainOfEverything
	}
	both := (size + t.rate*delay) / (victimRate + t.rate) // seconds until both are done
	part := steal{victim: v.conn, bytes: int64(size - victimRate*both)}
	gain = v.left - both
	tooSmall := part.bytes < minSteal && gain < largeGain.Seconds() || part.bytes < minSteal/4
	switch {
	case tooSmall && t.isMeasured && v.isOverdue:
		return everything, gainOfEverything
	case tooSmall || t.rateLimited:
		return steal{}, 0
	}
	return part, gain
}
