package sched

import (
	"cmp"
	"time"
)

// conns are the connections of a download, in the order in which they were admitted.
type conns []*Conn

// count returns how many of them lead to src.
func (all conns) count(src *Source) (n int) {
	for _, c := range all {
		if c.source == src {
			n++
		}
	}
	return n
}

// yielding returns how many of them are about to leave, because others need them.
func (all conns) yielding() (n int) {
	for _, c := range all {
		if c.request.state == yielding {
			n++
		}
	}
	return n
}

// dispensable returns the receiving connection whose loss costs least, nil if none receives: the slowest
// one to a source that has several, or else the slowest one.
func (all conns) dispensable(now time.Time) (least *Conn) {
	for _, c := range all {
		if c.claim == nil || c.request.state != receiving {
			continue
		}
		if least == nil || cmp.Or(cmp.Compare(min(2, all.staying(c.source)), min(2, all.staying(least.source))), cmp.Compare(least.rateAt(now), c.rateAt(now))) >= 0 {
			least = c
		}
	}
	return least
}

// staying returns how many connections to src are not about to leave.
func (all conns) staying(src *Source) (n int) {
	for _, c := range all {
		if c.source == src && c.request.state != yielding {
			n++
		}
	}
	return n
}

// meanRate returns the mean rate of the connections to src, or of all if src is nil, in
// bytes per second. Connections without a known rate do not count; 0 if none has one.
func (all conns) meanRate(src *Source, now time.Time) float64 {
	sum, n := 0.0, 0
	for _, c := range all {
		if rate := c.rateAt(now); rate > 0 && (src == nil || c.source == src) {
			sum, n = sum+rate, n+1
		}
	}
	return sum / float64(max(n, 1))
}

// totalRate returns the sum of their rates in bytes per second.
func (all conns) totalRate(now time.Time) (sum float64) {
	for _, c := range all {
		sum += c.rateAt(now)
	}
	return sum
}

// recently is the time within which a connection must have received a byte to count as
// moving. A guess: at half, a source with pauses looks broken as a whole; at double, an
// overdue request is asked again a second later.
const recently = time.Second

// othersMove reports whether a connection other than c has received bytes recently.
func (all conns) othersMove(c *Conn, now time.Time) bool {
	for _, o := range all {
		if o != c && o.request.responded() && now.Sub(o.lastActive) < recently {
			return true
		}
	}
	return false
}
