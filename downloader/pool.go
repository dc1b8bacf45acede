package downloader

import (
	"context"
	"sync"
	"time"

	"pawl/chunk"
)

const (
	firstRange   = 4 << 20                // bytes of a connection's first request, before its rate is known
	leastRange   = 1 << 20                // bytes of the smallest request, but for what is left over
	rangeTrips   = 20                     // round trips that a request lasts at least: between two is one without a byte
	leastHalf    = 64 << 10               // bytes of the smallest half worth a new request
	runLength    = 10 * time.Second       // a request asks for what the connection fetches in this time
	worthOpening = 100 * time.Millisecond // what is done sooner, or in a few round trips, is not worth another connection
	worthTrips   = 3
	leastSteal   = 50 * time.Millisecond // what a connection needs longer for, and than a few round trips, may be shared
	stealTrips   = 4
	stuckAfter   = 5 * time.Second // without a byte, others may take all that a connection has left
	muchSlower   = 8               // times slower than the taker is slow enough to take all, too
	replaceAmong = 4               // connections, of which one may be much slower than the others
	replaceAfter = time.Second     // of a request, and before its end, one is replaced
	replaceBelow = 16 << 20        // bytes per second; what is faster is no burden
	replaceEvery = 250 * time.Millisecond
	replaceMost  = 16 * time.Second // this long, doubling, after some that have not become faster
	tooSlow      = 2                // times slower than the mean is slow enough for that
	rateWindow   = 500 * time.Millisecond
	hasFallen    = 2       // times less than before is a rate that is believed at once
	rateHistory  = 0.5     // weight of the windows before the newest
	leastRate    = 1 << 10 // bytes per second; less than this for long is no better than silence
)

// A pool says which connection of one download fetches what. All methods are
// safe for concurrent use, and none waits.
type pool struct {
	single bool // one connection takes everything, in ascending order

	mu       sync.Mutex
	plan     *chunk.Plan
	lanes    []*lane       // the first one is that of the URL asked
	workers  []*worker     // alive; the last one never steps down
	replaced time.Time     // when a slow connection was last replaced
	patience time.Duration // until the next one is
	yielded  time.Time     // when a connection was last given to another download
}

// A worker is one connection's share of the work.
type worker struct {
	// guarded by pool.mu
	lane     *lane
	buf      *buffer                 // bytes read and not yet written; nil before the first
	claim    *chunk.Claim            // nil between requests
	cancel   context.CancelCauseFunc // ends the request under way; nil between requests
	reach    int64                   // where the body of the answer ends; 0 before there is one
	was      float64                 // its rate before its connection was replaced; 0 when that is judged
	rate     float64                 // bytes per second; 0 unknown
	asked    time.Time               // when the request began, and then when its answer did
	lastByte time.Time               // or when the request began
	winStart time.Time               // of the rate window
	winBytes int64
	dripping time.Time // since when the rate is below leastRate; zero if it is not
	waiting  bool      // for its next try
	worked   bool      // since its last refusal
	queued   bool      // its request waits for its turn, and is not yet sent
}

// newPool returns the pool of a plan; its first worker has a connection that is
// counted at the host.
func newPool(h *host, plan *chunk.Plan, single bool) *pool {
	p := &pool{plan: plan, single: single}
	p.lanes = []*lane{newLane(h)}
	return p
}

// begin admits w with an answer under way, whose body is the bytes of r, the
// first of which is the lowest unclaimed one, and which cancel ends. A part has its
// claim at once, and can extend it as far as the body goes.
func (p *pool) begin(w *worker, r chunk.Range, whole bool, cancel context.CancelCauseFunc, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.lane = p.lanes[0]
	p.workers = append(p.workers, w)
	if !whole {
		p.assign(w, p.plan.Take(min(r.Len(), firstRange)), now)
	}
	w.cancel, w.reach, w.asked = cancel, r.End, now
}

// answered notes that the body of the answer to w's request ends at reach. A rate that
// counts a long wait for it would tell nothing of the connection.
func (p *pool) answered(w *worker, reach int64, took time.Duration, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(w.asked) > rateWindow/2 {
		w.winStart, w.winBytes = now, 0
	}
	w.reach, w.asked = reach, now
	w.lane.growth.answered(took)
}

// extend adds to the claim of w what its answer has beyond it and nobody else
// fetches, and returns how many bytes w then has yet to read.
func (p *pool) extend(w *worker) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.claim == nil {
		return 0
	}
	p.stretch(w, p.share(w))
	return w.claim.Arriving().Len()
}

// stretch is extend by so many bytes at most.
func (p *pool) stretch(w *worker, most int64) {
	if most = min(most, w.reach-w.claim.Arriving().End); most > 0 {
		p.plan.Extend(w.claim, most)
	}
}

// next gives w its next claim: unclaimed bytes first, then half of what the
// slowest has left, then all of what a stuck one has left. Without any, w is
// no longer of the pool, and next returns false.
func (p *pool) next(w *worker, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.workers) > 1 && (w.lane.host.crowded() || p.plan.Unclaimed() > 0 && p.tooMany(w.lane)) {
		p.remove(w)
		return false
	}
	c := p.plan.Take(p.share(w))
	if c == nil && !p.single {
		c = p.plan.Steal(leastHalf, func(c *chunk.Claim) float64 {
			if left := p.timeLeft(c, now); left > p.worthSteal(p.owner(c)) {
				return left
			}
			return 0
		})
	}
	if c == nil {
		c = p.seizeStuck(w, now)
	}
	if c == nil {
		p.remove(w)
		return false
	}
	p.assign(w, c, now)
	return true
}

func (p *pool) assign(w *worker, c *chunk.Claim, now time.Time) {
	if now.Sub(w.lastByte) > rateWindow { // it was idle, and the window tells nothing
		w.winStart, w.winBytes = now, 0
	}
	w.claim, w.lastByte = c, now
}

// share returns how many bytes w should ask for: what it fetches in runLength,
// but no more than leaves something for the others.
func (p *pool) share(w *worker) int64 {
	if p.single {
		return chunk.Unbounded
	}
	want := int64(firstRange)
	if rate := w.rateNow(); rate > 0 {
		want = int64(rate * runLength.Seconds())
	}
	fair := p.plan.Unclaimed() / int64(len(p.workers)+1)
	least := int64(w.rateNow() * (rangeTrips * w.lane.growth.trip).Seconds())
	return max(leastRange, min(least, fair), min(want, fair/2))
}

// asking notes that w sends a request that cancel ends.
func (p *pool) asking(w *worker, cancel context.CancelCauseFunc, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.cancel, w.asked, w.lastByte, w.reach, w.dripping = cancel, now, now, 0, time.Time{}
}

// queue notes that the request of w begins to wait for its turn, or has waited.
func (p *pool) queue(w *worker, waits bool, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.queued, w.lastByte = waits, now
}

// arrive notes n bytes read by w. It returns how many of them are wanted, and
// how many more are.
func (p *pool) arrive(w *worker, n int, now time.Time) (kept int, left int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.waiting, w.worked = false, true
	k := p.plan.Arrive(w.claim, int64(n))
	if k < int64(n) { // the body is beyond the claim, and must not be read on
		w.reach = w.claim.Arriving().End
	}
	w.lastByte = now
	w.winBytes += int64(n)
	w.lane.bytes += int64(n)
	if d := now.Sub(w.winStart); d >= rateWindow {
		r := float64(w.winBytes) / d.Seconds()
		if r >= leastRate {
			w.dripping = time.Time{}
		} else if w.dripping.IsZero() {
			w.dripping = w.winStart
		}
		if w.rate > 0 && r > w.rate/hasFallen { // else it is another connection, or a shaped one
			r = rateHistory*w.rate + (1-rateHistory)*r
		}
		w.rate, w.winStart, w.winBytes = r, now, 0
		p.judgeNew(w)
	}
	return int(k), w.claim.Arriving().Len()
}

// arriving returns the bytes that w has yet to read.
func (p *pool) arriving(w *worker) chunk.Range {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.claim == nil {
		return chunk.Range{}
	}
	return w.claim.Arriving()
}

// setBuffer makes b the buffer of w, for the committer to find.
func (p *pool) setBuffer(w *worker, b *buffer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.buf = b
}

// wrote notes that the next n arrived bytes of w are written. It returns how
// many bytes of the file now are.
func (p *pool) wrote(w *worker, n int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan.Hold(w.claim, n)
	return p.plan.HeldLen()
}

// ended notes that the file ends at size, where a stream of unknown length did.
func (p *pool) ended(size int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.plan.SetSize(size)
}

// heldLen returns how many bytes are written.
func (p *pool) heldLen() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.plan.HeldLen()
}

// lose makes what is written from off on missing again.
func (p *pool) lose(off int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.plan.Lose(chunk.Range{Off: off, End: chunk.Unbounded})
}

// prefix returns how many bytes are written without a gap from the start.
func (p *pool) prefix() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.plan.Prefix()
}

// done reports whether every byte is written, and the size.
func (p *pool) done() (size int64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.plan.Size(), p.plan.Done()
}

// buffers returns those of the workers.
func (p *pool) buffers() []*buffer {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*buffer
	for _, w := range p.workers {
		if w.buf != nil {
			all = append(all, w.buf)
		}
	}
	return all
}

// release ends the claim of w; what of it is not written is unclaimed again.
func (p *pool) release(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(w)
}

func (p *pool) drop(w *worker) {
	if w.claim != nil {
		p.plan.Release(w.claim)
	}
	w.claim, w.cancel = nil, nil
}

// again reports whether w, which is refused, has worked before, and so may ask again.
func (p *pool) again(w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	worked := w.worked
	w.worked = false
	return worked
}

// stepDown takes w out of the pool if others are left, who go on without it.
// Otherwise w is the last, and waits for its next try.
func (p *pool) stepDown(w *worker) (left int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.workers) == 1 {
		w.waiting = true
		return 1, false
	}
	p.remove(w)
	return len(p.workers), true
}

// remove takes w out of the pool, with p.mu held. The caller's worker must end
// without asking for anything more.
func (p *pool) remove(w *worker) {
	p.drop(w)
	for i, o := range p.workers {
		if o == w {
			p.workers = append(p.workers[:i], p.workers[i+1:]...)
			w.lane.host.leave()
			return
		}
	}
}

// leave takes w out of the pool when it ends, if it is still there.
func (p *pool) leave(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remove(w)
}

// conns returns how many connections work.
func (p *pool) conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.workers)
}
