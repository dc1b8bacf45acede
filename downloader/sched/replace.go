package sched

import "time"

// Measured: without replacement, a download of 256 MiB of which some connections are slow
// takes 12 % longer with 16 connections, 23 % with 32; over a lossy path 2-10 %.
const (
	// minConnsToReplace is how many connections there must be for the mean to mean
	// something. A guess: at half, one of two is replaced in turn; at double, downloads
	// from small servers keep their slow connections.
	minConnsToReplace = 4
	// replaceAge is how long a response must have been arriving, and how long the rest must
	// take, before a connection is replaced. A guess, above the time of slow start: at half,
	// connections are closed while they become faster; at double, small files gain nothing.
	replaceAge = time.Second
	// maxSlowRate in bytes per second: a faster connection is never replaced, as it is no
	// burden. A guess: at half, connections of 10 Gbit/s links stay slow; at double, some
	// are closed for nothing.
	maxSlowRate = 16 << 20
	// slowFactor is how many times slower than the mean of its source a connection must be. Connections that
	// share a full link differ by 2 without being slow. Measured over TCP at 80 ms and 1 Gbit/s: at half, 512 MiB take
	// 3 % longer with 16 connections, 8 % with 32, because new ones begin with slow start. At double, few ever are slow.
	slowFactor = 4
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
// behind an address are slow, and a connection that has lost packets takes longer to
// become fast than a new one.
type replacement struct {
	last  time.Time     // when a connection was replaced
	pause time.Duration // at least minReplacePause, until the next
}

// replace stops the request of one connection that is much slower than the others of its
// source. The rest of its claim goes on over a new connection.
func (r *replacement) replace(s *Scheduler, now time.Time) {
	if now.Sub(r.last) < max(minReplacePause, r.pause) || len(s.conns) < minConnsToReplace {
		return
	}
	for _, c := range s.conns {
		if c.claim == nil || c.request.state != receiving || c.meter.rate == 0 || now.Sub(c.request.respondedAt) < replaceAge {
			continue
		}
		slow := c.meter.rate < maxSlowRate && c.meter.rate < s.conns.meanRate(c.source, now)/slowFactor
		if slow && c.timeLeft(now) > replaceAge.Seconds() {
			r.last, c.rateBefore = now, c.meter.rate
			c.request.stop(Replaced)
			return
		}
	}
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
