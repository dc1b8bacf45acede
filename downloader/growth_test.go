package downloader

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// A model is a server and the way to it, by the clock of a test.
type model struct {
	trip    time.Duration // round trip
	each    float64       // most bytes per second of a connection; 0 for any
	link    float64       // of all
	lossy   float64       // bytes per second of a connection that loses packets, which differs from one to the next; 0 for none
	ramp    time.Duration // until a connection has come to its full rate
	refuses int           // connections beyond are refused; 0 for none
	later   *model        // what it becomes
	at      time.Duration // after this
}

// rate returns the bytes per second of connections of these ages.
func (m model) rate(ages []time.Duration, r *rand.Rand) float64 {
	sum := 0.0
	for _, age := range ages {
		rate := m.link
		if m.each > 0 {
			rate = m.each
		}
		if m.lossy > 0 {
			rate = m.lossy * (0.5 + r.Float64())
		}
		if age < m.ramp {
			rate *= float64(age) / float64(m.ramp)
		}
		sum += rate
	}
	return min(sum, m.link)
}

// grown lets a growth work on the model for so long, under a ceiling, and returns
// the bytes that came, the connections at the end, and how many were refused.
func grown(m model, remembered, ceiling int, whole time.Duration, seed uint64) (bytes float64, n, refused int) {
	const tick = growEvery
	g := growth{start: remembered}
	h := newHost("h", ceiling)
	r := rand.New(rand.NewPCG(seed, 0))
	now := start
	opened := []time.Time{now.Add(m.trip)}
	h.enterMore(now)
	for ; now.Sub(start) < whole; now = now.Add(tick) {
		if m.later != nil && now.Sub(start) >= m.at {
			m = *m.later
		}
		var ages []time.Duration
		for _, at := range opened {
			if age := now.Sub(at); age > 0 {
				ages = append(ages, age)
			}
		}
		bytes += m.rate(ages, r) * tick.Seconds() * (0.97 + 0.06*r.Float64())
		if len(ages) > 0 {
			g.answered(m.trip)
		}
		for range g.more(len(opened), len(ages), int64(bytes), now) {
			if !h.enterMore(now) {
				break
			}
			if m.refuses > 0 && len(opened) >= m.refuses {
				refused++
				h.leave()
				h.refused(now)
				break
			}
			opened = append(opened, now.Add(2*m.trip))
		}
		if g.tooMany(len(opened)) { // their claims end some time
			opened = opened[:len(opened)-1]
			h.leave()
		}
	}
	return bytes, len(opened), refused
}

// TestGrowth: the share of the optimum that is reached on servers of all kinds.
func TestGrowth(t *testing.T) {
	const MB = 1e6
	ms := time.Millisecond
	throttled := model{trip: 20 * ms, each: 4 * MB, link: 100 * MB}
	tests := []struct {
		name    string
		m       model
		start   int
		ceiling int
		whole   time.Duration
		best    float64 // bytes per second that are to be had
		least   float64 // share of them
		most    float64 // connections at the end, about
		refused int
	}{
		{"each has a rate of its own", throttled, 0, 16, 10 * time.Second, 64 * MB, 0.93, 16, 0},
		{"each has a rate of its own, more allowed", throttled, 0, 32, 10 * time.Second, 100 * MB, 0.92, 32, 0},
		{"each has a rate of its own, far away", model{trip: 200 * ms, each: 4 * MB, link: 100 * MB}, 0, 16, 20 * time.Second, 64 * MB, 0.94, 16, 0},
		{"all share a link, far away", model{trip: 80 * ms, link: 10 * MB}, 0, 16, 20 * time.Second, 10 * MB, 0.97, 8, 0},
		{"a limit of three, far away", model{trip: 80 * ms, each: 10 * MB, link: 1000 * MB, refuses: 3}, 0, 16, 20 * time.Second, 30 * MB, 0.95, 3, 5},
		{"the number is remembered", throttled, 16, 16, 2 * time.Second, 64 * MB, 0.94, 16, 0},
		{"all share a link", model{trip: 20 * ms, link: 10 * MB}, 0, 16, 10 * time.Second, 10 * MB, 0.98, 8, 0},
		{"six fill the link", model{trip: 20 * ms, each: 10 * MB, link: 60 * MB}, 0, 16, 20 * time.Second, 60 * MB, 0.97, 8, 0},
		{"a limit of three", model{trip: 20 * ms, each: 10 * MB, link: 1000 * MB, refuses: 3}, 0, 16, 20 * time.Second, 30 * MB, 0.96, 3, 3},
		{"loss", model{trip: 80 * ms, lossy: 0.3 * MB, link: 125 * MB, ramp: 200 * ms}, 0, 16, 30 * time.Second, 16 * 0.3 * MB, 0.92, 16, 0},
		{"slow start", model{trip: 80 * ms, link: 125 * MB, ramp: 2 * time.Second}, 0, 16, 10 * time.Second, 125 * MB, 0.9, 16, 0},
		{"it becomes slow", model{trip: 20 * ms, link: 60 * MB, at: 10 * time.Second, later: &throttled}, 0, 16, 20 * time.Second, 62 * MB, 0.94, 16, 0},
		{"it becomes fast", model{trip: 20 * ms, each: 4 * MB, link: 60 * MB, at: 10 * time.Second, later: &model{trip: 20 * ms, link: 200 * MB}}, 0, 16, 20 * time.Second, 130 * MB, 0.96, 16, 0},
	}
	for _, tt := range tests {
		least, conns, all := math.Inf(1), 0.0, 0.0
		for seed := range uint64(20) {
			bytes, n, refused := grown(tt.m, tt.start, tt.ceiling, tt.whole, seed)
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

// TestGrowthSteps: what is opened, tick by tick, by what comes.
func TestGrowthSteps(t *testing.T) {
	g, now, bytes := growth{}, start, 0.0
	step := func(n int, rate float64, after time.Duration, want int) {
		t.Helper()
		now, bytes = now.Add(after), bytes+rate*after.Seconds()
		if got := g.more(n, n, int64(bytes), now); got != want {
			t.Errorf("%d connections, %.0f bytes/s: got %d more, want %d", n, rate, got, want)
		}
	}
	step(1, 1e6, 0, 3)
	step(4, 1e6, 0, 4)
	step(8, 0, 0, 0)              // they have begun
	step(8, 8e6, growSettle-1, 0) // too soon to tell
	step(8, 8e6, 1, 8)
	step(16, 0, 0, 0)
	step(16, 16e6, growSettle, 16) // clearly pays
	step(32, 0, 0, 0)
	step(32, 17e6, growSettle, 0) // did not
	if !g.tooMany(17) || g.tooMany(16) || g.best != 16 {
		t.Errorf("after 32 did not pay: at most %d, best %d, want 16", g.most, g.best)
	}
	step(16, 16e6, growAgain-time.Millisecond, 0)
	step(16, 16e6, growSettle, 8) // fewer, now and then
	step(24, 0, 0, 0)
	step(24, 16e6, growSettle, 0)
	step(16, 16e6, growAgain+growSettle, 0) // more seldom
	step(16, 11e6, growSettle, 8)           // but at once when the rate has fallen
	if g.more(24, 23, 0, now) != 0 || !g.since.IsZero() {
		t.Error("it grows, or measures, while a connection has nothing")
	}
	g, now, bytes = growth{}, start, 0
	g.answered(80 * time.Millisecond) // far away: more at a time, and measured meanwhile
	step(1, 1e6, 0, 7)
	step(8, 1e6, 0, 8)
	now, bytes = now.Add(200*time.Millisecond), bytes+8e6*0.2
	if got := g.more(16, 8, int64(bytes), now); got != 0 {
		t.Errorf("while none of the new ones works: got %d more", got)
	}
	if got := g.more(16, 16, int64(bytes), now); got != 0 || math.Abs(g.before-8e6) > 1 {
		t.Errorf("when they do: got %d more, a rate of %.0f before, want 8000000", got, g.before)
	}
	step(16, 0, 0, 0)
	step(16, 8.1e6, 160*time.Millisecond, 0)
	if !g.tooMany(9) || g.tooMany(8) || g.best != 8 {
		t.Errorf("after 16 did not pay: at most %d, best %d, want 8", g.most, g.best)
	}
	g, now, bytes = growth{tls: true}, start, 10e6 // in the first instant
	step(1, 1e9, 0, 0)
	step(1, 1e9, growCalm-1, 0)
	step(1, 1e9, 1, 1) // on trial
	g, now, bytes = growth{tls: true}, start, 1e6
	step(1, 100e6, 0, 3)
	for n := range 8 {
		if g := (growth{start: 6}); g.more(n, n, 0, now) != max(0, 6-n) && n < 6 {
			t.Error(fmt.Sprint("remembered 6: not at once, of ", n))
		}
	}
}
