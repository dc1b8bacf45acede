package downloader

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pawl/chunk"
)

const (
	kB = int64(1000)
	mB = 1000 * kB
)

// start is when the pools of these tests begin; they know no other clock.
var start = time.Unix(1e9, 0)

// A member is a worker as a test sets it up: with a claim of bytes, read at
// rate bytes per second, the last one silent before now.
type member struct {
	bytes  int64 // claimed; 0 for none
	rate   float64
	silent time.Duration
}

// poolOf returns a pool with these members and free unclaimed bytes. The causes
// of the cancellations come in the order of the members.
func poolOf(t *testing.T, free int64, members ...member) (*pool, []*worker, []error) {
	t.Helper()
	size := free
	for _, m := range members {
		size += m.bytes
	}
	h := newHost("h", 16)
	enterNow(t, h, len(members))
	p := newPool(h, chunk.NewPlan(size, chunk.Set{}), false)
	workers, causes := make([]*worker, len(members)), make([]error, len(members))
	for i, m := range members {
		w := &worker{}
		p.begin(w, chunk.Range{End: m.bytes}, m.bytes == 0, func(err error) { causes[i] = err }, start.Add(-m.silent))
		if w.claim != nil {
			p.plan.Extend(w.claim, m.bytes-w.claim.Arriving().Len())
		}
		w.rate, w.worked, w.lastByte = m.rate, m.rate > 0, start.Add(-m.silent)
		workers[i] = w
	}
	return p, workers, causes
}

// TestPoolShare: a claim is what the connection fetches in ten seconds, as long
// as the others find something, too.
func TestPoolShare(t *testing.T) {
	tests := []struct {
		name    string
		free    int64
		rate    float64
		workers int
		want    int64
	}{
		{"unknown rate", 1000 * mB, 0, 1, firstRange},
		{"ten seconds", 1000 * mB, 2e6, 1, 20 * mB},
		{"slow", 1000 * mB, 50e3, 1, leastRange},
		{"leaves some for others", 40 * mB, 50e6, 1, 20 * mB},
		{"leaves more where its rate is not known", 30 * mB, 0, 1, 7500 * kB},
		{"leaves some for many", 100 * mB, 50e6, 4, 20 * mB},
		{"small rest", 3 * mB, 50e6, 4, leastRange},
		{"smallest rest", 5, 50e6, 4, 5},
	}
	for _, tt := range tests {
		p, ws, _ := poolOf(t, tt.free, append([]member{{0, tt.rate, 0}}, make([]member, tt.workers-1)...)...)
		if !p.next(ws[0], start) {
			t.Errorf("%s: no claim", tt.name)
		} else if got := p.arriving(ws[0]); got != (chunk.Range{Off: 0, End: tt.want}) {
			t.Errorf("%s: got %v, want %d bytes from 0", tt.name, got, tt.want)
		}
	}
}

// TestPoolTakeOver: who has nothing to do, and nothing is unclaimed, takes so much of what
// the slowest has left that both are done at once, or all that a stuck one has.
func TestPoolTakeOver(t *testing.T) {
	idle := member{0, 1e6, 0}
	tests := []struct {
		name    string
		members []member // the first one asks; the bytes of the others follow each other
		want    chunk.Range
		seized  int // the member whose request ends; 0 none
	}{
		{"the slowest by time, not by bytes", []member{idle, {20 * mB, 10e6, 0}, {10 * mB, 1e6, 0}}, chunk.Range{Off: 25 * mB, End: 30 * mB}, 0},
		{"the slowest by bytes", []member{idle, {20 * mB, 1e6, 0}, {10 * mB, 1e6, 0}}, chunk.Range{Off: 10 * mB, End: 20 * mB}, 0},
		{"silence slows", []member{idle, {20 * mB, 10e6, 4 * time.Second}, {10 * mB, 1e6, 0}}, chunk.Range{Off: 11110 * kB, End: 20 * mB}, 0},
		{"unknown rates are as the others'", []member{idle, {20 * mB, 0, 0}, {10 * mB, 1e6, 0}}, chunk.Range{Off: 10 * mB, End: 20 * mB}, 0},
		{"nearly done", []member{idle, {150 * kB, 4e6, 0}, {800 * kB, 20e6, 0}}, chunk.Range{}, 0},
		{"a little longer", []member{idle, {200 * kB, 1e6, 0}}, chunk.Range{Off: 100 * kB, End: 200 * kB}, 0},
		{"more of one that is slower", []member{idle, {500 * kB, 250e3, 0}}, chunk.Range{Off: 100 * kB, End: 500 * kB}, 0},
		{"less of one that is faster", []member{idle, {500 * kB, 4e6, 0}}, chunk.Range{}, 0},
		{"too small to share", []member{idle, {2*leastSteal - 2, 1e6, 0}}, chunk.Range{}, 0},
		{"large enough to share", []member{idle, {3 * leastSteal, 1e6, 0}}, chunk.Range{Off: 3 * leastSteal / 2, End: 3 * leastSteal}, 0},
		{"too small to share, but slow", []member{{0, 100e3, 0}, {leastSteal, 100e3, 0}}, chunk.Range{Off: leastSteal / 2, End: leastSteal}, 0},
		{"too small to share, and much slower", []member{idle, {leastSteal - 1, 50e3, 0}}, chunk.Range{Off: 0, End: leastSteal - 1}, 1},
		{"stuck", []member{idle, {10 * kB, 1e6, 0}, {100 * kB, 1e3, 6 * time.Second}}, chunk.Range{Off: 10 * kB, End: 110 * kB}, 2},
		{"stuck at the end of a fast run", []member{idle, {100 * kB, 1e6, 6 * time.Second}}, chunk.Range{Off: 0, End: 100 * kB}, 1},
		{"not yet stuck", []member{{0, 0, 0}, {100 * kB, 1e3, 4 * time.Second}}, chunk.Range{Off: 11 * kB, End: 100 * kB}, 0},
		{"much slower", []member{idle, {100 * kB, 1e3, 0}}, chunk.Range{Off: 0, End: 100 * kB}, 1},
		{"slower", []member{{0, 7e3, 0}, {100 * kB, 1e3, 0}}, chunk.Range{Off: 12 * kB, End: 100 * kB}, 0},
		{"much slower than who is not known", []member{{0, 0, 0}, {100 * kB, 1e3, 0}}, chunk.Range{Off: 50 * kB, End: 100 * kB}, 0},
	}
	for _, tt := range tests {
		p, ws, causes := poolOf(t, 0, tt.members...)
		ok := p.next(ws[0], start)
		const roughly = 25 * kB // what comes while the request is made
		if got := p.arriving(ws[0]); ok == tt.want.Empty() || got.End != tt.want.End || got.Off < tt.want.Off || got.Off > tt.want.Off+roughly {
			t.Errorf("%s: got %v, %v, want %v", tt.name, got, ok, tt.want)
		}
		for i, cause := range causes {
			if want := i > 0 && i == tt.seized; errors.Is(cause, errSeized) != want || !want && cause != nil {
				t.Errorf("%s: request of %d ended by %v, want seized %v", tt.name, i, cause, want)
			}
			if i == tt.seized && i > 0 && !p.arriving(ws[i]).Empty() {
				t.Errorf("%s: the seized one still has %v", tt.name, p.arriving(ws[i]))
			}
		}
		if n := len(tt.members) - map[bool]int{false: 1}[ok]; p.conns() != n || p.lanes[0].host.open != n {
			t.Errorf("%s: got %d workers, %d open, want %d", tt.name, p.conns(), p.lanes[0].host.open, n)
		}
	}
}

// TestPoolOverdue: a request whose answer is overdue loses all to a connection that gets
// answers, where that is sooner done, and its own is given up. The request in place of
// it has twice its time.
func TestPoolOverdue(t *testing.T) {
	setUp := func(waited time.Duration) (*pool, []*worker, []error) {
		p, ws, causes := poolOf(t, 0, member{0, 1e6, 0}, member{50 * kB, 0, 0}, member{0, 1e6, 0}, member{30 * kB, 1e6, 0})
		ws[1].reach, ws[1].awaits, ws[1].asked = 0, true, start.Add(-waited)
		p.lanes[0].growth.trip, p.lanes[0].growth.wait = time.Millisecond, 10*time.Millisecond
		return p, ws, causes
	}
	for waited, want := range map[time.Duration]bool{10 * time.Millisecond: false, overdueLeast: false, overdueLeast + 1: true, 2 * time.Second: true} {
		p, ws, causes := setUp(waited)
		if got := p.next(ws[0], start); got != want || errors.Is(causes[1], errSeized) != want {
			t.Errorf("after %v: taken %v (%v), want %v", waited, got, causes[1], want)
		}
	}
	p, ws, causes := setUp(2 * time.Second)
	p.capped = true // but that is not why there is no answer
	if p.next(ws[0], start); !errors.Is(causes[1], errSeized) {
		t.Error("with our own limit, it is not taken")
	}
	p.release(ws[1])
	p.release(ws[3])
	if p.next(ws[1], start) || !p.next(ws[3], start) {
		t.Error("it is not the one without an answer that leaves")
	}
	if n := p.room(p.lanes[0], start.Add(growSettle)); n > 0 {
		t.Errorf("%d are opened in its place", n)
	}
	p.capped = false
	p.asking(ws[0], func(error) {}, start)
	p.sent(ws[0], true, start)
	for after, want := range map[time.Duration]bool{time.Second: false, 4 * time.Second: false, 4*time.Second + 1: true} {
		if got := p.theftBy(ws[2], start.Add(after)); got.all != want {
			t.Errorf("after %v, the one in its place: taken %v, want %v", after, got.all, want)
		}
	}
	p.answered(ws[0], 50*kB, way{}, start)
	p.asking(ws[0], func(error) {}, start)
	p.sent(ws[0], true, start)
	if got := p.theftBy(ws[2], start.Add(time.Second)); !got.all {
		t.Error("the next request has twice the time, too")
	}
}

// TestPoolCapped: where our own limit is what makes them slow, nobody takes from others.
func TestPoolCapped(t *testing.T) {
	for _, capped := range []bool{false, true} {
		p, ws, _ := poolOf(t, 0, member{0, 1e6, 0}, member{10 * mB, 1e6, 0})
		p.capped = capped
		if got := p.next(ws[0], start); got == capped {
			t.Errorf("capped %v: taken %v", capped, got)
		}
	}
}

// TestPoolSilence: it is counted from the last byte or the request, whichever
// came later.
func TestPoolSilence(t *testing.T) {
	p, w := newPool(newHost("h", 4), chunk.NewPlan(100*mB, chunk.Set{}), false), &worker{}
	silent := func(since time.Time) {
		t.Helper()
		for after, want := range map[time.Duration]bool{stuckAfter: false, stuckAfter + 1: true} {
			if got := p.isStuck(w, since.Add(after)); got != want {
				t.Errorf("silent since %v for %v: stuck: got %v, want %v", since.Sub(start), after, got, want)
			}
		}
	}
	p.begin(w, chunk.Range{End: 100 * mB}, false, func(error) {}, start)
	silent(start)
	p.arrive(w, 1, start.Add(time.Minute))
	silent(start.Add(time.Minute))
	p.asking(w, func(error) {}, start.Add(time.Hour))
	silent(start.Add(time.Hour))
}

// TestPoolKeepsArrived: what a robbed or seized worker has read remains its own.
func TestPoolKeepsArrived(t *testing.T) {
	p, ws, _ := poolOf(t, 0, member{0, 1e6, 0}, member{100 * kB, 1e3, time.Minute})
	p.arrive(ws[1], 30_000, start.Add(-time.Minute))
	p.next(ws[0], start)
	if got, want := p.arriving(ws[0]), (chunk.Range{Off: 30_000, End: 100_000}); got != want {
		t.Errorf("seized: got %v, want %v", got, want)
	}
	if kept, left := p.arrive(ws[1], 500, start); kept != 0 || left != 0 {
		t.Errorf("late bytes: got %d kept, %d left, want none", kept, left)
	}
	if have := p.wrote(ws[1], 10_000); have != 10_000 {
		t.Errorf("written: got %d, want 10000", have)
	}
	p.release(ws[1]) // with 20000 bytes not written
	if !p.next(ws[1], start) || p.arriving(ws[1]) != (chunk.Range{Off: 10_000, End: 30_000}) {
		t.Errorf("after release: got %v, want 10000+20000", p.arriving(ws[1]))
	}
}

func TestPoolSingle(t *testing.T) {
	h := newHost("h", 4)
	enterNow(t, h, 1)
	p := newPool(h, chunk.NewPlan(chunk.Unbounded, chunk.NewSet(chunk.Range{Off: 10, End: 20})), true)
	w := &worker{rate: 1e3}
	p.begin(w, chunk.Range{}, true, nil, start)
	for _, want := range []chunk.Range{{Off: 0, End: 10}, {Off: 20, End: chunk.Unbounded}} {
		if !p.next(w, start) || p.arriving(w) != want {
			t.Fatalf("got %v, want %v", p.arriving(w), want)
		}
		n := min(want.Len(), 30)
		p.arrive(w, int(n), start)
		p.wrote(w, n)
		p.grow(start.Add(time.Minute), func(*worker) { t.Error("a second connection for one stream") })
	}
	if err := p.ended(50); err != nil {
		t.Error(err)
	}
	if size, ok := p.done(); size != 50 || !ok || p.prefix() != 50 {
		t.Errorf("got size %d, done %v, prefix %d, want 50, true, 50", size, ok, p.prefix())
	}
	if p.release(w); p.next(w, start) || h.open != 0 {
		t.Errorf("more work at the end, or %d connections open", h.open)
	}
}

// TestPoolCrowded: where another download waits, all but one worker leave.
func TestPoolCrowded(t *testing.T) {
	p, ws, _ := poolOf(t, 100*mB, make([]member, 3)...)
	p.lanes[0].host.waiting = 1
	for i, want := range []bool{false, false, true} {
		if got := p.next(ws[i], start); got != want {
			t.Errorf("worker %d of 3: got work %v, want %v", i, got, want)
		}
	}
	if p.conns() != 1 || p.lanes[0].host.open != 1 {
		t.Errorf("got %d workers, %d open, want 1", p.conns(), p.lanes[0].host.open)
	}
}

func TestPoolStepDown(t *testing.T) {
	p, ws, _ := poolOf(t, 0, member{mB, 1e6, 0}, member{mB, 1e6, 0}, member{mB, 1e6, 0})
	for i, want := range []int{2, 1} {
		if left, ok := p.stepDown(ws[i]); left != want || !ok || p.lanes[0].host.open != want {
			t.Errorf("got %d left, %v, %d open, want %d", left, ok, p.lanes[0].host.open, want)
		}
	}
	if left, ok := p.stepDown(ws[2]); left != 1 || ok || p.conns() != 1 || p.lanes[0].host.open != 1 {
		t.Errorf("the last: got %d left, %v, want 1, false", left, ok)
	}
	if got := p.arriving(ws[2]); got != (chunk.Range{Off: 2 * mB, End: 3 * mB}) {
		t.Errorf("the last lost its claim: has %v", got)
	}
	if got := p.plan.Unclaimed(); got != 2*mB {
		t.Errorf("unclaimed: got %d, want what two had, %d", got, 2*mB)
	}
	p.leave(ws[0]) // as its goroutine does at its end
	if p.lanes[0].host.open != 1 {
		t.Errorf("a worker that was gone left: %d open, want 1", p.lanes[0].host.open)
	}
}

// TestPoolGrow: several connections at a time when all have their first bytes,
// as long as there is work, and none when the host is held.
func TestPoolGrow(t *testing.T) {
	p, ws, _ := poolOf(t, 100*mB, member{mB, 0, 0})
	grow := func(now time.Time, want int) (all []*worker) {
		t.Helper()
		p.grow(now, func(n *worker) { all = append(all, n) })
		if len(all) != want || p.conns() != p.lanes[0].host.open {
			t.Fatalf("grown: got %d, with %d workers, %d open, want %d", len(all), p.conns(), p.lanes[0].host.open, want)
		}
		for _, w := range all {
			p.next(w, now)
		}
		return all
	}
	grow(start, 0) // no byte yet
	p.arrive(ws[0], 1, start)
	three := grow(start, growFirst-1)
	grow(start, 0) // they have no byte yet
	p.arrive(three[0], 1, start)
	p.arrive(three[1], 1, start)
	grow(start, 0)
	p.lanes[0].host.holdGrowth(start.Add(time.Hour))
	p.arrive(three[2], 1, start)
	grow(start.Add(time.Minute), 0) // held
	p.stepDown(ws[0])
	for _, w := range three {
		p.stepDown(w)
	}
	grow(start.Add(time.Hour), 0) // the last waits for its next try
	p.arrive(three[2], 1, start)
	grow(start.Add(time.Hour), growFirst-1)
}

func TestPoolGrowForWork(t *testing.T) {
	tests := []struct {
		name string
		free int64
		of   member
		want bool
	}{
		{"unclaimed bytes", 1, member{mB, 1e6, 0}, true},
		{"nearly done", 0, member{250 * kB, 4e6, 0}, false},
		{"much to do for one", 0, member{mB, 1e6, 0}, true},
		{"a stuck one", 0, member{100 * kB, 1e3, 6 * time.Second}, true},
		{"a stuck one at the end of a fast run", 0, member{100 * kB, 1e6, 6 * time.Second}, true},
	}
	for _, tt := range tests {
		p, _, _ := poolOf(t, tt.free, tt.of)
		got := false
		p.grow(start, func(*worker) { got = true })
		if got != tt.want {
			t.Errorf("%s: grown: got %v, want %v", tt.name, got, tt.want)
		}
	}
	p, ws, _ := poolOf(t, 0, member{100 * kB, 1e3, time.Minute})
	p.arrive(ws[0], int(100*kB), start.Add(-time.Minute))
	p.grow(start, func(*worker) { t.Error("grown for a slow write of all that was to come") })
	p = newPool(newHost("h", 4), chunk.NewPlan(mB, chunk.Set{}), false)
	p.grow(start, func(*worker) { t.Error("grown when all workers are gone") })
}

// TestPoolRate: bytes per window of half a second, half of it history.
func TestPoolRate(t *testing.T) {
	p, ws, _ := poolOf(t, 0, member{1000 * mB, 0, 0})
	w, now := ws[0], start
	for i, step := range []struct {
		after time.Duration
		n     int
		want  float64
	}{
		{499 * time.Millisecond, 50_000, 0}, // too short to tell
		{time.Millisecond, 50_000, 200e3},
		{time.Second, 400_000, 300e3},
		{100 * time.Millisecond, 1_000_000, 300e3},
		{1900 * time.Millisecond, 0, 400e3},
	} {
		now = now.Add(step.after)
		if kept, left := p.arrive(w, step.n, now); kept != step.n || left == 0 {
			t.Errorf("step %d: got %d kept, %d left", i, kept, left)
		}
		if math.Abs(w.rate-step.want) > 1 {
			t.Errorf("step %d: got rate %.0f, want %.0f", i, w.rate, step.want)
		}
	}
}

// TestPoolRateOfShortClaims: who is done with each claim in less than a window
// is fast, and is to ask for more (DESIGN §4: about ten seconds' worth).
func TestPoolRateOfShortClaims(t *testing.T) {
	p, ws, _ := poolOf(t, 1000*1000*mB, member{firstRange, 0, 0})
	w, now := ws[0], start
	for range 20 {
		now = now.Add(100 * time.Millisecond)
		n := p.arriving(w).Len()
		if n > 2*firstRange {
			return
		}
		p.arrive(w, int(n), now)
		p.wrote(w, n)
		p.release(w)
		p.next(w, now)
	}
	t.Errorf("after 2 s at %d MB/s: got a claim of %d bytes, want more than the first %d", firstRange/100_000, p.arriving(w).Len(), firstRange)
}

// A simulation runs workers of random speeds against a pool, by a clock of its
// own, and checks what the pool gives them.
type simulation struct {
	*rand.Rand
	p       *pool
	now     time.Time
	alive   []*worker
	speed   map[*worker]float64 // bytes per second
	unsaved map[*worker]int64   // bytes read and not written
	read    chunk.Set           // by anybody, and not given up again
}

func newSimulation(seed uint64) *simulation {
	s := &simulation{Rand: rand.New(rand.NewPCG(seed, 2)), now: start, speed: make(map[*worker]float64), unsaved: make(map[*worker]int64)}
	size := s.Int64N(64 * mB)
	off := s.Int64N(size + 1)
	s.read = chunk.NewSet(chunk.Range{Off: off, End: off + s.Int64N(size-off+1)}) // of an earlier run
	s.p = newPool(newHost("h", 1+s.IntN(8)), chunk.NewPlan(size, s.read), s.IntN(10) == 0)
	s.p.lanes[0].host.open = 1
	first := &worker{}
	s.p.begin(first, chunk.Range{End: firstRange}, false, func(error) {}, s.now)
	s.spawn(first)
	return s
}

func (s *simulation) spawn(w *worker) {
	s.alive = append(s.alive, w)
	s.speed[w] = []float64{0, 1e3, 100e3, 5e6, 50e6}[s.IntN(5)]
}

// step lets each worker do what it would in the time d, and returns what is wrong.
func (s *simulation) step(d time.Duration) string {
	s.now = s.now.Add(d)
	s.p.grow(s.now, s.spawn)
	s.p.lanes[0].host.waiting = max(0, s.IntN(20)-18)
	var going []*worker
	for _, w := range s.alive {
		if s.p.arriving(w).Empty() {
			s.write(w)
			s.p.release(w)
			if !s.p.next(w, s.now) {
				continue
			}
			s.p.asking(w, func(error) {}, s.now)
		}
		if n := int(s.speed[w] * d.Seconds()); n > 0 {
			r := s.p.arriving(w)
			kept, _ := s.p.arrive(w, n, s.now)
			r.End = r.Off + int64(kept)
			before := s.read.Len()
			if s.read.Add(r); s.read.Len() != before+r.Len() {
				return "bytes were read twice: " + r.String()
			}
			s.unsaved[w] += r.Len()
		}
		if s.IntN(2) == 0 {
			s.write(w)
		}
		if s.now.Sub(w.lastByte) > 30*time.Second || s.IntN(40) == 0 {
			if s.fail(w) {
				continue
			}
		}
		going = append(going, w)
	}
	s.alive = going
	var given chunk.Set
	var sum int64
	for _, w := range s.alive {
		given.Add(s.p.arriving(w))
		sum += s.p.arriving(w).Len()
	}
	switch {
	case given.Len() != sum:
		return "two workers have the same bytes"
	case s.p.conns() != len(s.alive) || s.p.lanes[0].host.open != len(s.alive):
		return "workers and connections are not counted right"
	}
	return ""
}

func (s *simulation) write(w *worker) {
	if s.unsaved[w] > 0 {
		s.p.wrote(w, s.unsaved[w])
	}
	s.unsaved[w] = 0
}

// fail loses what w has read and not written. It reports whether w is gone.
func (s *simulation) fail(w *worker) (gone bool) {
	off := s.p.arriving(w).Off
	s.read.Remove(chunk.Range{Off: off - s.unsaved[w], End: off})
	s.unsaved[w] = 0
	if _, gone := s.p.stepDown(w); gone {
		return true
	}
	s.p.release(w)
	s.speed[w] = 5e6
	return false
}

// TestPoolRandom: whatever the workers do, no byte is given to two at once, and
// in the end every byte is there and every connection given back.
func TestPoolRandom(t *testing.T) {
	for seed := range uint64(500) {
		s := newSimulation(seed)
		for len(s.alive) > 0 {
			if wrong := s.step(time.Duration(1+s.IntN(700)) * time.Millisecond); wrong != "" {
				t.Fatalf("seed %d, after %v: %s", seed, s.now.Sub(start), wrong)
			}
			if s.now.Sub(start) > 24*time.Hour {
				t.Fatalf("seed %d: not done after a day: %v", seed, s.p.plan.Held())
			}
		}
		if _, ok := s.p.done(); !ok || s.p.lanes[0].host.open != 0 {
			t.Fatalf("seed %d: at the end, done %v, %d connections open", seed, ok, s.p.lanes[0].host.open)
		}
	}
}

// TestPoolPrecious: a link may be good for one request, so its body is kept until
// another one has an answer, or whoever takes what follows has gone.
func TestPoolPrecious(t *testing.T) {
	ready := func() (p *pool, first, thief *worker) {
		p, ws, _ := poolOf(t, 0, member{mB, 1e6, 0}, member{0, 0, 0})
		first, thief = ws[0], ws[1]
		p.answered(first, mB, way{}, start)
		if !p.next(thief, start) {
			t.Fatal("there is nothing to take over")
		}
		p.asking(thief, func(error) {}, start)
		p.arrive(first, int(p.arriving(first).Len()), start)
		return p, first, thief
	}
	t.Run("until there is an answer", func(t *testing.T) {
		p, first, thief := ready()
		if !p.precious(first, start) || p.extend(first, start) != 0 {
			t.Error("the body is left while nobody knows whether there is another one")
		}
		p.answered(thief, p.arriving(thief).End, way{}, start)
		if p.precious(first, start) {
			t.Error("the body is kept though another request has an answer")
		}
	})
	t.Run("refused", func(t *testing.T) {
		p, first, thief := ready()
		p.stepDown(thief)
		if p.precious(first, start) || p.extend(first, start) == 0 {
			t.Error("what follows is not taken back")
		}
	})
	t.Run("not for ever", func(t *testing.T) {
		if p, first, _ := ready(); p.precious(first, start.Add(stuckAfter)) {
			t.Error("it waits for one that is stuck")
		}
	})
}
