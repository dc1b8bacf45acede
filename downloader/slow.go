package downloader

// This file is about connections that are slow: how long each still needs, and
// who takes over from whom.

import (
	"cmp"
	"time"

	"pawl/chunk"
)

// rateAt returns the bytes per second of w as far as can be told at now, 0 if it is too
// young.
func (w *worker) rateAt(now time.Time) float64 {
	d := now.Sub(w.winStart)
	lately := float64(w.winBytes) / d.Seconds()
	switch {
	case w.winBytes == 0: // how long it has been silent tells more
	case w.rate == 0 && d > max(youngest, youngTrips*w.lane.growth.trip):
		return lately
	case w.rate > 0 && d > rateWindow/2 && differs(lately, w.rate):
		return lately
	}
	return w.rate
}

// roughly is rateAt of a connection that may be very young.
func (w *worker) roughly(now time.Time) float64 {
	if d := w.lastByte.Sub(w.winStart); w.rate == 0 && d > growEvery/2 {
		return float64(w.winBytes) / d.Seconds()
	}
	return w.rateAt(now)
}

// differs reports whether a rate tells that something has changed.
func differs(rate, before float64) bool {
	return rate*hasChanged < before || rate > before*hasChanged
}

// meanOf is the mean of the rates of the connections of l, or of all where l is nil,
// that can be told, and 0 if none can.
func (p *pool) meanOf(l *lane, now time.Time) float64 {
	sum, n := 0.0, 0
	for _, w := range p.workers {
		if rate := w.rateAt(now); rate > 0 && (l == nil || w.lane == l) {
			sum, n = sum+rate, n+1
		}
	}
	return sum / float64(max(n, 1))
}

// usual is the rate that is expected of a new connection of l, 0 if nothing tells.
func (p *pool) usual(l *lane, now time.Time) float64 {
	usual := max(l.usual, p.meanOf(l, now)) // at the end, it is the fast ones that have left
	if l.bytes == 0 {                       // as those of others, until it is tried
		usual = cmp.Or(usual, p.meanOf(nil, now))
	}
	return usual
}

// expected is the rate of w, or else what is expected of it, 0 if nothing tells.
func (p *pool) expected(w *worker, now time.Time) float64 {
	return cmp.Or(w.rateAt(now), p.usual(w.lane, now))
}

// timeLeft returns the seconds that w needs for the rest of its claim, as far as can be
// told; a rate measured before a silence is worth less with each moment of it, once
// there is an answer.
func (p *pool) timeLeft(w *worker, now time.Time) float64 {
	rate := cmp.Or(p.expected(w, now), p.meanOf(nil, now), firstRange)
	if silent := now.Sub(w.lastByte); silent > rateWindow && w.reach > 0 {
		rate *= rateWindow.Seconds() / silent.Seconds()
	}
	return w.untilAnswer(now).Seconds() + float64(w.claim.Arriving().Len())/max(rate, 1)
}

// untilAnswer returns how long the answer to w's request is to be waited for still: what
// answers have taken of late, and where it is overdue, as long again.
func (w *worker) untilAnswer(now time.Time) time.Duration {
	switch {
	case w.reach > 0 || w.cancel == nil:
		return 0
	case w.isOverdue(now):
		return now.Sub(w.asked)
	}
	return max(0, w.lane.growth.wait-now.Sub(w.asked))
}

// isOverdue reports whether w's request was sent long ago, for what answers take. One in
// place of another without an answer has twice the time of that, so that at last one of
// them has the time that the server needs.
func (w *worker) isOverdue(now time.Time) bool {
	g := w.lane.growth
	return w.awaits && now.Sub(w.asked) > max(overdueLeast, 2*g.wait+coldTrips*(g.trip+tripTime), 2*w.instead)
}

// sent notes that the request of w is sent, or has failed and will be tried again.
func (p *pool) sent(w *worker, yes bool, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.awaits = yes; yes {
		w.asked = now
	}
}

// A theft is what one connection may take over of what another has yet to read.
type theft struct {
	victim *worker
	bytes  int64
	all    bool // and the request of the victim is of no more use
}

// theft returns what to take over for a connection of l that is expected to have this
// rate, measured or not, and whose first byte comes after so many round trips: of the
// claim that would be done last, if that is gained enough by. Otherwise there is no victim.
func (p *pool) theft(l *lane, rate float64, measured bool, trips int, now time.Time) (best theft) {
	cost := (time.Duration(trips)*(l.growth.trip+tripTime) + l.growth.wait - l.growth.trip).Seconds()
	least, longest := max(leastGain, l.growth.trip).Seconds(), 0.0
	for _, v := range p.workers {
		if v.claim == nil || v.claim.Arriving().Empty() || v.queued { // who would take it would have to queue, too
			continue
		}
		left := p.timeLeft(v, now)
		t, gain := p.split(v, left, rate, measured, cost, now)
		if gain > least && left > longest {
			best, longest = t, left
		}
	}
	return best
}

// split divides what v has yet to read, which takes it left seconds, so that both are
// done at the same time, where the other one has this rate and begins after cost
// seconds. It returns by how many seconds they are done sooner, 0 if it is not worth it.
// All is taken from one that is stuck, or much slower than what has been measured, and
// what is too little to be divided from one whose answer is overdue.
func (p *pool) split(v *worker, left, rate float64, measured bool, cost float64, now time.Time) (t theft, gain float64) {
	size := float64(v.claim.Arriving().Len())
	own := size / left // bytes per second
	all, gainOfAll := theft{v, v.claim.Arriving().Len(), true}, left-cost-size/rate
	if p.isStuck(v, now) {
		return all, stuckAfter.Seconds()
	}
	if measured && rate > muchSlower*own && v.cancel != nil && (v.awaits || !p.capped) {
		return all, gainOfAll
	}
	both := (size + rate*cost) / (own + rate)
	t, gain = theft{victim: v, bytes: int64(size - own*both)}, left-both
	switch few := t.bytes < leastSteal && gain < muchGain.Seconds() || t.bytes < leastSteal/4; {
	case few && measured && v.isOverdue(now):
		return all, gainOfAll
	case few || p.capped: // by ourselves
		return t, 0
	}
	return t, gain
}

// theftBy returns what w is to take over.
func (p *pool) theftBy(w *worker, now time.Time) theft {
	trips := warmTrips
	if !w.warm {
		trips = coldTrips
	}
	return p.theft(w.lane, p.expected(w, now), w.rateAt(now) > 0, trips, now)
}

// inFlight returns how many bytes are on their way to w, whether they are wanted or
// not, and how soon they are there, if its connection can be of use afterwards;
// otherwise 0.
func (p *pool) inFlight(w *worker, now time.Time) (n int64, in time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.plan.Unclaimed() == 0 && p.theftBy(w, now).victim == nil {
		return 0, 0
	}
	trip := w.lane.growth.trip
	return min(int64(w.rateAt(now)*trip.Seconds()), mostInFlight), 2 * (trip + tripTime)
}

// steal takes over for w what another has yet to read, nil if that does not pay.
func (p *pool) steal(w *worker, now time.Time) *chunk.Claim {
	t := p.theftBy(w, now)
	if t.victim == nil {
		return nil
	}
	if t.all {
		if t.victim.awaits {
			w.instead, t.victim.relieved = now.Sub(t.victim.asked), true
		}
		if t.victim.reach == 0 && p.isStuck(t.victim, now) {
			p.waitLonger()
		}
		t.victim.cancel(errSeized)
	}
	return p.plan.Steal(t.victim.claim, t.bytes)
}

// isStuck reports whether nothing has come on v for long, though it was asked for.
func (p *pool) isStuck(v *worker, now time.Time) bool {
	if v.claim == nil || v.cancel == nil || v.queued || v.claim.Arriving().Empty() {
		return false
	}
	silent := now.Sub(v.lastByte)
	return silent > stuckAfter && (v.reach > 0 || silent > p.hangs)
}

// setCapped notes whether our own limit is what keeps all from being faster.
func (p *pool) setCapped(limit float64, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rate := 0.0
	for _, w := range p.workers {
		rate += w.rateAt(now)
	}
	p.capped = limit > 0 && rate*nearLimit > limit
}

// untilDone returns the seconds that the connections need for all that is missing,
// as far as can be told.
func (p *pool) untilDone(now time.Time) float64 {
	missing, rate := p.plan.Unclaimed(), 0.0
	for _, w := range p.workers {
		if w.claim != nil {
			missing += w.claim.Arriving().Len()
		}
		rate += w.roughly(now)
	}
	return float64(missing) / max(rate, 1)
}

// wants reports whether a further connection of l would have something to do.
func (p *pool) wants(l *lane, now time.Time) bool {
	if p.plan.Unclaimed() > 0 && p.untilDone(now) > max(worthOpening, worthTrips*l.growth.trip).Seconds() {
		return true
	}
	return p.theft(l, p.usual(l, now), false, coldTrips, now).victim != nil
}

// unhang ends requests that are no use: those of a further connection that got
// no answer for long though others did, which is how some servers refuse one,
// and those of a connection on which next to nothing has come for patience. One that is
// overdue is asked again where nobody has an answer who could take it over.
func (p *pool) unhang(now time.Time, patience time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	hung := false
	for _, w := range p.workers {
		switch {
		case w.cancel == nil || w.queued || p.single:
		case w.reach == 0 && now.Sub(w.lastByte) > max(stuckAfter, p.hangs) && p.othersMove(w, now) && !w.lane.host.addr.IsQueued():
			w.cancel(errHung)
			hung = true
		case w.lane.growth.wait > 0 && w.isOverdue(now) && !p.othersMove(w, now):
			w.instead = now.Sub(w.asked)
			w.cancel(errReplaced)
		case w.reach > 0 && !w.dripping.IsZero() && now.Sub(w.dripping) > patience:
			w.cancel(errDrips)
			w.dripping = time.Time{}
		}
	}
	if hung {
		p.waitLonger()
	}
}

// waitLonger lets requests go without an answer for longer from now on, as perhaps all
// of them take so long.
func (p *pool) waitLonger() { p.hangs = 2 * max(stuckAfter, p.hangs) }

// replace ends the request of a connection that is much slower than the others of
// its lane, so that what is left goes on over a new one, which may be better: some
// machines behind an address are slow, and a connection that has lost packets takes
// long to become as fast as a new one is. One at a time, as there may be a reason.
func (p *pool) replace(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.replaced) < max(replaceEvery, p.patience) || len(p.workers) < replaceAmong {
		return
	}
	for _, w := range p.workers {
		if w.cancel == nil || w.claim == nil || w.reach == 0 || w.rate == 0 || now.Sub(w.asked) < replaceAfter {
			continue
		}
		if p.timeLeft(w, now) > replaceAfter.Seconds() && w.rate < replaceBelow && w.rate < p.meanOf(w.lane, now)/tooSlow {
			p.replaced, w.was = now, w.rate
			w.cancel(errReplaced)
			return
		}
	}
}

// judgeNew looks whether a connection that has replaced another one is faster.
func (p *pool) judgeNew(w *worker) {
	switch {
	case w.was == 0 || w.reach == 0:
		return
	case w.rate > 1.5*w.was:
		p.patience = 0
	default:
		p.patience = min(2*max(replaceEvery, p.patience), replaceMost)
	}
	w.was = 0
}

// forgiveDrips forgets which connections are next to silent, where that tells
// nothing about the server.
func (p *pool) forgiveDrips() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.workers {
		w.dripping = time.Time{}
	}
}

// othersMove reports whether a worker other than w has just received something.
func (p *pool) othersMove(w *worker, now time.Time) bool {
	for _, v := range p.workers {
		if v != w && v.reach > 0 && now.Sub(v.lastByte) < time.Second {
			return true
		}
	}
	return false
}
