package sched

import (
	"fmt"
	"testing"
	"time"

	"pawl/chunk"
)

// TestDivide: how much a thief takes from a victim that would need so long for the rest, and
// whether that is worth a request.
func TestDivide(t *testing.T) {
	thiefOf := func(rate float64) thief {
		return thief{source: &Source{}, rate: rate, isMeasured: true, trips: coldTrips, sharers: 1}
	}
	of := func(bytes int64, rate float64) victim {
		return victim{bytes: bytes, left: float64(bytes) / rate, state: receiving}
	}
	with := func(v victim, change func(*victim)) victim { change(&v); return v }
	unmeasured, limited := thiefOf(1e6), thiefOf(1e6)
	unmeasured.isMeasured, limited.rateLimited = false, true
	const none, roughly = -1, 25 * kB // what comes while the request is made
	tests := []struct {
		name string
		t    thief
		v    victim
		want int64
		all  bool
	}{
		{"equally fast", thiefOf(1e6), of(10*mB, 1e6), 5 * mB, false},
		{"a little longer", thiefOf(1e6), of(200*kB, 1e6), 100 * kB, false},
		{"more of a slower one", thiefOf(1e6), of(500*kB, 250e3), 400 * kB, false},
		{"less of a faster one", thiefOf(1e6), of(10*mB, 4e6), 2 * mB, false},
		{"nearly done", thiefOf(1e6), of(150*kB, 4e6), none, false},
		{"a faster one, soon done", thiefOf(1e6), of(500*kB, 4e6), none, false},
		{"too small to divide", thiefOf(1e6), of(2*minSteal-2, 1e6), none, false},
		{"large enough to divide", thiefOf(1e6), of(3*minSteal, 1e6), 3 * minSteal / 2, false},
		{"too small to divide, but slow", thiefOf(100e3), of(minSteal, 100e3), minSteal / 2, false},
		{"a few bytes, however slow", thiefOf(300), of(minSteal/4-1, 100), none, false},
		{"much slower", thiefOf(1e6), of(minSteal-1, 50e3), minSteal - 1, true},
		{"slower", thiefOf(7e3), of(100*kB, 1e3), 88 * kB, false},
		{"much slower than an estimate", unmeasured, of(mB, 50e3), 952 * kB, false},
		{"much slower, and idle", thiefOf(1e6), with(of(mB, 50e3), func(v *victim) { v.state = idle }), 952 * kB, false},
		{"stuck", thiefOf(1), with(of(100*kB, 1e6), func(v *victim) { v.isStuck = true }), 100 * kB, true},
		{"overdue, worth dividing", thiefOf(1e6), with(of(50*kB, 150e3), func(v *victim) { v.isOverdue, v.state = true, awaiting }), 43 * kB, false},
		{"overdue, with a few bytes", thiefOf(1e6), with(of(15*kB, 150e3), func(v *victim) { v.isOverdue, v.state = true, awaiting }), 15 * kB, true},
		{"a few bytes, not overdue", thiefOf(1e6), with(of(15*kB, 150e3), func(v *victim) { v.state = awaiting }), none, false},
		{"limited", limited, of(mB, 500e3), none, false},
		{"limited, much slower", limited, of(mB, 50e3), none, false},
		{"limited, without a response", limited, with(of(mB, 50e3), func(v *victim) { v.state = awaiting }), mB, true},
		{"limited, stuck", limited, with(of(mB, 1e6), func(v *victim) { v.isStuck = true }), mB, true},
		{"unknown rate", thiefOf(0), of(10*mB, 1e6), none, false},
	}
	for _, tt := range tests {
		got, gain := tt.t.divide(tt.v)
		if worth := gain > minGain.Seconds(); !worth {
			got.bytes, got.stops = none, false
		}
		if got.stops != tt.all || got.bytes > tt.want || got.bytes < tt.want-roughly {
			t.Errorf("%s: got %d bytes, stops %t (gain %.3f s), want %d, %t", tt.name, got.bytes, got.stops, gain, tt.want, tt.all)
		}
	}
}

// TestDivideDistance: a request over a long way must gain more.
func TestDivideDistance(t *testing.T) {
	for rtt, want := range map[time.Duration]bool{ms: true, 100 * ms: false} {
		f := newFixture(t, 0, member{0, 1e6, 0, false}, member{300 * kB, 1e6, 0, false})
		f.request(1, f.now)
		f.conns[1].Responded(Response{BodyEnd: 2 * mB, Took: rtt}, f.now)
		if got := f.conns[0].Next(f.now); got != want {
			t.Errorf("round trip time %v: stolen %t, want %t", rtt, got, want)
		}
	}
}

// TestTakeOver: an idle connection, if nothing is unclaimed, takes bytes of the claim that would
// finish last. If it takes all of them, the request of its victim is stopped.
func TestTakeOver(t *testing.T) {
	idleConn := member{rate: 1e6}
	tests := []struct {
		name    string
		members []member // the first one is idle
		victim  int      // 0 for none
		want    int64    // bytes
		all     bool
	}{
		{"the slowest by time, not by bytes", []member{idleConn, {mB, 2e6, 0, false}, {500 * kB, 250e3, 0, false}}, 2, 400 * kB, false},
		{"the slowest by bytes", []member{idleConn, {mB, 1e6, 0, false}, {500 * kB, 1e6, 0, false}}, 1, 500 * kB, false},
		{"silence slows", []member{idleConn, {mB, 2e6, 4 * time.Second, false}, {500 * kB, 500e3, 0, false}}, 1, 900 * kB, false},
		{"an unknown rate is the mean of the others'", []member{idleConn, {mB, 0, 0, false}, {500 * kB, 1e6, 0, false}}, 1, 500 * kB, false},
		{"nearly done", []member{idleConn, {80 * kB, 2e6, 0, false}, {90 * kB, 2e6, 0, false}}, 0, 0, false},
		{"much slower", []member{idleConn, {100 * kB, 50e3, 0, false}}, 1, 100 * kB, true},
		{"silent", []member{idleConn, {mB, 1e6, stuckTimeout + 1, false}}, 1, mB, true},
		{"silent at the end of a fast run", []member{idleConn, {10 * kB, 1e6, stuckTimeout + 1, false}}, 1, 10 * kB, true},
		{"not yet stuck", []member{{rate: 2e5}, {100 * kB, 2e5, stuckTimeout, false}}, 1, 90 * kB, true},
		{"no response yet", []member{idleConn, {mB, 1e6, 400 * ms, true}}, 1, 500 * kB, false},
		{"no response for long", []member{idleConn, {mB, 1e6, stuckTimeout + 1, true}}, 1, mB, true},
	}
	for _, tt := range tests {
		f := newFixture(t, 0, tt.members...)
		before := make([]chunk.Range, len(f.conns))
		for i, c := range f.conns {
			before[i] = c.Remaining()
		}
		ok := f.conns[0].Next(f.now)
		if ok != (tt.victim > 0) {
			t.Errorf("%s: got a claim %t", tt.name, ok)
		}
		f.wantConns(tt.name, len(f.conns)-map[bool]int{false: 1}[ok])
		for i, c := range f.conns[1:] {
			taken := before[i+1].Len() - c.Remaining().Len()
			want, stop := int64(0), Reason(0)
			if i+1 == tt.victim {
				want = tt.want
			}
			if i+1 == tt.victim && tt.all {
				want, stop = before[i+1].Len(), Stolen
			}
			if taken > want || taken < want-25*kB || f.stops[i+1] != stop {
				t.Errorf("%s: %d bytes were taken from %d, stop %d; want %d, stop %d", tt.name, taken, i+1, f.stops[i+1], want, stop)
			}
		}
	}
}

// TestTakeOverShare: a connection takes over no more than its share, and leaves the rest to those that
// come next.
func TestTakeOverShare(t *testing.T) {
	f := newFixture(t, 0, member{rate: 2e6}, member{rate: 2e6}, member{rate: 2e6}, member{mB, 50e3, 0, false})
	f.src.timing.add(80 * ms)
	for i := range 3 {
		f.conns[i].Next(f.now)
		if got := f.conns[i].Remaining().Len(); got < minFarRequest || got > 400*kB {
			t.Errorf("connection %d takes over %d bytes of 1 MB", i, got)
		}
	}
	if got := f.stops[3]; got != Stolen {
		t.Errorf("the slow one is stopped for reason %d, want %d", got, Stolen)
	}
}

// TestTripsUntil: a new connection first needs its slow start, and one that was left open does not.
func TestTripsUntil(t *testing.T) {
	const windows = 7 // the windows of a path on which slow start takes three round trips
	src := &Source{Gate: &gate{}}
	src.timing.add(100 * ms)
	rate := float64(windows * initialWindow * 10)
	if got, want := src.tripsUntil(rate, false), 2.0+3; got != want {
		t.Errorf("new: got %v round trips, want %v", got, want)
	}
	if got, want := src.tripsUntil(rate, true), 1.0; got != want {
		t.Errorf("reused: got %v round trips, want %v", got, want)
	}
	src.TLS = true
	if got, want := src.tripsUntil(rate, false), 3.0+3; got != want {
		t.Errorf("new, with TLS: got %v round trips, want %v", got, want)
	}
}

// TestOpenPooled: a connection that has left open its TCP connection comes back for less than a new one.
func TestOpenPooled(t *testing.T) {
	for _, isOpen := range []bool{false, true} {
		f := newFixture(t, 0, member{rate: 1e6}, member{400 * kB, 1e6, 0, false})
		f.src.timing.add(100 * ms)
		f.conns[0].isReusable = isOpen
		f.conns[0].Leave()
		if got := f.tick(f.now) > 0; got != isOpen {
			t.Errorf("left open %t: comes back %t", isOpen, got)
		}
	}
}

// TestPooled: how many TCP connections are left open, as requests show it.
func TestPooled(t *testing.T) {
	f := newFixture(t, 100*mB, member{rate: 1e6}, member{rate: 1e6}, member{rate: 1e6}, member{rate: 1e6})
	want := func(n int) {
		t.Helper()
		if f.src.pooled != n {
			t.Errorf("%d are left open, want %d", f.src.pooled, n)
		}
	}
	for _, c := range f.conns[:3] {
		c.isReusable = true
	}
	f.conns[0].Leave()
	f.conns[1].Leave()
	want(2)
	f.request(2, f.now) // over its own
	want(2)
	f.conns[3].Next(f.now)
	f.conns[3].Disconnected()
	f.request(3, f.now) // over another one
	want(1)
	f.conns[3].Responded(Response{BodyEnd: mB, NewConn: true}, f.now) // so it was closed, and any other one, too
	want(0)
}

// TestTakeOverQueued: a request that waits for the rate limit of requests is left alone, as
// the request of the thief would have to wait behind it.
func TestTakeOverQueued(t *testing.T) {
	f := newFixture(t, 0, member{rate: 1e6}, member{mB, 500e3, 0, false})
	f.conns[1].Requesting(f.stop(1), f.now)
	f.conns[1].Queued(true, f.now)
	if f.conns[0].Next(f.now.Add(6 * time.Second)) {
		t.Error("bytes of a queued request were taken")
	}
}

// TestTakeOverSlowServer: after a request was taken over because no response had come for
// long, the next may take twice as long.
func TestTakeOverSlowServer(t *testing.T) {
	for after, want := range map[time.Duration]Reason{stuckTimeout + 1: 0, 2 * stuckTimeout: 0, 2*stuckTimeout + 1: Stolen} {
		f := newFixture(t, 0, member{rate: 5e5}, member{rate: 5e5}, member{300 * kB, 5e5, 0, false}, member{300 * kB, 5e5, stuckTimeout + 1, true})
		f.conns[0].Next(f.now) // all of the last one
		f.wantStops("first", 0, 0, 0, Stolen)
		f.conns[0].Received(int(300*kB), f.now)
		f.conns[0].Written(300 * kB)
		f.conns[2].Requesting(f.stop(2), f.now) // it has no response, and is not overdue
		f.conns[1].Next(f.now.Add(after))
		f.wantStops(fmt.Sprintf("second, after %v", after), 0, 0, want)
	}
}

// TestTakeOverOverdue: an overdue request loses all to a connection that gets responses, its
// own connection leaves, and none is opened in its place. The replacement has twice its time.
func TestTakeOverOverdue(t *testing.T) {
	members := []member{{0, 1e6, 0, false}, {50 * kB, 0, 2 * time.Second, true}, {0, 1e6, 0, false}, {30 * kB, 1e6, 0, false}}
	for waited, want := range map[time.Duration]bool{10 * ms: false, minOverdue: false, minOverdue + ms: true, 2 * time.Second: true} {
		members[1].silent = waited
		f := newFixture(t, 0, members...)
		got := f.conns[0].Next(f.now)
		if stolen := f.stops[1] == Stolen; got != want || stolen != want {
			t.Errorf("after %v: taken %t, stolen %t, want %t", waited, got, stolen, want)
		}
	}
	members[1].silent = 2 * time.Second
	f := newFixture(t, 0, members...)
	f.conns[0].Next(f.now)
	f.wantStops("overdue", 0, Stolen, 0, 0)
	f.conns[1].Release()
	f.conns[3].Release()
	if f.conns[1].Next(f.now) || !f.conns[3].Next(f.now) {
		t.Error("the connection without a response did not leave, or another did")
	}
	if n := f.tick(f.now.Add(minSettleTime)); n > 0 {
		t.Errorf("%d connections are opened in its place", n)
	}
	f.request(0, f.now)
	for _, after := range []time.Duration{time.Second, 4 * time.Second} {
		f.conns[3].Received(1, f.now.Add(after))
		if f.tick(f.now.Add(after)); f.stops[0] != 0 {
			t.Errorf("the replacement was stopped after %v", after)
		}
	}
}

// TestKeepsReceived: bytes that a victim has read remain its own.
func TestKeepsReceived(t *testing.T) {
	f := newFixture(t, 0, member{rate: 1e6}, member{100 * kB, 1e6, time.Minute, false})
	victim, base := f.conns[1], f.conns[1].Remaining().Off
	victim.Received(30_000, f.now.Add(-time.Minute))
	f.conns[0].Next(f.now)
	if got, want := f.conns[0].Remaining(), (chunk.Range{Off: base + 30_000, End: base + 100_000}); got != want {
		t.Errorf("stolen: got %v, want %v", got, want)
	}
	if keep, left := victim.Received(500, f.now); keep != 0 || left != 0 {
		t.Errorf("late bytes: got %d kept, %d left, want none", keep, left)
	}
	before := f.s.Snapshot().Held
	if held := victim.Written(10_000); held != before+10_000 {
		t.Errorf("written: got %d, want %d", held, before+10_000)
	}
	victim.Release() // with 20,000 bytes that are not written
	if !victim.Next(f.now) || victim.Remaining() != (chunk.Range{Off: base + 10_000, End: base + 30_000}) {
		t.Errorf("after release: got %v, want 20,000 bytes", victim.Remaining())
	}
}

// TestMisaligned: a body that has gone on past its claim, because another connection took the
// end of it, is not read on when the end is unclaimed again.
func TestMisaligned(t *testing.T) {
	f := newFixture(t, 0, member{rate: 1e6}, member{mB, 1e6, 0, false})
	victim := f.conns[1]
	asked := int(victim.Remaining().Len()) // a Read that waits may return so many
	if !f.conns[0].Next(f.now) {
		t.Fatal("nothing was stolen")
	}
	f.conns[0].StepDown()
	if keep, _ := victim.Received(asked, f.now); keep == asked {
		t.Fatal("nothing was stolen")
	}
	if left, _ := victim.Extend(f.now); left != 0 {
		t.Errorf("the claim was extended by %d bytes, with a body that is elsewhere", left)
	}
}

// TestTypicalRate: a new connection is expected to be as fast as those that have left, and
// each of these counts once.
func TestTypicalRate(t *testing.T) {
	stolen := func(left float64) int64 {
		f := newFixture(t, 0, member{mB, 100e3, 0, false}, member{10 * kB, left, 0, false})
		f.conns[1].Received(int(f.conns[1].Remaining().Len()), f.now)
		f.conns[1].Written(10 * kB)
		for range 3 {
			f.conns[1].Leave()
		}
		if f.tick(f.now) == 0 || !f.conns[2].Next(f.now) {
			t.Fatalf("after one of %.0f bytes/s has left: nothing was taken over", left)
		}
		return f.conns[2].Remaining().Len()
	}
	if slow, fast := stolen(100e3), stolen(2e6); slow > 550*kB || fast < 900*kB {
		t.Errorf("a new connection takes %d and %d bytes of 1 MB, want half, and nearly all", slow, fast)
	}
	var src Source
	for _, rate := range []float64{8e6, 0, 4e6} {
		src.noteLeft(rate)
	}
	if want := 8e6*typicalHistory + 4e6*(1-typicalHistory); src.typicalRate != want {
		t.Errorf("got %.0f, want %.0f", src.typicalRate, want)
	}
}
