package downloader

// This file is about connections that are slow: how long each still needs, and
// who takes over from whom.

import (
	"time"

	"pawl/chunk"
)

// rateNow is the rate, if need be as far as it can be told within the first window.
func (w *worker) rateNow() float64 {
	if d := w.lastByte.Sub(w.winStart); w.rate == 0 && d > growEvery/2 {
		return float64(w.winBytes) / d.Seconds()
	}
	return w.rate
}

// timeLeft returns the seconds that the owner of c needs for the rest of it, as
// far as can be told; a rate measured before a silence is worth less with each
// moment of it.
func (p *pool) timeLeft(c *chunk.Claim, now time.Time) float64 {
	w := p.owner(c)
	if w == nil {
		return 0
	}
	rate := w.rate
	if d := now.Sub(w.winStart); d > rateWindow/2 { // soon enough to tell one that is slow
		if lately := float64(w.winBytes) / d.Seconds(); rate == 0 || lately < rate/hasFallen {
			rate = lately
		}
	}
	if rate == 0 {
		rate = p.meanRate()
	}
	if silent := now.Sub(w.lastByte); silent > rateWindow {
		rate *= rateWindow.Seconds() / silent.Seconds()
	}
	return float64(c.Arriving().Len()) / max(rate, 1)
}

// meanOf is the mean of the rates of the connections of l that have been measured.
func (p *pool) meanOf(l *lane) float64 {
	sum, n := 0.0, 0
	for _, w := range p.workers {
		if w.lane == l && w.rate > 0 {
			sum, n = sum+w.rate, n+1
		}
	}
	return sum / float64(max(n, 1))
}

// meanRate is what is expected of a connection that has not been measured yet.
// It is high where none has.
func (p *pool) meanRate() float64 {
	sum, n := 0.0, 0
	for _, w := range p.workers {
		if w.rate > 0 {
			sum, n = sum+w.rate, n+1
		}
	}
	if n == 0 {
		return firstRange
	}
	return sum / float64(n)
}

func (p *pool) owner(c *chunk.Claim) *worker {
	for _, w := range p.workers {
		if w.claim == c {
			return w
		}
	}
	return nil
}

// seizeStuck takes all that a worker has left that is silent, or much slower
// than w, and ends its request.
func (p *pool) seizeStuck(w *worker, now time.Time) *chunk.Claim {
	for _, v := range p.workers {
		if v == w || !p.isStuck(v, w.rate, now) {
			continue
		}
		if c := p.plan.Seize(v.claim); c != nil {
			v.cancel(errSeized)
			return c
		}
	}
	return nil
}

// isStuck reports whether another connection of the given rate, 0 if unknown,
// should take over from v.
func (p *pool) isStuck(v *worker, rate float64, now time.Time) bool {
	if v.claim == nil || v.cancel == nil || v.queued || v.claim.Arriving().Empty() {
		return false
	}
	if now.Sub(v.lastByte) > stuckAfter {
		return true
	}
	left := p.timeLeft(v.claim, now)
	return rate > 0 && left > p.worthSteal(v) && left > muchSlower*float64(v.claim.Arriving().Len())/rate
}

// untilDone returns the seconds that the connections need for all that is missing,
// as far as can be told.
func (p *pool) untilDone() float64 {
	missing, rate := p.plan.Unclaimed(), 0.0
	for _, w := range p.workers {
		if w.claim != nil {
			missing += w.claim.Arriving().Len()
		}
		rate += w.rateNow()
	}
	return float64(missing) / max(rate, 1)
}

// wants reports whether a further connection of l would have something to do.
func (p *pool) wants(l *lane, now time.Time) bool {
	if p.plan.Unclaimed() > 0 && p.untilDone() > max(worthOpening, worthTrips*l.growth.trip).Seconds() {
		return true
	}
	for _, v := range p.workers {
		if p.isStuck(v, 0, now) || p.isSlow(v, now) {
			return true
		}
	}
	return false
}

// worthSteal is what a connection must need longer for to be shared: a new request
// has to pay.
func (p *pool) worthSteal(v *worker) float64 {
	return max(leastSteal, stealTrips*v.lane.growth.trip).Seconds()
}

// isSlow reports whether v has much left for how slow it is.
func (p *pool) isSlow(v *worker, now time.Time) bool {
	if v.claim == nil || v.reach == 0 || len(p.workers) == 1 && v.rate == 0 {
		return false
	}
	return v.claim.Arriving().Len() >= 2*leastHalf && p.timeLeft(v.claim, now) > 2*p.worthSteal(v)
}

// unhang ends requests that are no use: those of a further connection that got
// no answer for long though others did, which is how some servers refuse one,
// and those of a connection on which next to nothing has come for patience.
func (p *pool) unhang(now time.Time, patience time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.workers {
		switch {
		case w.cancel == nil || w.queued || p.single:
		case w.reach == 0 && now.Sub(w.lastByte) > stuckAfter && p.othersMove(w, now) && !w.lane.host.group.queued():
			w.cancel(errHung)
		case w.reach > 0 && !w.dripping.IsZero() && now.Sub(w.dripping) > patience:
			w.cancel(errDrips)
			w.dripping = time.Time{}
		}
	}
}

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
		left := p.timeLeft(w.claim, now)
		if left > replaceAfter.Seconds() && w.rate < replaceBelow && w.rate < p.meanOf(w.lane)/tooSlow {
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
