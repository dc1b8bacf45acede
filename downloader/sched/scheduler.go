package sched

import (
	"math"
	"slices"
	"sync"
	"time"

	"pawl/chunk"
)

const (
	// TickInterval is the time between two calls of Tick. A guess: it delays each decision by
	// 10 ms on average. At half, 16 downloads cost twice the CPU time; at double, the
	// connections of a short download open later.
	TickInterval = 20 * time.Millisecond
	// worthSource is how long the download must still take for another source to be worth
	// its test. A guess, some round trips: at half, sources are tested that find nothing to
	// do; at double, more of a short download comes from a slow source alone.
	worthSource = 300 * time.Millisecond
	// nearLimit is how many times the total rate of the connections may be lower than the
	// limit of the user and still be limited by it. A guess, as limited reads come in bursts:
	// at half (below 1), connections take over from each other without a gain; at
	// double, a slow connection keeps its rest at up to a third of the limit.
	nearLimit = 1.5
)

// Options are the properties of a Scheduler that do not change.
type Options struct {
	Single         bool          // one connection fetches everything, in ascending order
	TrickleTimeout time.Duration // a connection below 1 KiB/s for longer than this is stopped
}

// A Limit is the limits of the user at the time of a Tick.
type Limit struct {
	Rate  float64 // bytes per second that this download may receive; 0 for no limit
	Low   bool    // so low that a connection may trickle because of it
	Conns int     // most connections of this download, to all sources together; 0 for no limit
}

// A Scheduler distributes the work of one download among its connections. Its methods and
// the methods of its connections are safe for concurrent use.
type Scheduler struct {
	single bool          // immutable
	wake   chan struct{} // has one element if a connection has its first bytes

	mu          sync.Mutex // guards all that follows, and the connections and sources
	plan        *chunk.Plan
	sources     []*Source // the first one is the requested URL
	conns       conns
	timeouts    timeouts
	replacement replacement
	yielder     yielder
	reservedTo  int64 // offset; see reserved
	rateLimited bool  // the rate limit of the user keeps the connections from being faster
	maxConns    int   // most connections, with those for proofs; 0 for no limit
	proofs      int   // connections outside of the Scheduler that fetch samples of further sources
}

// New returns the Scheduler of a download of the missing bytes of plan, which it owns from
// now on. Its first source must have counted one open connection, for Begin.
func New(plan *chunk.Plan, first *Source, o Options) *Scheduler {
	first.join()
	return &Scheduler{
		single: o.Single, wake: make(chan struct{}, 1), plan: plan,
		sources: []*Source{first}, timeouts: timeouts{trickle: o.TrickleTimeout},
	}
}

// Begin admits a connection to the first source that has its response already, and which stop
// ends (see Requesting). Its claim is the first claim bytes at most of the unclaimed ones, at
// which the body begins; it has none if claim is 0. The connection must have been counted.
func (s *Scheduler) Begin(claim int64, r Response, stop func(Reason), now time.Time) *Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &Conn{s: s, source: s.sources[0]}
	s.conns = append(s.conns, c)
	if claim > 0 {
		s.assign(c, s.plan.Take(0, min(claim, MinRequest)), now)
		s.reservedTo = min(r.BodyEnd, c.remaining().End+min(maxReserve, s.plan.Unclaimed()/2))
	}
	c.request.begin(stop, now)
	s.respond(c, r, now)
	return c
}

// Add allows connections to src.
func (s *Scheduler) Add(src *Source) {
	src.join()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sources = append(s.sources, src)
}

// Remove stops the requests to src, and allows no further connection. It does nothing
// if src was not added. The first source must not be removed.
func (s *Scheduler) Remove(src *Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		if c.source == src && c.request.state != idle {
			c.request.stop(Disabled)
		}
	}
	if i := slices.Index(s.sources, src); i >= 0 {
		s.sources = slices.Delete(s.sources, i, i+1)
		src.Gate.Leave()
	}
}

// Close ends the use of the sources, and returns them. All connections must have left.
func (s *Scheduler) Close() []*Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, src := range s.sources {
		src.Gate.Leave()
	}
	return s.sources
}

// Wake returns a channel that receives if Tick should be called at once, because a
// connection has received its first bytes.
func (s *Scheduler) Wake() <-chan struct{} { return s.wake }

// Tick makes the periodic decisions (see the package comment). It calls open for each further
// connection, which is counted and has no claim yet. Open must not wait nor call the
// Scheduler. It is called with the lock held, so that no other connection can be the last one
// before the new one is started.
func (s *Scheduler) Tick(now time.Time, l Limit, open func(*Conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setLimit(l, now)
	if !s.single && len(s.conns) > 0 {
		for _, src := range s.emptyFirst() {
			src.rampUp(s, now, open)
		}
	}
	s.timeouts.expire(s, now)
	s.replacement.replace(s, now)
	s.yielder.yield(s, now)
}

// setLimit takes the limits into account, which may change at any time.
func (s *Scheduler) setLimit(l Limit, now time.Time) {
	if l.Low { // then a trickle says nothing about the source
		for _, c := range s.conns {
			c.meter.tricklingSince = time.Time{}
		}
	}
	s.maxConns = l.Conns
	s.rateLimited = l.Rate > 0 && s.conns.totalRate(now)*nearLimit > l.Rate
}

// admit adds a connection to src, which is counted.
func (s *Scheduler) admit(src *Source, open func(*Conn)) {
	c := &Conn{s: s, source: src, isReusable: src.pooled > 0}
	if c.isReusable {
		src.pooled--
	}
	s.conns = append(s.conns, c)
	open(c)
}

// emptyFirst returns the sources in the order in which they open connections: if the user limits their number,
// those without one come first, so that each source shows how fast it is.
func (s *Scheduler) emptyFirst() []*Source {
	if s.maxConns <= 0 || len(s.sources) == 1 {
		return s.sources
	}
	all := slices.Clone(s.sources)
	slices.SortStableFunc(all, func(a, b *Source) int { return min(1, s.conns.count(a)) - min(1, s.conns.count(b)) })
	return all
}

// IsMoving reports whether a connection has received bytes lately.
func (s *Scheduler) IsMoving(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns.othersMove(nil, now)
}

// surplus returns how many connections there are beyond the limit of the user, not counting connections
// that are about to leave. It is 0 at the limit, and negative if further ones may be opened.
func (s *Scheduler) surplus() int {
	if s.maxConns <= 0 {
		return math.MinInt
	}
	return len(s.conns) - s.conns.yielding() + s.proofs - s.maxConns
}

// hasRoom reports whether the user allows another connection, to src. The first one to src may take the place
// of one of several to another source, which is closed in the same Tick.
func (s *Scheduler) hasRoom(src *Source) bool {
	several := func(o *Source) bool { return s.conns.count(o) > 1 }
	return s.surplus() < 0 || s.surplus() == 0 && s.conns.count(src) == 0 && s.plan.Unclaimed() > 0 && slices.ContainsFunc(s.sources, several)
}

// remove takes c out of the download, if it is in.
func (s *Scheduler) remove(c *Conn) {
	c.release()
	if i := slices.Index(s.conns, c); i >= 0 {
		s.conns = slices.Delete(s.conns, i, i+1)
		c.source.noteLeft(c.rateAt(c.lastActive))
		if c.isReusable {
			c.source.pooled++
		}
		c.source.Gate.Release()
	}
}

// removeUnlessLast takes c out of the download if it has other connections.
func (s *Scheduler) removeUnlessLast(c *Conn) bool {
	if len(s.conns) == 1 {
		return false
	}
	s.remove(c)
	return true
}

// timeLeft estimates how many seconds the connections need for all missing bytes.
func (s *Scheduler) timeLeft(now time.Time) float64 {
	missing, rate := s.plan.Unclaimed(), 0.0
	for _, c := range s.conns {
		missing += c.remaining().Len()
		rate += c.meter.earlyRate(c.lastActive, now, c.source.timing.rtt)
	}
	return float64(missing) / max(rate, 1)
}

// BeginProof reports whether the download will take so long that another source is of use, and may have
// one more beside the connections to the others. Then a connection, which the caller opens, counts for
// samples of the source until EndProof. The source may be added before that.
func (s *Scheduler) BeginProof(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.maxConns > 0 && len(s.sources)+s.proofs >= s.maxConns {
		return false
	}
	if s.conns.meanRate(nil, now) == 0 || s.plan.HeldLen() == 0 || s.timeLeft(now) <= worthSource.Seconds() {
		return false
	}
	s.proofs++
	return true
}

// EndProof ends a proof that BeginProof has begun.
func (s *Scheduler) EndProof() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proofs--
}

// IsSingle reports whether one connection fetches everything.
func (s *Scheduler) IsSingle() bool { return s.single }

// A Snapshot is the progress of a download.
type Snapshot struct {
	Size   int64 // of the file; chunk.Unbounded if it is not known
	Held   int64 // bytes that are written
	Prefix int64 // bytes that are written without a gap from the start of the file
	Conns  int   // connections
	Done   bool  // every byte is written
}

// Snapshot returns the progress.
func (s *Scheduler) Snapshot() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Snapshot{s.plan.Size(), s.plan.HeldLen(), s.plan.Prefix(), len(s.conns), s.plan.Done()}
}

// Conns returns how many connections lead to src.
func (s *Scheduler) Conns(src *Source) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns.count(src)
}

// Held returns the set of bytes that are written.
func (s *Scheduler) Held() chunk.Set {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plan.Held()
}

// Lose makes the written bytes from off on missing again.
func (s *Scheduler) Lose(off int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plan.Discard(chunk.Range{Off: off, End: chunk.Unbounded})
}

// EndAt sets the size of a file whose size was unknown, because its stream has ended.
func (s *Scheduler) EndAt(size int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plan.SetSize(size)
}
