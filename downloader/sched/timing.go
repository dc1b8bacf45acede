package sched

import (
	"cmp"
	"math"
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

// initialWindow is how many bytes a new TCP connection receives in its first round trip (RFC 6928 §2).
// In each further one they are twice as many, until it is as fast as the path allows (RFC 5681 §3.1).
const initialWindow = 10 * 1460

// slowStart returns how many round trips a new TCP connection spends in slow start before it receives
// at a rate, in bytes per second: until its windows together are what comes in one round trip at that rate.
func (t *timing) slowStart(rate float64) float64 {
	return math.Log2(1 + rate*t.rtt.Seconds()/initialWindow)
}

// after returns how long a request takes that needs so many round trips: the trips, and the time that
// the server itself takes.
func (t *timing) after(trips float64) time.Duration {
	return time.Duration(trips*float64(t.rtt+tripOverhead)) + t.typical - t.rtt
}
