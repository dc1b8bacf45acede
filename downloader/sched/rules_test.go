package sched

import (
	"testing"
	"time"
)

// TestReusable: taking over a little is worth it over an open TCP connection, not over a new one.
func TestReusable(t *testing.T) {
	for name, tt := range map[string]struct {
		before func(*fixture)
		want   bool
	}{
		"open":                   {func(*fixture) {}, true},
		"closed":                 {func(f *fixture) { f.conns[0].Disconnected() }, false},
		"a request without byte": {func(f *fixture) { f.request(0, f.now); f.conns[0].Release() }, false},
	} {
		f := newFixture(t, 0, member{rate: 2e6}, member{200 * kB, 2e6, 0, false})
		f.src.timing.add(10 * ms)
		tt.before(f)
		if got := f.conns[0].Next(f.now); got != tt.want {
			t.Errorf("%s: got taken over %t, want %t", name, got, tt.want)
		}
	}
}

// TestReplacedLeaves: a connection whose unanswered request was taken over leaves at its next
// claim, unless it is the last by then; and if it never had a byte, it did not pay.
func TestReplacedLeaves(t *testing.T) {
	setUp := func() *fixture {
		f := newFixture(t, 10*mB, member{rate: 1e6}, member{50 * kB, 0, 2 * time.Second, true})
		f.src.timing.add(ms)
		f.conns[0].Next(f.now)
		for f.stops[1] == 0 { // until nothing else is left
			n := f.conns[0].Remaining().Len()
			f.conns[0].Received(int(n), f.now)
			f.conns[0].Written(n)
			f.conns[0].Release()
			if !f.conns[0].Next(f.now) {
				t.Fatal("nothing was taken over")
			}
		}
		f.conns[1].Release()
		return f
	}
	f := setUp()
	if f.conns[1].Next(f.now) || !f.src.ramp.isTooMany(2) || f.src.ramp.isTooMany(1) {
		t.Error("the connection without a response has not left, or is said to pay")
	}
	f = setUp()
	f.conns[0].Release()
	f.conns[0].Leave()
	if !f.conns[1].Next(f.now) {
		t.Fatal("the last has left")
	}
	f.s.Begin(0, Response{}, func(Reason) {}, f.now) // another one
	f.conns[1].Release()
	if !f.conns[1].Next(f.now) {
		t.Error("it leaves later, because of the old request")
	}
}

// TestReplacementTime: the request that takes the place of an unanswered one has twice its time.
func TestReplacementTime(t *testing.T) {
	f := newFixture(t, 0, member{rate: 1e6}, member{50 * kB, 0, 2 * time.Second, true})
	f.src.timing.add(ms)
	f.gate.ceiling = 2
	if !f.conns[0].Next(f.now) || f.stops[1] != Stolen {
		t.Fatal("nothing was taken over")
	}
	f.conns[1].Leave()
	f.gate.ceiling = 1
	f.request(0, f.now)
	f.tick(f.now.Add(4 * time.Second))
	f.wantStops("twice the time", 0)
	f.tick(f.now.Add(4*time.Second + 1))
	f.wantStops("longer", Replaced)
}

// TestTooMany: beyond the fair share, or the number that pays, no connection is opened, and one
// leaves instead of claiming unclaimed bytes. It still takes over from a slow one.
func TestTooMany(t *testing.T) {
	for name, limit := range map[string]func(*fixture){
		"fair share": func(f *fixture) { f.gate.fair = 1 },
		"pays":       func(f *fixture) { f.src.ramp.limitTo(1, f.now) },
	} {
		f := newFixture(t, 10*mB, member{mB, 1e6, 0, false}, member{rate: 1e6})
		if limit(f); f.tick(f.now) > 0 {
			t.Errorf("%s: a connection was opened", name)
		}
		if f.conns[1].Next(f.now) {
			t.Errorf("%s: unclaimed bytes were claimed", name)
		}
		f = newFixture(t, 0, member{mB, 1e6, 0, false}, member{rate: 1e6})
		if limit(f); !f.conns[1].Next(f.now) {
			t.Errorf("%s: nothing was taken over", name)
		}
	}
}

// TestOpenToTakeOver: in the pause after a trial, another connection is opened all the same if
// the rest of the file is claimed, up to the number that pays.
func TestOpenToTakeOver(t *testing.T) {
	for pays, want := range map[int]int{2: 0, 4: 1} {
		f := newFixture(t, 0, member{mB, 1e6, 0, false}, member{mB, 1e6, 0, false})
		f.src.ramp.limitTo(pays, f.now)
		if got := f.tick(f.now); got != want {
			t.Errorf("2 connections of %d that pay: opened %d, want %d", pays, got, want)
		}
	}
}

// TestOpenForUnanswered: a further connection is opened for the only one, which never has had a
// response.
func TestOpenForUnanswered(t *testing.T) {
	for silent, want := range map[time.Duration]bool{stuckTimeout: false, stuckTimeout + 1: true} {
		f := newFixture(t, 0, member{100 * kB, 0, silent, true})
		if got := f.tick(f.now) > 0; got != want {
			t.Errorf("after %v: opened %t, want %t", silent, got, want)
		}
	}
}

// TestTrickleAgain: a new request has the whole time again, though it trickles, too.
func TestTrickleAgain(t *testing.T) {
	f := newFixture(t, 0, member{mB, 0, 0, false})
	f.gate.ceiling = 1
	trickle := func(d time.Duration) {
		for ; d > 0; d -= rateWindow {
			f.now = f.now.Add(rateWindow)
			f.conns[0].Received(1, f.now)
			f.tick(f.now)
		}
	}
	trickle(9 * time.Second)
	f.request(0, f.now)
	f.conns[0].Responded(Response{BodyEnd: mB}, f.now)
	trickle(9 * time.Second)
	f.wantStops("in time", 0)
	trickle(3 * time.Second)
	f.wantStops("too long", Trickling)
}

// TestWindowPause: a pause between two requests, or a long wait for a response, does not lower the
// measured rate; nor does the rate of one TCP connection count for the next.
func TestWindowPause(t *testing.T) {
	for name, pause := range map[string]func(*fixture, *Conn){
		"between requests": func(f *fixture, c *Conn) { c.Release(); f.now = f.now.Add(20 * time.Second); c.Next(f.now) },
		"for a response":   func(f *fixture, c *Conn) { f.request(0, f.now); f.now = f.now.Add(20 * time.Second) },
	} {
		f := one(t, 100*mB, Options{})
		c := f.conns[0]
		for range 15 {
			f.now = f.now.Add(100 * ms)
			c.Received(50_000, f.now)
		}
		f.now = f.now.Add(100 * ms)
		c.Received(50_000, f.now) // the window is open
		if pause(f, c); c.request.state != awaiting {
			f.request(0, f.now)
		}
		c.Responded(Response{BodyEnd: 100 * mB}, f.now)
		for range 5 {
			f.now = f.now.Add(100 * ms)
			c.Received(50_000, f.now)
			if rate := c.rateAt(f.now); rate < 400e3 || rate > 650e3 {
				t.Errorf("%s: got %.0f, want 500000", name, rate)
			}
		}
		f.request(0, f.now)
		if c.Responded(Response{BodyEnd: 100 * mB, NewConn: true}, f.now); c.rateAt(f.now) != 0 {
			t.Errorf("%s: a new TCP connection has the rate %.0f", name, c.rateAt(f.now))
		}
	}
}

// TestKeepOpenOnce: no body is kept open for others once a second request to the source has had a
// response, nor for one to another source that has its response.
func TestKeepOpenOnce(t *testing.T) {
	for _, other := range []bool{false, true} {
		f := one(t, MinRequest, Options{})
		f.conns[0].Received(300_000, f.now.Add(rateWindow))
		f.now = f.now.Add(rateWindow)
		if other {
			f.gate.ceiling = 1
			f.s.Add(&Source{Gate: &gate{ceiling: 1}})
		}
		if f.tick(f.now) == 0 || !f.conns[1].Next(f.now) {
			t.Fatal("there is nothing to take over")
		}
		f.request(1, f.now)
		f.conns[1].Responded(Response{BodyEnd: MinRequest}, f.now)
		f.conns[0].Received(int(f.conns[0].Remaining().Len()), f.now)
		if !other {
			f.request(1, f.now) // the body broke off
		}
		if _, wait := f.conns[0].Extend(f.now); wait {
			t.Errorf("other source %t: the body is kept open", other)
		}
	}
}

// TestWakeOnce: only the first bytes of a connection wake.
func TestWakeOnce(t *testing.T) {
	f := newFixture(t, 0, member{mB, 0, 0, false}, member{mB, 1e6, 0, false})
	for i, want := range []int{1, 0} {
		f.conns[0].Received(1, f.now)
		if got := len(f.s.Wake()); got != want {
			t.Errorf("byte %d: got %d marks, want %d", i, got, want)
		}
		select {
		case <-f.s.Wake():
		default:
		}
	}
}

// TestBeginProofHeld: a source is tested by comparing bytes, so some must be held.
func TestBeginProofHeld(t *testing.T) {
	f := one(t, 100*mB, Options{})
	f.now = f.now.Add(rateWindow)
	f.conns[0].Received(100_000, f.now)
	if f.s.BeginProof(f.now) {
		t.Error("it needs a source without a held byte")
	}
	if f.conns[0].Written(100_000); !f.s.BeginProof(f.now) {
		t.Error("it needs none")
	}
}

// TestExpireQueuedLong: a request that waits for the rate limit of requests is not given up
// though others receive bytes.
func TestExpireQueuedLong(t *testing.T) {
	f := newFixture(t, 0, member{mB, 0, 0, false}, member{mB, 1e6, 0, false})
	f.gate.ceiling = 2
	f.conns[0].Requesting(f.stop(0), f.now)
	f.conns[0].Queued(true, f.now)
	f.now = f.now.Add(3 * stuckTimeout)
	f.conns[1].Received(100_000, f.now)
	f.tick(f.now)
	f.wantStops("queued", 0, 0)
}

// TestExpireBothUnanswered: a connection that has just sent a request does not move, so an overdue
// request beside it is sent again.
func TestExpireBothUnanswered(t *testing.T) {
	f := newFixture(t, 0, member{mB, 0, time.Second, true}, member{mB, 0, 0, true})
	f.gate.ceiling = 2
	f.src.timing.add(ms)
	f.tick(f.now)
	f.wantStops("overdue", Replaced, 0)
}

// TestYieldSilent: a connection on which nothing comes any more is not given away, as that would
// hide that it is stuck.
func TestYieldSilent(t *testing.T) {
	f := newFixture(t, 0, member{mB, 1e6, stuckTimeout + 1, false}, member{mB, 1e6, 0, false})
	f.gate.ceiling, f.gate.owed = 2, 1
	f.tick(f.now)
	f.wantStops("one silent", 0, Yielded)
}

// TestModelFastStay: connections that are fast enough are not replaced, however slow among the others.
func TestModelFastStay(t *testing.T) {
	srv := &server{gate: gate{ceiling: 4}, rtt: 20 * ms, rate: steady(100e6, 100e6, 100e6, 20e6)}
	if newWorld(t, 1500*mB, srv).run(); srv.stopped[Replaced] > 0 {
		t.Error("a connection of 20 MB/s was replaced")
	}
}

// TestModelSlowMirror: the connections of a slow mirror are compared with each other.
func TestModelSlowMirror(t *testing.T) {
	first := &server{gate: gate{ceiling: 4}, rtt: 20 * ms, rate: steady(8e6)}
	mirror := &server{gate: gate{ceiling: 4}, rtt: 20 * ms, rate: steady(1e6)}
	if newWorld(t, 200*mB, first, mirror).run(); mirror.stopped[Replaced] > 0 || mirror.delivered == 0 {
		t.Errorf("%d connections of the mirror were replaced; it sent %d bytes", mirror.stopped[Replaced], mirror.delivered)
	}
}
