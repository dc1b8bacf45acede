package sched

import (
	"testing"
	"time"
)

// TestReplace: of several connections, one that has been much slower than the mean for some time is replaced.
func TestReplace(t *testing.T) {
	fast, slow := member{mB, 400e3, 0, false}, member{mB, 30e3, 0, false}
	tests := []struct {
		name    string
		members []member
		want    Reason // of the last one
	}{
		{"much slower", []member{fast, fast, fast, slow}, Replaced},
		{"slower", []member{fast, fast, fast, {mB, 60e3, 0, false}}, 0},
		{"of three", []member{fast, fast, slow}, Replaced},
		{"nearly done", []member{fast, fast, fast, {60 * kB, 30e3, 0, false}}, 0},
		{"not measured", []member{fast, fast, fast, {mB, 0, 0, false}}, 0},
		{"without a response", []member{fast, fast, fast, {mB, 30e3, 0, true}}, 0},
	}
	for _, tt := range tests {
		f := newFixture(t, 0, tt.members...)
		f.gate.ceiling = len(tt.members)
		last := len(f.conns) - 1
		run := func(after time.Duration) { // all go on as before
			for step := rateWindow; step <= after; step += rateWindow {
				for i, c := range f.conns {
					if tt.members[i].noReply {
						continue
					}
					c.Received(int(tt.members[i].rate*rateWindow.Seconds()), f.now.Add(rateWindow))
				}
				f.now = f.now.Add(rateWindow)
				f.tick(f.now)
			}
		}
		run(replaceAge) // it is slow from the first tick on
		f.wantStops(tt.name+", too soon", make([]Reason, last+1)...)
		run(rateWindow)
		f.wantStops(tt.name, append(make([]Reason, last), tt.want)...)
	}
}

// TestReplacePause: the pause between two replacements doubles after each that did not help.
func TestReplacePause(t *testing.T) {
	var members []member
	for range 6 {
		members = append(members, member{mB, 1e6, 0, false})
	}
	for _, helps := range []bool{false, true} {
		f := newFixture(t, 1000*mB, members...)
		f.gate.ceiling = len(members)
		rates := []float64{1e6, 1e6, 1e6, 1e6, 1e6, 100e3}
		var at []time.Duration
		begun, slowAgain := f.now, f.now
		for f.now.Sub(begun) < 30*time.Second {
			if f.now = f.now.Add(TickInterval); helps && f.now.After(slowAgain) {
				rates[5] = 100e3
			}
			for i, c := range f.conns {
				keep, left := c.Received(int(rates[i]*TickInterval.Seconds()), f.now)
				if c.Written(int64(keep)); left > 0 {
					continue
				}
				if c.Release(); !c.Next(f.now) {
					t.Fatal("no more work")
				}
				f.request(i, f.now)
				c.Responded(Response{BodyEnd: c.Remaining().End}, f.now)
			}
			f.tick(f.now)
			if f.stops[5] == Replaced {
				at = append(at, f.now.Sub(begun))
				f.request(5, f.now)
				if helps && len(at)%2 == 0 {
					rates[5], slowAgain = 700e3, f.now.Add(1500*ms)
				}
				f.conns[5].Responded(Response{BodyEnd: 1000 * mB, NewConn: true}, f.now)
			}
		}
		if n := len(at); !helps && (n < 4 || n > 9) || helps && n < 10 {
			t.Errorf("helps %t: replaced %d times in 30 s: %v", helps, n, at)
		}
	}
}

// TestReplaceFar: a connection whose response took long is measured before it counts as slow.
func TestReplaceFar(t *testing.T) {
	fast := member{mB, 1e6, 0, false}
	f := newFixture(t, 100*mB, fast, fast, fast, fast)
	f.gate.ceiling = 4
	c, trip := f.conns[3], 600*ms
	c.Received(100_000, f.now.Add(50*ms)) // in the window in which the next request begins
	f.request(3, f.now.Add(50*ms))
	now := f.now.Add(50*ms + trip)
	c.Responded(Response{BodyEnd: 1000 * mB, Took: trip}, now)
	for range 75 {
		now = now.Add(TickInterval)
		for _, o := range f.conns {
			o.Received(int(1e6*TickInterval.Seconds()), now)
			o.Extend(now)
		}
		if f.tick(now); f.stops[3] != 0 {
			t.Fatalf("%v after the response: %v", now.Sub(f.now)-trip, f.stops[3])
		}
	}
}
