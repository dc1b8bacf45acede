package fleet

import (
	"context"
	"sync"
	"time"
)

const (
	// maxUnpublished is how many files may be fetched but not yet durable; see package mirror.
	maxUnpublished = 512
	// soloTime is how long a file that may have killed an earlier process has this process for itself. A guess: such a
	// file kills the process soon; with half of it, a slow machine blames other files. Double delays the other files by as
	// much for each large file of machines that are often taken away.
	soloTime = 30 * time.Second
	// soloPatience is how long a file waits to be alone, while no other file may begin.
	soloPatience = 10 * time.Second
)

// A gate limits the files that a worker has in work at the same time, and lets the next one begin. A file enters, then
// releases its connection when the bytes are there, and leaves when it is durable. It is safe for concurrent use.
type gate struct {
	jobs int

	mu       sync.Mutex
	changed  *sync.Cond     // on mu
	running  int            // files that may have a connection; guarded by mu, as all fields below
	inWork   map[*pass]bool // files that have begun and not ended
	byOrigin map[string]int
	solo     *pass // the file that is alone
	waiting  bool  // a file waits to be alone
}

// A pass is a file in work.
type pass struct {
	origin   string
	begun    time.Time
	released bool
}

func newGate(jobs int) *gate {
	g := &gate{jobs: jobs, byOrigin: make(map[string]int), inWork: make(map[*pass]bool)}
	g.changed = sync.NewCond(&g.mu)
	return g
}

// busy returns how many files are in work.
func (g *gate) busy() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.inWork)
}

// hasRoom reports whether another file may begin.
func (g *gate) hasRoom() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.isOpen()
}

func (g *gate) isOpen() bool {
	return g.solo == nil && !g.waiting && g.running < g.jobs && len(g.inWork) < g.jobs+maxUnpublished
}

// enter waits until a file of an origin may begin, of which parallel ones may run. It returns nil if stopped returns
// true before; when its result changes, wake must be called. stopped must not call the gate.
func (g *gate) enter(origin string, parallel int, stopped func() bool) *pass {
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		switch {
		case stopped():
			return nil
		case g.isOpen() && g.byOrigin[origin] < max(1, parallel):
			return g.begin(origin)
		}
		g.changed.Wait()
	}
}

// enterAlone waits until a file may begin with nothing else in the process. It returns nil if stopped returns true, after
// soloPatience, or at once if another file has been in work for so long that it most likely stays for longer.
func (g *gate) enterAlone(ctx context.Context, origin string, stopped func() bool) *pass {
	ctx, cancel := context.WithTimeout(ctx, soloPatience)
	defer cancel()
	defer context.AfterFunc(ctx, g.wake)()
	g.mu.Lock()
	defer g.mu.Unlock()
	mine := false // waiting
	defer func() {
		if mine {
			g.waiting = false
			g.changed.Broadcast()
		}
	}()
	for {
		if stopped() || ctx.Err() != nil || g.hasLong() {
			return nil
		}
		if !g.waiting {
			g.waiting, mine = true, true
		}
		if mine && g.solo == nil && len(g.inWork) == 0 {
			p := g.begin(origin)
			g.solo = p
			time.AfterFunc(soloTime, func() { g.endSolo(p) })
			return p
		}
		g.changed.Wait()
	}
}

// hasLong reports whether a file has been in work for so long that it may be for much longer. The caller must hold mu.
func (g *gate) hasLong() bool {
	for p := range g.inWork {
		if time.Since(p.begun) > soloPatience {
			return true
		}
	}
	return false
}

func (g *gate) begin(origin string) *pass {
	p := &pass{origin: origin, begun: time.Now()}
	g.running++
	g.inWork[p] = true
	g.byOrigin[origin]++
	return p
}

// endSolo lets others begin beside a file that was alone.
func (g *gate) endSolo(p *pass) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.solo == p {
		g.solo = nil
		g.changed.Broadcast()
	}
}

// release makes room for another file: p needs no connection any more. It may be called again.
func (g *gate) release(p *pass) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.releaseLocked(p)
}

func (g *gate) releaseLocked(p *pass) {
	if p.released {
		return
	}
	p.released = true
	g.running--
	if g.byOrigin[p.origin]--; g.byOrigin[p.origin] == 0 {
		delete(g.byOrigin, p.origin)
	}
	g.changed.Broadcast()
}

// leave ends a file.
func (g *gate) leave(p *pass) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.releaseLocked(p)
	delete(g.inWork, p)
	if g.solo == p {
		g.solo = nil
	}
	g.changed.Broadcast()
}

// wake makes all waiting callers call stopped again.
func (g *gate) wake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.changed.Broadcast()
}
