package sched

import (
	"cmp"
	"time"
)

// timing is how fast a source responds. Both times run from the request to the first byte
// of the response, and are 0 if unknown.
type timing struct {
	rtt     time.Duration // the shortest response time so far, which estimates the round trip time
	typical time.Duration // mean of the response times, in which each new one counts for half
}

// add notes that a response took d; 0 if that is not known.
func (t *timing) add(d time.Duration) {
	if d > 0 {
		t.rtt, t.typical = min(d, cmp.Or(t.rtt, d)), (d+cmp.Or(t.typical, d))/2
	}
}

// untilFirstByte returns how long a request takes to its first byte if that needs so many
// round trips: the trips, and the time that the server itself takes.
func (t *timing) untilFirstByte(trips int) time.Duration {
	return time.Duration(trips)*(t.rtt+tripOverhead) + t.typical - t.rtt
}
