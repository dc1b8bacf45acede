package downloader

import (
	"errors"
	"time"
)

// errGiveBack is the cause of a request that ended because other processes are to
// have its connection.
var errGiveBack = errors.New("the connection is given back")

// giveBack ends the request of one connection, if the process has more than its
// share. A file that comes in one piece goes on: it would begin again.
func (p *pool) giveBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.single {
		return
	}
	for _, w := range p.workers {
		if w.claim == nil || w.cancel == nil || w.reach == 0 || time.Since(w.lastByte) > stuckAfter {
			continue // nothing comes on it yet; or no more, which is another matter
		}
		if w.lane.host.group.owes(len(p.workers) == 1) {
			w.reach = 0 // it is not extended any more
			w.cancel(errGiveBack)
		}
		return
	}
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
