package downloader

// This file is about where the connections of a download lead: to the URL asked and
// to mirrors, and how many to each.

import (
	"slices"
	"strings"
	"time"

	"pawl/chunk"
)

// A lane is the connections of one download to one source.
type lane struct {
	host   *host
	mirror *mirror // nil for the URL asked

	// guarded by pool.mu
	growth  growth
	bytes   int64   // received
	usual   float64 // bytes per second of the connections that have left, 0 if unknown
	repeats bool    // more than one request has had an answer
}

func newLane(h *host) *lane {
	return &lane{host: h, growth: growth{start: h.begin(), tls: strings.HasPrefix(h.origin, "https:")}}
}

// end gives up the lanes, when all workers have left. It returns how many
// connections were best on each, 0 where that is not known.
func (p *pool) end() (best []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lanes {
		l.host.end()
		best = append(best, l.growth.best)
	}
	return best
}

// grow admits further workers, whose connections then are open to their hosts, where
// there is work for them and the host takes them. spawn is called before another
// worker can leave.
func (p *pool) grow(now time.Time, spawn func(*worker)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.single || len(p.workers) == 0 {
		return
	}
	for _, l := range p.lanes {
		for range p.room(l, now) {
			if !p.wants(l, now) || p.countOf(l) >= l.host.fair() || !l.host.enterMore(now) {
				break
			}
			p.admit(l, now, spawn)
		}
	}
}

// room returns how many workers l may have in addition.
func (p *pool) room(l *lane, now time.Time) int {
	n, working := 0, 0
	for _, w := range p.workers {
		if w.lane != l {
			continue
		}
		if n++; w.waiting {
			return 0
		}
		if w.worked || w.winBytes > 0 || p.isStuck(w, now) {
			working++
		}
	}
	more := l.growth.more(n, working, l.bytes, now)
	if n == 0 || working == n && p.plan.Unclaimed() == 0 && !l.growth.enough(n) { // it begins, or takes over from one that is slow
		return max(1, more)
	}
	return more
}

// admit admits a worker whose connection is counted at the host.
func (p *pool) admit(l *lane, now time.Time, spawn func(*worker)) {
	for _, w := range p.workers {
		if w.claim != nil && w.reach > w.claim.Arriving().End { // before another takes what follows
			p.stretch(w, p.share(w, now)-w.claim.Arriving().Len())
		}
	}
	w := &worker{lane: l}
	p.workers = append(p.workers, w)
	spawn(w)
}

// precious reports whether w is to keep its open body, which goes on behind its claim:
// no other request of its lane has ever had an answer, and the one for what follows has
// none yet. Where a link may be asked only once, nobody else brings that.
func (p *pool) precious(w *worker, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.claim == nil || w.lane.repeats {
		return false
	}
	end := w.claim.Arriving().End
	return end < w.reach && slices.ContainsFunc(p.workers, func(v *worker) bool {
		return v.claim != nil && v.claim.Arriving().Off == end && (v.cancel == nil || v.reach == 0) && now.Sub(v.lastByte) < stuckAfter
	})
}

// tooMany reports whether l has more workers than pay, or than its share.
func (p *pool) tooMany(l *lane) bool {
	n := p.countOf(l)
	return l.growth.tooMany(n) || n > l.host.fair()
}

// worthMirror reports whether so much is to come that a mirror may help.
func (p *pool) worthMirror(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.meanOf(nil, now) > 0 && p.plan.HeldLen() > 0 && p.untilDone(now) > mirrorWorth.Seconds()
}

// held returns what is written.
func (p *pool) held() chunk.Set {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.plan.Held()
}

// addLane lets connections to m be opened.
func (p *pool) addLane(m *mirror) {
	l := newLane(m.host)
	l.mirror = m
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lanes = append(p.lanes, l)
}

// dropLane ends the connections to m.
func (p *pool) dropLane(m *mirror) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.workers {
		if w.lane.mirror == m && w.cancel != nil {
			w.cancel(errAside)
		}
	}
	p.lanes = slices.DeleteFunc(p.lanes, func(l *lane) bool {
		if l.mirror != m {
			return false
		}
		l.host.end()
		return true
	})
}

// retire takes w, which is of a mirror, out of the pool if others go on. Otherwise it is
// of the URL asked from then on.
func (p *pool) retire(w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.workers) > 1 {
		p.remove(w)
		return true
	}
	w.lane.host.leave()
	w.lane = p.lanes[0]
	w.lane.host.join()
	return false
}

// mirrorOf returns the mirror that w fetches from, nil for the URL asked.
func (p *pool) mirrorOf(w *worker) *mirror {
	p.mu.Lock()
	defer p.mu.Unlock()
	return w.lane.mirror
}

// countOfLane returns how many workers the lane of w has.
func (p *pool) countOfLane(w *worker) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.countOf(w.lane)
}

// countOf returns how many workers l has.
func (p *pool) countOf(l *lane) (n int) {
	for _, w := range p.workers {
		if w.lane == l {
			n++
		}
	}
	return n
}
