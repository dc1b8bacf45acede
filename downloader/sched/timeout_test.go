package sched

import (
	"testing"
	"time"
)

// TestExpire: a request without a response is stopped if other connections receive bytes, one
// that trickles always, and no other.
func TestExpire(t *testing.T) {
	const noOther = -1
	tests := []struct {
		name   string
		of     member
		other  time.Duration // since it has received a byte
		took   time.Duration // typical response time; 0 for unknown
		want   Reason
		queued bool // the connection waits for a slot
	}{
		{"no response, others move", member{mB, 0, stuckTimeout + 1, true}, 0, 0, Overdue, false},
		{"no response, not for long", member{mB, 0, stuckTimeout, true}, 0, 0, 0, false},
		{"no response, but no slot either", member{mB, 0, stuckTimeout + 1, true}, 0, 0, 0, true},
		{"no response, others silent", member{mB, 0, stuckTimeout + 1, true}, 2 * time.Second, 0, 0, false},
		{"no response, no others", member{mB, 0, stuckTimeout + 1, true}, noOther, 0, 0, false},
		{"overdue, others move", member{mB, 0, 3 * time.Second, true}, 0, 100 * ms, 0, false}, // who take over
		{"overdue, others silent", member{mB, 0, 3 * time.Second, true}, 2 * time.Second, 100 * ms, Replaced, false},
		{"overdue, no others", member{mB, 0, 3 * time.Second, true}, noOther, 100 * ms, Replaced, false},
		{"nearly overdue, no others", member{mB, 0, 600 * ms, true}, noOther, 100 * ms, 0, false},
		{"response, then silence", member{mB, 0, stuckTimeout + 1, false}, 0, 100 * ms, 0, false}, // others take over
	}
	for _, tt := range tests {
		members := []member{tt.of}
		if tt.other >= 0 {
			members = append(members, member{mB, 1e6, tt.other, false})
		}
		f := newFixture(t, 0, members...)
		f.gate.ceiling, f.gate.queued = len(members), tt.queued
		f.src.timing.add(tt.took)
		f.tick(f.now)
		f.wantStops(tt.name, append([]Reason{tt.want}, make([]Reason, len(members)-1)...)...)
	}
}

// TestExpireLonger: each time that connections without a response were given up, the next has
// twice the time.
func TestExpireLonger(t *testing.T) {
	f := newFixture(t, 0, member{mB, 1e6, 0, false}, member{mB, 0, 0, true})
	f.gate.ceiling = 2
	now := f.now
	for _, timeout := range []time.Duration{stuckTimeout, 2 * stuckTimeout, 4 * stuckTimeout} {
		f.request(1, now)
		f.conns[0].Received(100_000, now.Add(timeout))
		f.tick(now.Add(timeout))
		f.wantStops("in time", 0, 0)
		now = now.Add(timeout + 1)
		f.conns[0].Received(100_000, now)
		f.tick(now)
		f.wantStops("too late", 0, Overdue)
	}
}

// TestExpireTrickle: a connection that trickles for longer than the timeout is stopped, unless
// the rate limit of the user is so low that this says nothing.
func TestExpireTrickle(t *testing.T) {
	for _, low := range []bool{false, true} {
		f := newFixture(t, 0, member{mB, 0, 0, false})
		f.gate.ceiling = 1
		for f.now.Sub(epoch.Add(time.Hour)) < 10*time.Second {
			f.now = f.now.Add(rateWindow)
			f.conns[0].Received(1, f.now)
			f.s.Tick(f.now, Limit{Low: low}, func(*Conn) {})
		}
		f.wantStops("in time", 0)
		f.s.Tick(f.now.Add(1), Limit{Low: low}, func(*Conn) {})
		if want := map[bool]Reason{false: Trickling}[low]; f.stops[0] != want {
			t.Errorf("low limit %t: got stop %v, want %v", low, f.stops[0], want)
		}
	}
}

// TestExpireQueued: the wait for the rate limit of requests is not one for a response.
func TestExpireQueued(t *testing.T) {
	f := newFixture(t, 0, member{mB, 0, 0, false})
	f.gate.ceiling = 1
	f.src.timing.add(5 * ms)
	c := f.conns[0]
	c.Requesting(f.stop(0), f.now)
	c.Queued(true, f.now)
	f.tick(f.now.Add(2 * time.Second))
	c.Queued(false, f.now.Add(3*time.Second))
	f.tick(f.now.Add(3 * time.Second))
	c.Sent(f.now.Add(3 * time.Second))
	f.tick(f.now.Add(3*time.Second + minOverdue))
	f.wantStops("queued", 0)
	f.tick(f.now.Add(3*time.Second + minOverdue + ms))
	f.wantStops("overdue", Replaced)
}

// TestExpireDialing: a request that has waited for its connection has the whole timeout from then on,
// although other connections receive bytes meanwhile.
func TestExpireDialing(t *testing.T) {
	for _, dialing := range []bool{false, true} {
		f := newFixture(t, 0, member{mB, 1e6, 0, false}, member{mB, 0, 0, false})
		f.gate.ceiling = 2
		f.conns[1].Requesting(f.stop(1), f.now)
		now := f.now.Add(stuckTimeout + 1)
		f.conns[0].Received(100_000, now)
		if dialing {
			f.conns[1].Dialing(now)
		}
		f.tick(now)
		f.wantStops("with a connection", 0, map[bool]Reason{false: Overdue, true: 0}[dialing])
		if now = now.Add(stuckTimeout + 1); dialing {
			f.conns[0].Received(100_000, now)
			f.tick(now)
			f.wantStops("no response then", 0, Overdue)
		}
	}
}

// TestExpireSlowServer: a server that is slow, always or now and then, is soon left in peace,
// because a replacement waits twice as long.
func TestExpireSlowServer(t *testing.T) {
	for _, takes := range [][]time.Duration{
		{12 * time.Second},
		{500 * ms, time.Second, 1500 * ms},
	} {
		f := newFixture(t, 0, member{mB, 0, 0, false})
		f.gate.ceiling = 1
		f.src.timing.add(5 * ms)
		now, requests := f.now, 0
		for i := range 12 {
			for took, done := takes[i%len(takes)], false; !done; requests++ {
				f.request(0, now)
				sent := now
				for now.Sub(sent) < took && f.stops[0] == 0 {
					now = now.Add(TickInterval)
					f.tick(now)
				}
				if done = f.stops[0] == 0; done {
					f.conns[0].Responded(Response{BodyEnd: mB, Took: took}, now)
				}
			}
		}
		if requests > 12+8 {
			t.Errorf("responses that take %v: %d requests for 12", takes, requests)
		}
	}
}

// TestStuck: silence counts from the last byte or the request, whichever came later.
func TestStuck(t *testing.T) {
	stuck := func(f *fixture, since time.Time) {
		t.Helper()
		for after, want := range map[time.Duration]bool{stuckTimeout: false, stuckTimeout + 1: true} {
			if got := f.s.timeouts.isStuck(f.conns[0], since.Add(after)); got != want {
				t.Errorf("silent since %v for %v: stuck %t, want %t", since.Sub(f.now), after, got, want)
			}
		}
	}
	f := one(t, 100*mB, Options{})
	stuck(f, f.now)
	f.conns[0].Received(1, f.now.Add(time.Minute))
	stuck(f, f.now.Add(time.Minute))
	f.conns[0].Requesting(f.stop(0), f.now.Add(time.Hour))
	stuck(f, f.now.Add(time.Hour))
}
