package sched

import (
	"cmp"
	"time"
)

const (
	// minTimeLeft and minTripsLeft (round trips) are how long the download must still take
	// for unclaimed bytes to be worth another connection. A guess: a new connection needs
	// coldTrips. At half, connections are opened that are of no use; at double, the end of a
	// file has too few.
	minTimeLeft  = 100 * time.Millisecond
	minTripsLeft = 3
	// typicalHistory is the weight of the connections that have left before the last. A
	// guess; the value itself matters: without it, a download from a server with some slow
	// connections takes 50 % longer. At half, the last one decides; at double (above 1), none does.
	typicalHistory = 0.75
)

// A Gate says how many connections a source grants. Its methods are called with the lock
// of the Scheduler held: they must not wait, nor call the Scheduler or its connections.
type Gate interface {
	Join()  // counts a download that may have several connections
	Leave() // undoes Join

	TryOpen(now time.Time) bool // counts another connection of the download, if one may be opened
	Adopt()                     // counts one in any case
	Release()                   // a counted connection has ended

	Downloads() int             // downloads that have joined, this one included
	FairShare() int             // connections that each download may have beside the others
	OverShare() bool            // another download has no connection, or another process has too few
	Wanted(mine int) bool       // another download needs a connection of a download that has so many
	MustRelease(last bool) bool // another process needs one; last: it is the download's only one; true uses up the need
	Queued() bool               // a new connection waits for a free slot of this machine
}

// A Source is a URL to which connections lead: the requested one, or a mirror. Its exported fields
// must not be changed after it was given to a Scheduler; one Scheduler only can use it.
type Source struct {
	Gate Gate
	TLS  bool
	Tag  any // of the caller

	// guarded by Scheduler.mu
	ramp        ramp
	timing      timing
	bytes       int64   // received
	pooled      int     // TCP connections that were left open, as far as is known
	typicalRate float64 // bytes per second of the connections that have left; 0 if unknown
	multiUse    bool    // a second request has had a response, so the URL is not a single-use link
}

// join makes the source ready for connections.
func (src *Source) join() {
	src.Gate.Join()
	src.ramp = ramp{timing: &src.timing, tls: src.TLS}
}

// expectedRate returns the bytes per second that a new connection is likely to have, 0 if
// nothing is known. At the end of a download the slow connections remain, so the rate of
// the faster ones that have left counts, too.
func (src *Source) expectedRate(all conns, now time.Time) float64 {
	rate := max(src.typicalRate, all.meanRate(src, now))
	if src.bytes == 0 { // until it is tried, it is taken to be as fast as the others
		rate = cmp.Or(rate, all.meanRate(nil, now))
	}
	return rate
}

// noteLeft includes the rate of a connection that leaves in the typical rate.
func (src *Source) noteLeft(rate float64) {
	if rate > 0 {
		src.typicalRate = cmp.Or(src.typicalRate, rate)*typicalHistory + rate*(1-typicalHistory)
	}
}

// tripsUntil returns after how many round trips a connection that is reused, or else a new one, receives
// at a rate, in bytes per second.
func (src *Source) tripsUntil(rate float64, reused bool) float64 {
	switch {
	case reused:
		return warmTrips
	case src.TLS:
		return coldTrips + 1 + src.timing.slowStart(rate)
	}
	return coldTrips + src.timing.slowStart(rate)
}

// rampUp opens further connections if the ramp, the Gate and the remaining work allow.
func (src *Source) rampUp(s *Scheduler, now time.Time, open func(*Conn)) {
	for range src.openable(s, now) {
		if !s.hasRoom(src) || !src.hasWork(s, now) || s.conns.count(src) >= src.Gate.FairShare() || !src.Gate.TryOpen(now) {
			return
		}
		s.admit(src, open)
	}
}

// openable returns how many further connections the ramp allows. One at least, if the source
// has none, or if all work and the rest of the file is claimed: it takes over from a slow one.
func (src *Source) openable(s *Scheduler, now time.Time) int {
	n, working := 0, 0
	for _, c := range s.conns {
		if c.source != src {
			continue
		}
		if n++; c.backsOff {
			return 0
		}
		if c.delivered || c.meter.windowBytes > 0 || s.timeouts.isStuck(c, now) {
			working++
		}
	}
	more := src.ramp.more(n, working, src.bytes, now)
	if n == 0 || working == n && s.plan.Unclaimed() == 0 && !src.ramp.isEnough(n) {
		return max(1, more)
	}
	return more
}

// hasWork reports whether another connection would have something to do. The time that it must gain grows
// with the number of downloads that share the source: it takes a part of its rate from their connections,
// so a file that is about as large as the others is not worth a second one.
func (src *Source) hasWork(s *Scheduler, now time.Time) bool {
	sharers := src.Gate.Downloads()
	worth := float64(sharers) * max(minTimeLeft, minTripsLeft*src.timing.rtt).Seconds()
	if s.plan.Unclaimed() > 0 && s.timeLeft(now) > worth {
		return true
	}
	rate := src.expectedRate(s.conns, now)
	t := thief{source: src, rate: rate, trips: src.tripsUntil(rate, src.pooled > 0), sharers: sharers}
	return t.slowest(s, now).victim != nil
}

// isTooMany reports whether n connections are more than pay, or than the fair share.
func (src *Source) isTooMany(n int) bool {
	return src.ramp.isTooMany(n) || n > src.Gate.FairShare()
}
