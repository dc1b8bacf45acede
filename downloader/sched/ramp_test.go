package sched

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// A path is a server and the way to it, as a ramp sees them.
type path struct {
	rtt       time.Duration
	each      float64       // bytes per second of a connection; 0 for any
	link      float64       // of all
	lossy     float64       // of a connection that loses packets, which differs each time; 0 for none
	slowStart time.Duration // until a connection has its full rate
	refuses   int           // further connections are refused; 0 for none
	later     *path         // what it becomes
	after     time.Duration // this time
}

// rate returns the bytes per second of connections of these ages.
func (p path) rate(ages []time.Duration, r *rand.Rand) float64 {
	sum := 0.0
	for _, age := range ages {
		rate := p.link
		if p.each > 0 {
			rate = p.each
		}
		if p.lossy > 0 {
			rate = p.lossy * (0.5 + r.Float64())
		}
		if age < p.slowStart {
			rate *= float64(age) / float64(p.slowStart)
		}
		sum += rate
	}
	return min(sum, p.link)
}

// rampedUp lets a ramp work on a path for so long. It returns the received bytes, the
// connections at the end, and how many were refused. A refusal closes the gate for 5 s,
// then 10 s, and so on.
func rampedUp(p path, ceiling int, whole time.Duration, seed uint64) (bytes float64, n, refused int) {
	var tm timing
	ramp := ramp{timing: &tm}
	g := gate{ceiling: ceiling, open: 1}
	r := rand.New(rand.NewPCG(seed, 0))
	now, penalty := epoch, 5*time.Second
	opened := []time.Time{now.Add(p.rtt)}
	for ; now.Sub(epoch) < whole; now = now.Add(TickInterval) {
		if p.later != nil && now.Sub(epoch) >= p.after {
			p = *p.later
		}
		var ages []time.Duration
		for _, at := range opened {
			if age := now.Sub(at); age > 0 {
				ages = append(ages, age)
			}
		}
		bytes += p.rate(ages, r) * TickInterval.Seconds() * (0.97 + 0.06*r.Float64())
		if len(ages) > 0 {
			tm.add(p.rtt)
		}
		for range ramp.more(len(opened), len(ages), int64(bytes), now) {
			if !g.TryOpen(now) {
				break
			}
			if p.refuses > 0 && len(opened) >= p.refuses {
				refused++
				g.Release()
				g.closedAt, penalty = now.Add(penalty), 2*penalty
				break
			}
			opened = append(opened, now.Add(2*p.rtt))
		}
		if ramp.isTooMany(len(opened)) { // their claims end some time
			opened = opened[:len(opened)-1]
			g.Release()
		}
	}
	return bytes, len(opened), refused
}

// TestRamp: the share of the optimum that is reached on paths of all kinds.
func TestRamp(t *testing.T) {
	const MB = 1e6
	throttled := path{rtt: 20 * ms, each: 4 * MB, link: 100 * MB}
	tests := []struct {
		name    string
		p       path
		ceiling int
		whole   time.Duration
		best    float64 // bytes per second that are to be had
		least   float64 // share of them
		most    float64 // connections at the end, about
		refused int
	}{
		{"each has a rate of its own", throttled, 16, 10 * time.Second, 64 * MB, 0.93, 16, 0},
		{"each has a rate of its own, more allowed", throttled, 32, 10 * time.Second, 100 * MB, 0.92, 32, 0},
		{"each has a rate of its own, far away", path{rtt: 200 * ms, each: 4 * MB, link: 100 * MB}, 16, 20 * time.Second, 64 * MB, 0.94, 16, 0},
		{"all share a link, far away", path{rtt: 80 * ms, link: 10 * MB}, 16, 20 * time.Second, 10 * MB, 0.97, 8, 0},
		{"a limit of three, far away", path{rtt: 80 * ms, each: 10 * MB, link: 1000 * MB, refuses: 3}, 16, 20 * time.Second, 30 * MB, 0.95, 3, 5},
		{"all share a link", path{rtt: 20 * ms, link: 10 * MB}, 16, 10 * time.Second, 10 * MB, 0.98, 8, 0},
		{"six fill the link", path{rtt: 20 * ms, each: 10 * MB, link: 60 * MB}, 16, 20 * time.Second, 60 * MB, 0.97, 8, 0},
		{"a limit of three", path{rtt: 20 * ms, each: 10 * MB, link: 1000 * MB, refuses: 3}, 16, 20 * time.Second, 30 * MB, 0.96, 3, 3},
		{"loss", path{rtt: 80 * ms, lossy: 0.3 * MB, link: 125 * MB, slowStart: 200 * ms}, 16, 30 * time.Second, 16 * 0.3 * MB, 0.92, 16, 0},
		{"slow start", path{rtt: 80 * ms, link: 125 * MB, slowStart: 2 * time.Second}, 16, 10 * time.Second, 125 * MB, 0.9, 16, 0},
		{"it becomes slow", path{rtt: 20 * ms, link: 60 * MB, after: 10 * time.Second, later: &throttled}, 16, 20 * time.Second, 62 * MB, 0.94, 16, 0},
		{"it becomes fast", path{rtt: 20 * ms, each: 4 * MB, link: 60 * MB, after: 10 * time.Second, later: &path{rtt: 20 * ms, link: 200 * MB}}, 16, 20 * time.Second, 130 * MB, 0.96, 16, 0},
	}
	for _, tt := range tests {
		least, conns, all := math.Inf(1), 0.0, 0.0
		for seed := range uint64(20) {
			bytes, n, refused := rampedUp(tt.p, tt.ceiling, tt.whole, seed)
			share := bytes / tt.whole.Seconds() / tt.best
			least, conns, all = min(least, share), conns+float64(n)/20, all+share/20
			if refused > tt.refused {
				t.Errorf("%s: refused %d times, want %d at most", tt.name, refused, tt.refused)
			}
		}
		t.Logf("%-45s %.3f of the optimum, %.3f at least, %.1f connections at the end", tt.name, all, least, conns)
		if least < tt.least || conns > tt.most+1 {
			t.Errorf("%s: got %.3f of the optimum with %.1f connections, want %.2f with %.0f", tt.name, least, conns, tt.least, tt.most)
		}
	}
}

// A climb drives a ramp step by step.
type climb struct {
	t     *testing.T
	ramp  ramp
	now   time.Time
	bytes float64
}

// newClimb returns a ramp of a new source, which has sent so many bytes already.
func newClimb(t *testing.T, tls bool, rtt time.Duration, bytes float64) *climb {
	tm := &timing{}
	tm.add(rtt)
	return &climb{t, ramp{timing: tm, tls: tls}, epoch, bytes}
}

// step lets n connections, so many of them working, receive at a rate for a time.
func (c *climb) step(n, working int, rate float64, after time.Duration, want int) {
	c.t.Helper()
	c.now, c.bytes = c.now.Add(after), c.bytes+rate*after.Seconds()
	if got := c.ramp.more(n, working, int64(c.bytes), c.now); got != want {
		c.t.Errorf("%d connections, %d working, %.0f bytes/s: got %d more, want %d", n, working, rate, got, want)
	}
}

// settled checks how many connections pay.
func (c *climb) settled(n int) {
	c.t.Helper()
	if !c.ramp.isTooMany(n+1) || c.ramp.isTooMany(n) || !c.ramp.isEnough(n) {
		c.t.Errorf("at most %d, want %d", c.ramp.max, n)
	}
}

// TestRampSteps: which connections are opened, tick by tick.
func TestRampSteps(t *testing.T) {
	c := newClimb(t, false, 0, 0)
	c.step(1, 1, 1e6, 0, 7)
	c.step(8, 8, 0, 0, 0)                 // they have begun
	c.step(8, 8, 8e6, minSettleTime-1, 0) // too soon
	c.step(8, 8, 8e6, 1, 8)
	c.step(16, 16, 0, 0, 0)
	c.step(16, 16, 16e6, minSettleTime, 16) // clearly pays
	c.step(32, 32, 0, 0, 0)
	c.step(32, 32, 17e6, minSettleTime, 0) // did not
	c.settled(16)
	c.step(16, 16, 16e6, minTrialPause-ms, 0)
	c.step(16, 16, 16e6, minSettleTime, 8) // fewer, now and then
	c.step(24, 24, 0, 0, 0)
	c.step(24, 24, 16e6, minSettleTime, 0)
	c.step(16, 16, 16e6, minTrialPause+minSettleTime, 0) // less often
	c.step(16, 16, 11e6, minSettleTime, 8)               // but at once when the rate has fallen
	c.step(24, 23, 11e6, minSettleTime, 0)               // a connection has nothing yet
	c.step(24, 24, 50e6, 0, 0)                           // so that this sample begins now
	c.ramp.limitTo(16, c.now)
	if !c.ramp.isTooMany(17) || c.ramp.isTooMany(16) {
		t.Error("connections that were silent count as paying")
	}
	c.step(17, 17, 50e6, time.Hour, 0) // the one too many leaves first
	c.step(16, 16, 50e6, time.Hour, 8)
}

// TestRampFewBytes: next to no bytes make no rate, before some seconds have passed.
func TestRampFewBytes(t *testing.T) {
	c := newClimb(t, false, 0, 0)
	c.step(1, 1, 0, 0, 7)
	c.step(8, 8, 0, 0, 0)
	c.step(8, 8, 1e3, time.Second, 0)
	c.step(8, 8, 1e3, maxSampleTime-time.Second, 8)
}

// TestRampFar: far away, more are opened at a time, and the base is measured meanwhile.
func TestRampFar(t *testing.T) {
	c := newClimb(t, false, 80*ms, 0)
	c.step(1, 1, 1e6, 0, 7)
	c.step(8, 8, 1e6, 0, 8)
	c.step(16, 8, 8e6, 200*ms, 0) // none of the new ones works
	c.step(16, 16, 0, 0, 0)       // now they do, and the base had 8 MB/s
	c.step(16, 16, 0, 0, 0)
	c.step(16, 16, 8.1e6, 160*ms, 0)
	c.settled(8)
	c = newClimb(t, false, 80*ms, 0)
	c.step(1, 1, 1e6, 0, 7)
	c.step(8, 8, 1e6, 0, 8)
	c.step(8, 8, 8e6, 200*ms, 8) // there was no room for the others, which are tried again
	if c.ramp.isTooMany(8) {
		t.Error("connections are too many because there was no room for more")
	}
}

// TestRampBusy: a single connection whose decryption may be the limit is measured first.
func TestRampBusy(t *testing.T) {
	c := newClimb(t, true, 0, 10e6) // in the first instant
	c.step(1, 1, 1e9, 0, 0)
	c.step(1, 1, 1e9, minBusySampleTime-1, 0)
	c.step(1, 1, 1e9, 1, 1) // a trial
	newClimb(t, true, 0, 1e6).step(1, 1, 100e6, 0, 7)
	newClimb(t, false, 0, 10e6).step(1, 1, 1e9, 0, 7)
}
