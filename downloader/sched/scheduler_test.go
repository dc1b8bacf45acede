package sched

import (
	"testing"
	"time"

	"pawl/chunk"
)

// one returns a fixture whose only connection has its first response, and a claim at the
// begin of size unclaimed bytes.
func one(t *testing.T, size int64, o Options) *fixture {
	t.Helper()
	return oneOf(t, size, size, o)
}

// oneOf is one, of whose file the first body ends at bodyEnd.
func oneOf(t *testing.T, size, bodyEnd int64, o Options) *fixture {
	t.Helper()
	f := &fixture{t: t, gate: &gate{ceiling: 16, open: 1}, now: epoch, stops: make([]Reason, 1)}
	f.src = &Source{Gate: f.gate}
	f.s = New(chunk.NewPlan(size, chunk.Set{}), f.src, o)
	f.conns = []*Conn{f.s.Begin(size, Response{BodyEnd: bodyEnd}, f.stop(0), f.now)}
	return f
}

// TestRequestSize: a request lasts ten seconds, as long as the others find something, too.
func TestRequestSize(t *testing.T) {
	tests := []struct {
		name  string
		free  int64
		rate  float64
		conns int
		want  int64
	}{
		{"unknown rate", 1000 * mB, 0, 1, FirstRange},
		{"ten seconds", 1000 * mB, 2e6, 1, 20 * mB},
		{"slow", 1000 * mB, 50e3, 1, MinRequest},
		{"leaves some for others", 30 * mB, 2e6, 1, 15 * mB},
		{"leaves more if its rate is not known", 30 * mB, 0, 1, 7500 * kB},
		{"leaves some for many", 50 * mB, 2e6, 4, 10 * mB},
		{"small rest", 3 * mB, 2e6, 4, MinRequest},
		{"smallest rest", 5, 2e6, 4, 5},
	}
	for _, tt := range tests {
		members := make([]member, tt.conns)
		members[0].rate = tt.rate
		f := newFixture(t, tt.free, members...)
		if !f.conns[0].Next(f.now) {
			t.Errorf("%s: no claim", tt.name)
		} else if got := f.conns[0].Remaining().Len(); got != tt.want {
			t.Errorf("%s: got %d bytes, want %d", tt.name, got, tt.want)
		}
	}
}

// TestRequestSizeFar: over a long way, the smallest request is smaller, and a request of a
// fast connection lasts some round trips even if little is left.
func TestRequestSizeFar(t *testing.T) {
	size := func(rtt time.Duration, rate float64, free int64) int64 {
		f := one(t, free, Options{})
		c := f.conns[0]
		c.Requesting(f.stop(0), f.now)
		c.Responded(Response{BodyEnd: free, Took: rtt}, f.now)
		n := int(rate * rateWindow.Seconds())
		c.Received(n, f.now.Add(rateWindow))
		c.Written(min(int64(n), MinRequest))
		c.Release()
		c.Next(f.now.Add(rateWindow))
		return c.Remaining().Len()
	}
	if near, far := size(ms, 10e3, 100*mB), size(100*ms, 10e3, 100*mB); near != MinRequest || far != minFarRequest {
		t.Errorf("slow: got %d bytes near and %d far, want %d and %d", near, far, MinRequest, minFarRequest)
	}
	if got, want := size(100*ms, 10e6, 6*mB), 4*mB; got < want*9/10 || got > want*11/10 {
		t.Errorf("fast: got %d bytes, want %d, as many as come in 4 round trips", got, want)
	}
}

// TestShortClaims: a connection that is done with each claim in less than a window is fast, and
// its requests grow.
func TestShortClaims(t *testing.T) {
	f := one(t, 1000*1000*mB, Options{})
	c, now := f.conns[0], f.now
	for range 20 {
		now = now.Add(100 * ms)
		n := c.Remaining().Len()
		if n > 2*FirstRange {
			return
		}
		c.Received(int(n), now)
		c.Written(n)
		c.Release()
		c.Next(now)
	}
	t.Errorf("after 2 s: got a claim of %d bytes, want more than the first %d", c.Remaining().Len(), FirstRange)
}

// TestSingle: a single stream gets what is missing in order, no further connection, and the
// size of the file when it ends.
func TestSingle(t *testing.T) {
	g := &gate{ceiling: 4, open: 1, owed: 1, owedLast: true}
	held := chunk.NewSet(chunk.Range{Off: 10, End: 20})
	s := New(chunk.NewPlan(chunk.Unbounded, held), &Source{Gate: g}, Options{Single: true})
	stop := func(r Reason) { t.Errorf("it was stopped: %v", r) }
	c := s.Begin(0, Response{BodyEnd: chunk.Unbounded}, stop, epoch)
	if !s.IsSingle() {
		t.Error("it is not single")
	}
	for _, want := range []chunk.Range{{Off: 0, End: 10}, {Off: 20, End: chunk.Unbounded}} {
		if !c.Next(epoch) || c.Remaining() != want {
			t.Fatalf("got %v, want %v", c.Remaining(), want)
		}
		n := min(want.Len(), 30)
		c.Received(int(n), epoch)
		c.Written(n)
		for after := time.Duration(0); after < time.Minute; after += time.Second {
			c.Received(0, epoch.Add(after)) // so that it trickles
			s.Tick(epoch.Add(after), Limit{}, func(*Conn) { t.Error("a second connection for one stream") })
		}
	}
	if err := s.EndAt(50); err != nil {
		t.Error(err)
	}
	if got, want := s.Snapshot(), (Snapshot{Size: 50, Held: 50, Prefix: 50, Conns: 1, Done: true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if c.Release(); c.Next(epoch) || g.open != 0 {
		t.Errorf("more work at the end, or %d connections open", g.open)
	}
	if s.Close(); g.joined != 0 {
		t.Errorf("the source is still used by %d downloads", g.joined)
	}
}

// TestLose: bytes that turn out to be another version's are missing again.
func TestLose(t *testing.T) {
	f := one(t, 100, Options{})
	f.conns[0].Received(100, f.now)
	f.conns[0].Written(100)
	f.s.Lose(40)
	if held := f.s.Held(); f.s.Snapshot().Done || held.String() != chunk.NewSet(chunk.Range{End: 40}).String() {
		t.Errorf("got %v, want 40 bytes", held)
	}
	f.conns[0].Release()
	if !f.conns[0].Next(f.now) || f.conns[0].Remaining() != (chunk.Range{Off: 40, End: 100}) {
		t.Errorf("got %v, want the lost bytes", f.conns[0].Remaining())
	}
}

// TestOverShare: if another download waits for its first connection, all but one leave.
func TestOverShare(t *testing.T) {
	f := newFixture(t, 100*mB, make([]member, 3)...)
	f.gate.overShare = true
	for i, want := range []bool{false, false, true} {
		if got := f.conns[i].Next(f.now); got != want {
			t.Errorf("connection %d of 3: got work %t, want %t", i, got, want)
		}
	}
	f.wantConns("then", 1)
}

// TestStepDown: connections whose request failed leave, except for the last, which backs off
// until its next byte: until then, no other is opened.
func TestStepDown(t *testing.T) {
	f := newFixture(t, 0, member{mB, 1e6, 0, false}, member{mB, 1e6, 0, false}, member{mB, 1e6, 0, false})
	for i, want := range []int{2, 1} {
		if left, ok := f.conns[i].StepDown(); left != want || !ok {
			t.Errorf("got %d left, %t, want %d", left, ok, want)
		}
		f.wantConns("one less", want)
	}
	claim := f.conns[2].Remaining()
	if left, ok := f.conns[2].StepDown(); left != 1 || ok || f.conns[2].Remaining() != claim {
		t.Errorf("the last: got %d left, %t, and %v of %v, want 1, false, and all", left, ok, f.conns[2].Remaining(), claim)
	}
	if f.conns[2].LeaveUnlessLast() {
		t.Error("the last has left")
	}
	f.conns[0].Leave() // as its goroutine does at its end
	f.wantConns("a connection that had left", 1)
	if n := f.tick(f.now); n > 0 {
		t.Errorf("%d connections are opened while the last backs off", n)
	}
	f.conns[2].Received(1, f.now)
	if n := f.tick(f.now); n == 0 {
		t.Error("no connection is opened when the last works again")
	}
}

// TestMayRetry: a connection may ask again, once, after it has received bytes.
func TestMayRetry(t *testing.T) {
	f := newFixture(t, 0, member{mB, 0, 0, false})
	for i, want := range []bool{false, true, false} {
		if i == 1 {
			f.conns[0].Received(1, f.now)
		}
		if got := f.conns[0].MayRetry(); got != want {
			t.Errorf("step %d: got %t, want %t", i, got, want)
		}
	}
}

// TestOpen: several connections at a time when all have their first bytes, none while the
// gate is closed.
func TestOpen(t *testing.T) {
	f := one(t, 100*mB, Options{})
	open := func(now time.Time, want int) {
		t.Helper()
		before := len(f.conns)
		if got := f.tick(now); got != want {
			t.Fatalf("opened %d, want %d", got, want)
		}
		f.wantConns("counted", f.s.Snapshot().Conns)
		for _, c := range f.conns[before:] {
			c.Next(now)
		}
	}
	open(f.now, 0) // no byte yet
	f.conns[0].Received(1, f.now)
	open(f.now, firstConns-1)
	open(f.now, 0) // they have no byte yet
	select {
	case <-f.s.Wake():
		t.Error("it wakes before the first byte")
	default:
	}
	f.conns[1].Received(1, f.now)
	select {
	case <-f.s.Wake():
	default:
		t.Error("the first byte of a new connection does not wake")
	}
	f.conns[2].Received(1, f.now)
	open(f.now, 0)
	f.gate.closedAt = f.now.Add(time.Hour)
	for _, c := range f.conns[3:] {
		c.Received(1, f.now)
	}
	open(f.now.Add(time.Minute), 0)
	open(f.now.Add(time.Hour), firstConns) // to twice as many
}

// TestOpenForWork: a connection is opened only if it would have something to do.
func TestOpenForWork(t *testing.T) {
	tests := []struct {
		name string
		free int64
		of   member
		want bool
	}{
		{"unclaimed bytes", 200 * kB, member{mB, 1e6, 0, false}, true},
		{"few unclaimed bytes", 10 * kB, member{80 * kB, 2e6, 0, false}, false},
		{"nearly done", 0, member{80 * kB, 2e6, 0, false}, false},
		{"much to do for one", 0, member{mB, 1e6, 0, false}, true},
		{"a stuck one", 0, member{100 * kB, 1e6, 6 * time.Second, false}, true},
		{"a stuck one with a few bytes", 0, member{kB, 1e6, 6 * time.Second, false}, true},
	}
	for _, tt := range tests {
		f := newFixture(t, tt.free, tt.of)
		if got := f.tick(f.now) > 0; got != tt.want {
			t.Errorf("%s: opened %t, want %t", tt.name, got, tt.want)
		}
	}
	f := newFixture(t, 0, member{100 * kB, 1e6, time.Minute, false})
	f.conns[0].Received(int(100*kB), f.now.Add(-time.Minute))
	if f.tick(f.now) > 0 {
		t.Error("opened for a slow write of all bytes")
	}
	f = newFixture(t, mB, member{rate: 1e6})
	f.conns[0].Leave()
	if f.tick(f.now) > 0 {
		t.Error("opened when all connections have left")
	}
}

// TestExtend: a response that goes on behind the claim is read on, as long as nobody else
// fetches what follows.
func TestExtend(t *testing.T) {
	f := one(t, 1000*mB, Options{})
	c := f.conns[0]
	if got := c.Remaining(); got.Len() != MinRequest {
		t.Fatalf("first claim: got %v, want %d bytes", got, MinRequest)
	}
	c.Received(MinRequest, f.now.Add(200*ms))
	if left, wait := c.Extend(f.now); left <= 0 || wait {
		t.Fatalf("extended by %d bytes, wait %t", left, wait)
	}
	now := f.now.Add(time.Second)
	f.tick(now.Add(-minSettleTime))
	f.tick(now)
	other := f.conns[1]
	if !other.Next(now) {
		t.Fatal("the other one gets nothing")
	}
	other.Requesting(f.stop(1), now)
	other.Responded(Response{BodyEnd: 1000 * mB}, now)
	for left := int64(1); left > 0; left, _ = c.Extend(now) {
		c.Received(int(c.Remaining().Len()), now)
	}
	if got, want := c.Remaining().End, other.Remaining().Off; got != want {
		t.Errorf("read on up to %d, want %d, where the other one has begun", got, want)
	}
	other.Release()
	c.Requesting(f.stop(0), now)
	if left, _ := c.Extend(now); left != 0 {
		t.Errorf("extended by %d bytes without a response", left)
	}
	c.Responded(Response{BodyEnd: c.Remaining().End + 5}, now)
	if left, _ := c.Extend(now); left != 5 {
		t.Errorf("extended by %d bytes, want the 5 that the response has", left)
	}
}

// TestReserved: as long as the body of the first connection goes on, others begin behind the bytes
// that it will fetch next, and take these last.
func TestReserved(t *testing.T) {
	tests := []struct{ size, bodyEnd, reserved int64 }{
		{8 * MinRequest, 8 * MinRequest, MinRequest + 7*MinRequest/2},
		{1000 * mB, 1000 * mB, MinRequest + maxReserve},
		{1000 * mB, 8 * mB, 8 * mB}, // the first request was for a range
	}
	for _, tt := range tests {
		size, reserved := tt.size, tt.reserved
		f := oneOf(t, size, tt.bodyEnd, Options{})
		now := f.now.Add(time.Second)
		f.conns[0].Received(1000, now)
		f.tick(now)
		f.tick(now)
		begun := make([]int64, 0, 2)
		for _, c := range f.conns[1:3] {
			c.Next(now)
			begun = append(begun, c.Remaining().Off)
		}
		if begun[0] != reserved || begun[1] <= begun[0] {
			t.Errorf("%d bytes: others begin at %v, want %d and behind that", size, begun, reserved)
		}
		for f.s.plan.Unclaimed() > reserved-f.conns[0].Remaining().End {
			if !f.conns[3].Next(now) {
				t.Fatalf("%d bytes: no claim of %d bytes", size, f.s.plan.Unclaimed())
			}
			f.conns[3].claim = nil // as if it were fetched
		}
		f.conns[4].Next(now)
		if got := f.conns[4].Remaining(); got.End != reserved {
			t.Errorf("%d bytes: at last got %v, want the end of the first %d", size, got, reserved)
		}
		f.conns[0].Release()
		f.conns[5].Next(now)
		if got := f.conns[5].Remaining().Off; got != 0 {
			t.Errorf("%d bytes: without the first one, another begins at %d", size, got)
		}
	}
}

// TestKeepOpen: a link may be good for one request, so its body is kept until another
// request has a response, or the connection that takes what follows has left.
func TestKeepOpen(t *testing.T) {
	ready := func(t *testing.T) (f *fixture, first, thief *Conn) {
		f = one(t, MinRequest, Options{})
		f.conns[0].Received(300_000, f.now.Add(rateWindow))
		f.now = f.now.Add(rateWindow)
		if f.tick(f.now) == 0 || !f.conns[1].Next(f.now) {
			t.Fatal("there is nothing to take over")
		}
		f.request(1, f.now)
		f.conns[0].Received(int(f.conns[0].Remaining().Len()), f.now)
		return f, f.conns[0], f.conns[1]
	}
	t.Run("until there is a response", func(t *testing.T) {
		f, first, thief := ready(t)
		if left, wait := first.Extend(f.now); left != 0 || !wait {
			t.Error("the body is left while nobody knows whether there is another one")
		}
		thief.Responded(Response{BodyEnd: MinRequest}, f.now)
		if _, wait := first.Extend(f.now); wait {
			t.Error("the body is kept though another request has a response")
		}
	})
	t.Run("refused", func(t *testing.T) {
		f, first, thief := ready(t)
		thief.StepDown()
		if left, wait := first.Extend(f.now); left == 0 || wait {
			t.Error("what follows is not taken back")
		}
	})
	t.Run("not for ever", func(t *testing.T) {
		f, first, _ := ready(t)
		if _, wait := first.Extend(f.now.Add(stuckTimeout)); wait {
			t.Error("it waits for one that is stuck")
		}
	})
}

// TestInFlight: bytes on their way are worth reading if the connection has work afterwards.
func TestInFlight(t *testing.T) {
	for _, free := range []int64{0, 10 * mB} {
		f := newFixture(t, free, member{mB, 1e6, 0, false})
		c := f.conns[0]
		c.Requesting(f.stop(0), f.now)
		c.Responded(Response{BodyEnd: 20 * mB, Took: 80 * ms}, f.now)
		c.Received(int(mB), f.now)
		n, in := c.InFlight(f.now)
		if want := int64(1e6 * 0.08); free > 0 && (n != want || in != 2*(80*ms+tripOverhead)) || free == 0 && n != 0 {
			t.Errorf("%d bytes are unclaimed: got %d in flight, within %v", free, n, in)
		}
	}
}

// TestYield: one connection on which bytes arrive is given to another process or download. It
// leaves if others go on; else it keeps its claim.
func TestYield(t *testing.T) {
	f := newFixture(t, 0, member{mB, 1e6, 0, false}, member{mB, 1e6, 0, false}, member{mB, 1e6, 0, false})
	f.gate.ceiling = 3
	f.tick(f.now)
	f.wantStops("nobody needs one", 0, 0, 0)
	f.gate.owed = 1
	f.request(0, f.now) // no response yet
	f.tick(f.now)
	f.wantStops("a process needs one", 0, Yielded, 0)
	f.gate.owed, f.stops[1] = 1, 0
	if left, _ := f.conns[1].Extend(f.now); left != mB {
		t.Errorf("the claim of the yielding one has %d bytes, want %d", left, mB)
	}
	f.tick(f.now)
	f.wantStops("another needs one", 0, 0, Yielded)
	if !f.conns[1].LeaveUnlessLast() || !f.conns[2].LeaveUnlessLast() || f.conns[0].LeaveUnlessLast() {
		t.Error("the wrong ones have left")
	}
	f.wantConns("then", 1)
	f.gate.ceiling = 1
	f.conns[0].Responded(Response{BodyEnd: 10 * mB}, f.now)
	f.gate.owed = 1
	f.tick(f.now)
	f.wantStops("it is the only one", 0)
	f.gate.owedLast = true
	f.tick(f.now)
	f.wantStops("it is the only one, for long", Yielded)
	if f.conns[0].LeaveUnlessLast() || f.conns[0].Remaining().Empty() {
		t.Error("the last has lost its claim")
	}
}

// TestYieldInterval: other downloads get one connection at a time.
func TestYieldInterval(t *testing.T) {
	f := newFixture(t, 0, member{mB, 1e6, 0, false}, member{mB, 1e6, 0, false}, member{mB, 1e6, 0, false})
	f.gate.ceiling, f.gate.wanted = 3, true
	f.tick(f.now)
	f.wantStops("first", Yielded, 0, 0)
	f.tick(f.now.Add(yieldInterval - 1))
	f.wantStops("too soon", Yielded, 0, 0)
	f.tick(f.now.Add(yieldInterval))
	f.wantStops("second", Yielded, Yielded, 0)
}

// TestRemove: the requests to a source that is not used any more are stopped. Its connections
// leave, or the last leads to the first source from then on.
func TestRemove(t *testing.T) {
	f := newFixture(t, 50*mB, member{mB, 1e6, 0, false})
	mirror := &gate{ceiling: 4}
	src := &Source{Gate: mirror, Tag: "mirror"}
	f.s.Add(src)
	f.tick(f.now)
	var c *Conn
	for i, o := range f.conns {
		if o.Source() != src {
			continue
		}
		if c = o; !c.Next(f.now) {
			t.Fatal("no work for the mirror")
		}
		f.request(i, f.now)
	}
	if c == nil || f.s.Conns(src) != mirror.open || mirror.joined != 1 {
		t.Fatalf("got %d connections to the mirror, %d counted, %d joined", f.s.Conns(src), mirror.open, mirror.joined)
	}
	for range 2 {
		f.s.Remove(src)
	}
	f.s.Remove(nil)
	for i, o := range f.conns {
		if stopped := f.stops[i] == Disabled; stopped != (o.Source() == src) {
			t.Errorf("connection %d: got stop %v", i, f.stops[i])
		}
		if o != c {
			o.Leave()
		}
	}
	if c.FallBack() || c.Source() != f.src || mirror.open != 0 || f.gate.open != 1 || mirror.joined != 0 {
		t.Errorf("the last: leads to %v, %d and %d open, %d joined", c.Source().Tag, mirror.open, f.gate.open, mirror.joined)
	}
	if all := f.s.Close(); len(all) != 1 || all[0] != f.src || f.gate.joined != 0 {
		t.Errorf("got %d sources at the end", len(all))
	}
}

// TestBeginProof: another source is of use if the rest takes long, as far as is known.
func TestBeginProof(t *testing.T) {
	for _, tt := range []struct {
		of   member
		want bool
	}{{member{mB, 1e6, 0, false}, true}, {member{mB, 0, 0, false}, false}, {member{500 * kB, 2e6, 0, false}, false}} {
		f := newFixture(t, 0, tt.of)
		if got := f.s.BeginProof(f.now); got != tt.want {
			t.Errorf("%+v: got %t", tt.of, got)
		}
	}
}

// TestMirrorTakesOver: another source is of use also if nothing is unclaimed.
func TestMirrorTakesOver(t *testing.T) {
	f := newFixture(t, 0, member{mB, 5e3, 0, false}, member{mB, 5e3, 0, false})
	src := &Source{Gate: &gate{ceiling: 4}}
	f.s.Add(src)
	f.tick(f.now)
	for _, c := range f.conns {
		if c.Source() == src && c.Next(f.now) {
			return
		}
	}
	t.Error("it is not used, or finds nothing to do")
}

// TestRateLimit: while the rate limit of the user makes them slow, connections do not take over
// from each other.
func TestRateLimit(t *testing.T) {
	for limit, want := range map[float64]bool{0: true, 2.9e6: false, 3.1e6: true} {
		f := newFixture(t, 0, member{rate: 1e6}, member{mB, 1e6, 0, false})
		f.s.Tick(f.now, Limit{Rate: limit}, func(*Conn) {})
		if got := f.conns[0].Next(f.now); got != want {
			t.Errorf("limit %.0f: got stolen %t, want %t", limit, got, want)
		}
	}
}
