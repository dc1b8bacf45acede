package sched

import "time"

// stuckTimeout is how long a connection may be silent before others may take over
// everything that it has left, and how long a request of one of several connections goes
// without a response. A guess: at half, servers with a slow disk lose connections; at
// double, a dead connection delays the end of a file by 5 s more.
const stuckTimeout = 5 * time.Second

// timeouts ends requests that lead to nothing.
type timeouts struct {
	trickle time.Duration // a connection below minRate for longer than this is stopped

	// response is the time without a response after which a request is stuck, if it is
	// longer than stuckTimeout; it doubles each time, because the server may simply be slow.
	response time.Duration
}

// responseTimeout returns the time without a response after which a request is given up.
func (t *timeouts) responseTimeout() time.Duration { return max(stuckTimeout, t.response) }

// lengthen doubles the response timeout.
func (t *timeouts) lengthen() { t.response = 2 * t.responseTimeout() }

// expire stops a request that has no response although other connections receive bytes,
// because some servers refuse a further connection that way; an overdue one if no other
// connection receives bytes and could take it over, so that it is sent again; and a request
// whose body has trickled for too long.
func (t *timeouts) expire(s *Scheduler, now time.Time) {
	lengthen := false
	for _, c := range s.conns {
		r := &c.request
		switch {
		case r.state == idle || r.state == queued || s.single:
		case !r.responded() && now.Sub(c.lastActive) > t.responseTimeout() && s.conns.othersMove(c, now) && !c.source.Gate.Queued():
			r.stop(Overdue)
			lengthen = true
		case c.source.timing.typical > 0 && r.isOverdue(c.source.timing, now) && !s.conns.othersMove(c, now):
			r.replacesAfter = r.waited(now)
			r.stop(Replaced)
		case r.responded() && !c.meter.tricklingSince.IsZero() && now.Sub(c.meter.tricklingSince) > t.trickle:
			r.stop(Trickling)
			c.meter.tricklingSince = time.Time{}
		}
	}
	if lengthen {
		t.lengthen()
	}
}

// isStuck reports whether a byte that c has requested has not come for long.
func (t *timeouts) isStuck(c *Conn, now time.Time) bool {
	if c.remaining().Empty() || c.request.state == idle || c.request.state == queued {
		return false
	}
	silent := now.Sub(c.lastActive)
	return silent > stuckTimeout && (c.request.responded() || silent > t.response)
}
