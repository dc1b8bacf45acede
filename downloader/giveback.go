package downloader

import (
	"errors"
	"time"
)

// errGiveBack is the cause of a request that ended because other processes are to
// have its connection.
var errGiveBack = errors.New("the connection is given back")

// giveBack ends the request of one connection, if the process has more than its
// share, or another download has none. A file that comes in one piece goes on: it would begin again.
func (p *pool) giveBack(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.single {
		return
	}
	for _, w := range p.workers {
		if w.claim == nil || w.cancel == nil || w.reach == 0 || now.Sub(w.lastByte) > stuckAfter {
			continue // nothing comes on it yet; or no more, which is another matter
		}
		if w.lane.host.addr.MustRelease(len(p.workers) == 1) || p.yields(w.lane, now) {
			w.reach = 0 // it is not extended any more
			w.cancel(errGiveBack)
			return
		}
	}
}

// yieldEvery is how long a connection that was given to another download has to get
// there, before the next one is.
const yieldEvery = 200 * time.Millisecond

// yields reports whether a connection of l goes to another download.
func (p *pool) yields(l *lane, now time.Time) bool {
	if now.Sub(p.yielded) < yieldEvery || !l.host.wanted(p.countOf(l)) {
		return false
	}
	p.yielded = now
	return true
}

// goWithout takes w, whose connection was given back, out of the pool if others
// are left. Otherwise it asks again, and waits for a slot.
func (p *pool) goWithout(w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.workers) == 1 {
		return false
	}
	p.remove(w)
	return true
}
