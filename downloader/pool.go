package downloader

import (
	"cmp"
	"context"
	"sync"
	"time"

	"pawl/chunk"
)

const (
	firstRange   = 8 << 20                // bytes of a connection's first request, before its rate is known
	leastRange   = 1 << 20                // bytes of the smallest request, but for what is left over
	leastFar     = 256 << 10              // where it is far, and so long until they come on one connection
	leastTime    = 20 * time.Millisecond  // that a request lasts at least
	leastTrips   = 4                      // and round trips: between two is one without a byte
	runLength    = 10 * time.Second       // a request asks for what the connection fetches in this time
	worthOpening = 100 * time.Millisecond // what is done sooner, or in a few round trips, is not worth another connection
	worthTrips   = 3
	leastSteal   = 64 << 10               // bytes of the least part worth a new request
	muchGain     = 200 * time.Millisecond // that makes any part worth one
	leastGain    = 25 * time.Millisecond  // by which, and by a round trip, a file has to be done sooner by that
	warmTrips    = 1                      // until the first byte comes on a connection that is open
	coldTrips    = 4                      // and on a new one, which is slow at first
	tripTime     = 5 * time.Millisecond   // of each of these, in addition: for us and for the server
	stuckAfter   = 5 * time.Second        // without a byte, others may take all that a connection has left
	overdueLeast = 500 * time.Millisecond // and longer than answers take, the answer to a request is overdue
	muchSlower   = 8                      // times slower than the taker is slow enough to take all, too
	replaceAmong = 4                      // connections, of which one may be much slower than the others
	replaceAfter = time.Second            // of a request, and before its end, one is replaced
	replaceBelow = 16 << 20               // bytes per second; what is faster is no burden
	replaceEvery = 250 * time.Millisecond
	replaceMost  = 16 * time.Second // this long, doubling, after some that have not become faster
	tooSlow      = 2                // times slower than the mean is slow enough for that
	rateWindow   = 500 * time.Millisecond
	youngest     = 100 * time.Millisecond // and a few round trips after it began, a connection's rate can be told
	youngTrips   = 4
	hasChanged   = 2       // times more or less than before is a rate that is believed at once
	rateHistory  = 0.5     // weight of the windows before the newest
	usualHistory = 0.75    // of the connections that have left before
	nearLimit    = 1.5     // times the rate is more than our own limit: that is what limits it
	leastRate    = 1 << 10 // bytes per second; less than this for long is no better than silence
)

// A pool says which connection of one download fetches what. All methods are
// safe for concurrent use, and none waits.
type pool struct {
	single bool          // one connection takes everything, in ascending order
	news   chan struct{} // holds a mark when a connection has begun to work

	mu       sync.Mutex
	plan     *chunk.Plan
	lanes    []*lane       // the first one is that of the URL asked
	workers  []*worker     // alive; the last one never steps down
	replaced time.Time     // when a slow connection was last replaced
	patience time.Duration // until the next one is
	yielded  time.Time     // when a connection was last given to another download
	hangs    time.Duration // without an answer, if longer than stuckAfter, is a request stuck
	capped   bool          // our own limit is the bottleneck
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
	asked    time.Time               // when the request began, then when it was sent, then when its answer began
	awaits   bool                    // its request is sent, and has neither an answer nor a refusal
	instead  time.Duration           // how long that had no answer in whose place its request is; 0 for none
	relieved bool                    // its request had none, and another is in its place
	lastByte time.Time               // or when the request began
	winStart time.Time               // of the rate window
	winBytes int64
	dripping time.Time // since when the rate is below leastRate; zero if it is not
	waiting  bool      // for its next try
	worked   bool      // since its last refusal
	warm     bool      // its connection is open
	queued   bool      // its request waits for its turn, and is not yet sent
}

// newPool returns the pool of a plan; its first worker has a connection that is
// counted at the host.
func newPool(h *host, plan *chunk.Plan, single bool) *pool {
	p := &pool{plan: plan, single: single, news: make(chan struct{}, 1)}
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
		p.assign(w, p.plan.Take(min(r.Len(), leastRange)), now)
	}
	w.cancel, w.reach, w.asked = cancel, r.End, now
}

// answered notes that the body of the answer to w's request ends at reach. A rate that
// counts a long wait for it would tell nothing of the connection, nor does that of
// another connection.
func (p *pool) answered(w *worker, reach int64, way way, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if way.new {
		w.rate, w.winBytes = 0, 0
	}
	if w.winBytes == 0 || now.Sub(w.asked) > rateWindow/2 {
		w.winStart, w.winBytes = now, 0
	}
	w.lane.repeats = w.lane.repeats || w.reach == 0 // else it is the first one, which the pool began with
	w.reach, w.asked, w.awaits, w.instead = reach, now, false, 0
	w.lane.growth.answered(way.took)
}

// extend adds to the claim of w what its answer has beyond it and nobody else
// fetches, and returns how many bytes w then has yet to read.
func (p *pool) extend(w *worker, now time.Time) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.claim == nil {
		return 0
	}
	p.stretch(w, p.share(w, now))
	return w.claim.Arriving().Len()
}

// stretch is extend by so many bytes at most.
func (p *pool) stretch(w *worker, most int64) {
	if most = min(most, w.reach-w.claim.Arriving().End); most > 0 {
		p.plan.Extend(w.claim, most)
	}
}

// next gives w its next claim: unclaimed bytes first, then a part of what another one
// has left. Without any, w is no longer of the pool, and next returns false.
func (p *pool) next(w *worker, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.workers) > 1 && (w.relieved || w.lane.host.crowded() || p.plan.Unclaimed() > 0 && p.tooMany(w.lane)) {
		p.remove(w)
		if w.relieved && !w.worked {
			w.lane.growth.silent(p.countOf(w.lane), now)
		}
		return false
	}
	w.relieved = false
	c := p.plan.Take(p.share(w, now))
	if c == nil && !p.single {
		c = p.steal(w, now)
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
func (p *pool) share(w *worker, now time.Time) int64 {
	if p.single {
		return chunk.Unbounded
	}
	want := int64(firstRange)
	fair := p.plan.Unclaimed() / int64(len(p.workers)+1)
	if w.rateAt(now) == 0 {
		fair /= 2
	}
	rate := p.expected(w, now)
	if rate > 0 {
		want = int64(rate * runLength.Seconds())
	}
	least := int64(leastRange)
	if w.lane.growth.far() {
		least = leastFar
	}
	long := int64(rate * max(leastTime, leastTrips*w.lane.growth.trip).Seconds())
	return max(least, min(long, 2*fair), min(want, fair))
}

// asking notes that w sends a request that cancel ends.
func (p *pool) asking(w *worker, cancel context.CancelCauseFunc, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.cancel, w.asked, w.lastByte, w.reach, w.dripping = cancel, now, now, 0, time.Time{}
	w.warm, w.awaits = false, false // until there is an answer, and until it is sent
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
	if n > 0 {
		w.waiting, w.worked, w.warm = false, true, true
	}
	k := p.plan.Arrive(w.claim, int64(n))
	if k < int64(n) { // the body is beyond the claim, and must not be read on
		w.reach = w.claim.Arriving().End
	}
	w.lastByte = now
	if w.rate == 0 && w.winBytes == 0 && len(p.workers) > 1 { // how fast the first one is tells whether there are to be others
		select {
		case p.news <- struct{}{}:
		default:
		}
	}
	w.winBytes += int64(n)
	w.lane.bytes += int64(n)
	if d := now.Sub(w.winStart); d >= rateWindow {
		r := float64(w.winBytes) / d.Seconds()
		if r >= leastRate {
			w.dripping = time.Time{}
		} else if w.dripping.IsZero() {
			w.dripping = w.winStart
		}
		if w.rate > 0 && !differs(r, w.rate) { // else it is another connection, a shaped one, or was slow at first
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
	p.plan.Discard(chunk.Range{Off: off, End: chunk.Unbounded})
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
	w.claim, w.cancel, w.awaits = nil, nil, false
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

// closed notes that the connection of w is.
func (p *pool) closed(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.warm = false
}

// remove takes w out of the pool, with p.mu held. The caller's worker must end
// without asking for anything more.
func (p *pool) remove(w *worker) {
	p.drop(w)
	for i, o := range p.workers {
		if o == w {
			p.workers = append(p.workers[:i], p.workers[i+1:]...)
			if rate := w.rateAt(w.lastByte); rate > 0 {
				w.lane.usual = cmp.Or(w.lane.usual, rate)*usualHistory + rate*(1-usualHistory)
			}
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
