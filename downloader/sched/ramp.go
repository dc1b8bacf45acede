package sched

import "time"

// The values of the ramp are guesses, if not noted otherwise, that its tests keep to within
// 10 % of the optimum on modelled links. Measured: without the special cases for a new
// source (firstConns, the overlapping trial), a download takes 25 % longer at 80 ms of
// round trip time, 31 % longer with packet loss, and 12 % longer from a throttled server.
const (
	// firstConns is the number of connections after the first response, without a measurement. At
	// half, a throttled server takes one step longer (3 % of 48 MiB at 4 MB/s per connection, 17 % of 512 MiB on loopback);
	// at double, small servers are crowded.
	firstConns = 8
	// fastBytes is the number of bytes per connection from which on they are fast enough to
	// be measured first. At half, TCP slow start is measured; at double, some fast servers
	// get connections that do not pay.
	fastBytes = 4 << 20
	// minSampleBytes per connection make a rate. At half, a single burst is a rate; at
	// double, slow connections are measured later. maxSampleTime makes one in any case.
	minSampleBytes = 16 << 10
	maxSampleTime  = 3 * time.Second
	// cpuBoundRate in bytes per second is the rate from which on the local CPU may be the
	// bottleneck, so that minBusySampleTime must pass before a rate is believed. At half,
	// 1 Gbit/s links start slowly; at double, TLS on a slow machine gets connections that
	// only cost CPU time. A shorter sample follows the scheduler of the machine; double
	// delays the second connection of a download of 100 MiB beyond its end.
	cpuBoundRate      = 200 << 20
	minBusySampleTime = 500 * time.Millisecond
	// minSettleTime and settleTrips (round trips) must pass after all connections have their
	// first bytes before a rate is believed. At half, the burst of a new connection counts
	// as its rate; at double, each doubling takes twice as long.
	minSettleTime = 80 * time.Millisecond
	settleTrips   = 2
	// minGrowth is the share by which the total rate must rise for twice the connections. At
	// half, noise looks like a gain; at double, connections of a link with loss do not pay.
	minGrowth = 0.1
	// minTrialPause and maxTrialPause limit the pause after a trial that did not pay; it
	// doubles each time. At half, connections are opened for nothing twice as often; at
	// double, a path that has become better stays unused for longer.
	minTrialPause = 2 * time.Second
	maxTrialPause = time.Minute
	// fallenBy is how many times lower than at the last trial a rate must be to end the
	// pause early. At half (below 1), no pause would hold; at double, a server that has
	// begun to throttle is noticed only at a third of its rate.
	fallenBy = 1.4
)

// A ramp decides how many connections a download has to one source: twice as many at a
// time as long as their total rate rises, and back to the last number that paid.
type ramp struct {
	timing *timing // of the same source
	tls    bool    // the connections are encrypted, and the CPU may be their limit
	max    int     // most connections that pay; 0 while unknown
	tried  bool    // a trial has ended, so the source is not new any more

	// The sample begins when all connections have received bytes; zero while some have not.
	sampleStart time.Time
	sampleBytes int64 // received from the source by then

	// A trial compares more connections with the base before them.
	base        int     // connections before the trial; 0 without a trial
	baseRate    float64 // their bytes per second; after a trial, of the last base
	overlapping bool    // the base is still measured while the connections of the trial open
	pauseUntil  time.Time
	pause       time.Duration // length of the last pause; 0 if the last trial paid
}

// settleTime returns how long a rate must be measured before it is believed.
func (r *ramp) settleTime() time.Duration { return max(minSettleTime, settleTrips*r.timing.rtt) }

// isFar reports whether it takes long until a new connection delivers: the round trip time
// is 40 ms or more.
func (r *ramp) isFar() bool { return settleTrips*r.timing.rtt >= minSettleTime }

// more returns how many connections to open in addition to n, of which so many are working
// (have received bytes). The source has received so many bytes in total.
func (r *ramp) more(n, working int, bytes int64, now time.Time) int {
	if r.overlapping && !r.endOverlap(n, working, bytes, now) {
		return 0
	}
	if working < n {
		r.sampleStart = time.Time{}
		return 0
	}
	if r.sampleStart.IsZero() {
		r.sampleStart, r.sampleBytes = now, bytes
	}
	if more, ok := r.unmeasured(n, bytes, now); ok {
		return more
	}
	d := now.Sub(r.sampleStart)
	if d < r.settleTime() || d < maxSampleTime && bytes-r.sampleBytes < int64(n)*minSampleBytes {
		return 0
	}
	rate := float64(bytes-r.sampleBytes) / d.Seconds()
	if rate > cpuBoundRate && d < minBusySampleTime {
		return 0
	}
	r.sampleStart, r.sampleBytes = now, bytes
	if r.base > 0 && n > r.base {
		return r.judge(n, rate, now)
	}
	if r.isTooMany(n) || now.Before(r.pauseUntil) && rate > r.baseRate/fallenBy { // those too many leave with the ends of their requests
		return 0
	}
	return r.try(n, rate)
}

// endOverlap reports whether an overlapping trial has gone on to its second half: one of
// its new connections works, or there was no room for them.
func (r *ramp) endOverlap(n, working int, bytes int64, now time.Time) bool {
	switch {
	case working > r.base:
		r.baseRate = float64(bytes-r.sampleBytes) / now.Sub(r.sampleStart).Seconds()
		r.overlapping, r.sampleStart = false, time.Time{}
	case n <= r.base:
		r.tried, r.base, r.overlapping = true, 0, false
	default:
		return false
	}
	return true
}

// unmeasured decides for a new source, before any trial. It returns false if n connections
// must be measured first.
func (r *ramp) unmeasured(n int, bytes int64, now time.Time) (more int, ok bool) {
	if r.tried || r.base > 0 || r.max > 0 || r.isCPUBound(n, bytes, now) {
		return 0, false
	}
	switch {
	case n < firstConns:
		return r.open(firstConns - n), true
	case r.isFar() && bytes < int64(n)*fastBytes: // a trial in the time of one round trip, not two
		r.base, r.overlapping = n, true
		return n, true
	}
	return 0, false
}

// isCPUBound reports whether a single connection may be limited by decryption, so that
// each further one must pay.
func (r *ramp) isCPUBound(n int, bytes int64, now time.Time) bool {
	if !r.tls || n != 1 {
		return false
	}
	came, d := bytes-r.sampleBytes, now.Sub(r.sampleStart)
	if d == 0 { // the sample begins now: at most one tick has passed since the first byte
		came, d = bytes, TickInterval
	}
	return float64(came) > cpuBoundRate*d.Seconds()
}

// judge ends a trial with n connections. It returns how many more to open if they paid.
func (r *ramp) judge(n int, rate float64, now time.Time) int {
	added := min(1, float64(n-r.base)/float64(r.base))
	if rate >= r.baseRate*(1+minGrowth*added) {
		r.pause = 0
		return r.try(n, rate)
	}
	r.tried, r.max = true, r.base
	r.pause = min(max(minTrialPause, 2*r.pause), maxTrialPause)
	r.pauseUntil, r.base = now.Add(r.pause), 0
	return 0
}

// limitTo ends a trial because connections beyond n got no response while these did.
func (r *ramp) limitTo(n int, now time.Time) {
	r.max, r.base, r.overlapping, r.pauseUntil = n, 0, false, now.Add(max(minTrialPause, r.pause))
}

// try begins a trial: as many connections again, or half as many if the last did not pay.
func (r *ramp) try(n int, rate float64) int {
	more := n
	if r.pause > 0 {
		more = max(1, n/2)
	}
	r.base, r.baseRate, r.max = n, rate, 0
	return r.open(more)
}

// open ends the sample because n connections are opened, and returns n.
func (r *ramp) open(n int) int {
	r.sampleStart = time.Time{}
	return n
}

// isEnough reports whether n connections are as many as pay.
func (r *ramp) isEnough(n int) bool { return r.max > 0 && n >= r.max }

// isTooMany reports whether n connections are more than pay.
func (r *ramp) isTooMany(n int) bool { return r.max > 0 && n > r.max }
