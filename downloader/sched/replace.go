package sched

import (
	"cmp"
	"time"
)

// Measured: without replacement, a download of 256 MiB of which some connections are slow
// takes 8 % longer with 16 connections. If connections are replaced that are four times slower than
// the mean for half a second, 512 MiB take 10 % longer over TCP at 80 ms and 1 Gbit/s, because those
// have lost packets, and a new one begins with slow start.
const (
	// replaceAge is how long a connection must have been slow, and how long the rest must
	// take, before it is replaced. A guess, above the time of slow start over paths of up to some
	// 100 ms: at half, connections are closed while they become faster; at double, small files gain nothing.
	replaceAge = time.Second
	// minReplacePause and maxReplacePause are the time between two replacements; it doubles
	// after each that did not help. Guesses: at half, the source sees up to 8 new connections
	// a second; at double, a download with many slow ones needs longer to exchange them.
	minReplacePause = 250 * time.Millisecond
	maxReplacePause = 16 * time.Second
	// replacedGain is how many times faster the new connection must be to have helped. A
	// guess: at half (below 1), every replacement helps; at double, most do not.
	replacedGain = 1.5
)

// A replacement exchanges slow connections for new ones, one at a time: some machines
// behind an address are slow, and a connection that has lost many packets takes longer to
// become fast than a new one.
type replacement struct {
	last  time.Time     // when a connection was replaced
	pause time.Duration // at least minReplacePause, until the next
}

// replace stops the request of one connection that has been much slower than the others of its
// source for some time. The rest of its claim goes on over a new connection.
func (r *replacement) replace(s *Scheduler, now time.Time) {
	var chosen *Conn
	for _, c := range s.conns {
		switch {
		case !c.isMuchSlower(s.conns.meanRate(c.source, now)):
			c.slowSince = time.Time{}
		case c.slowSince.IsZero():
			c.slowSince = now
		case now.Sub(c.slowSince) >= replaceAge && c.timeLeft(now) > replaceAge.Seconds():
			chosen = cmp.Or(chosen, c)
		}
	}
	if chosen != nil && now.Sub(r.last) >= max(minReplacePause, r.pause) {
		r.last, chosen.rateBefore, chosen.slowSince = now, chosen.meter.rate, time.Time{}
		chosen.request.stop(Replaced)
	}
}

// isMuchSlower reports whether c receives a body, at a small part of a rate in bytes per second.
func (c *Conn) isMuchSlower(rate float64) bool {
	return c.claim != nil && c.request.state == receiving && c.meter.rate > 0 && c.meter.rate < rate/muchSlower
}

// judge compares the measured rate of c with its rate before it was replaced, if it was.
func (r *replacement) judge(c *Conn) {
	if c.rateBefore == 0 || c.request.state != receiving {
		return
	}
	if c.meter.rate > replacedGain*c.rateBefore {
		r.pause = 0
	} else {
		r.pause = min(2*max(minReplacePause, r.pause), maxReplacePause)
	}
	c.rateBefore = 0
}
