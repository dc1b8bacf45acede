package sched

import "time"

// yieldInterval is how long a connection that was given to another download has to get
// there, before the next one is given. A guess, above one round trip to anywhere: at half, a
// download gives two connections to one newcomer; at double, newcomers start later.
const yieldInterval = 200 * time.Millisecond

// A yielder ends connections that are too many, and gives connections to other downloads and processes.
type yielder struct {
	last time.Time // when a connection was given to another download
}

// yield stops the request of one connection, if another process needs it or another
// download has none. A single stream goes on, as it would have to begin again; so does a
// connection without a response, and a stuck connection, because other rules handle both.
func (y *yielder) yield(s *Scheduler, now time.Time) {
	if s.single {
		return
	}
	y.shed(s, now)
	for _, c := range s.conns {
		if c.claim == nil || c.request.state != receiving || now.Sub(c.lastActive) > stuckTimeout {
			continue
		}
		if c.source.Gate.MustRelease(len(s.conns) == 1) || y.isWanted(c.source, s.conns.count(c.source), now) {
			c.request.yield()
			return
		}
	}
}

// shed stops the requests of slow connections, if there are more than the user allows. The read bytes of
// their bodies stay. A connection without a response leaves when that has come.
func (y *yielder) shed(s *Scheduler, now time.Time) {
	for s.surplus() > 0 {
		c := s.conns.dispensable(now)
		if c == nil {
			return
		}
		c.request.yield()
	}
}

// isWanted reports whether another download gets one of n connections to src.
func (y *yielder) isWanted(src *Source, n int, now time.Time) bool {
	if now.Sub(y.last) < yieldInterval || !src.Gate.Wanted(n) {
		return false
	}
	y.last = now
	return true
}
