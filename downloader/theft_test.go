package downloader

import (
	"errors"
	"testing"
	"time"
)

// TestTheft: what is taken over from the last of some members, by one of 1 MB/s.
func TestTheft(t *testing.T) {
	idle := member{0, 1e6, 0}
	unanswered := func(p *pool, v *worker) { v.reach = 0 }
	tests := []struct {
		name    string
		members []member
		as      func(p *pool, v *worker)
		want    bool
		ended   bool // and so is the request
	}{
		{"slow", []member{idle, {mB, 500e3, 0}}, nil, true, false},
		{"much slower", []member{idle, {mB, 50e3, 0}}, nil, true, true},
		{"much slower than one that is expected to be as others", []member{{0, 0, 0}, {mB, 10e6, 0}, {mB, 50e3, 0}}, nil, true, false},
		{"silent", []member{idle, {mB, 1e6, 6 * time.Second}}, nil, true, true},
		{"no answer yet", []member{idle, {mB, 1e6, 4 * time.Second}}, unanswered, true, false},
		{"no answer for long", []member{idle, {mB, 1e6, 6 * time.Second}}, unanswered, true, true},
		{"no answer for long, as that of another", []member{idle, {mB, 1e6, 6 * time.Second}}, func(p *pool, v *worker) { v.reach = 0; p.waitLonger() }, true, false},
		{"no answer for longer than that", []member{idle, {mB, 1e6, 11 * time.Second}}, func(p *pool, v *worker) { v.reach = 0; p.waitLonger() }, true, true},
		{"answers take longer than the rest", []member{idle, {mB, 1e6, 0}}, func(p *pool, v *worker) { v.lane.growth.wait = time.Second }, false, false},
		{"its request waits for its turn", []member{idle, {mB, 500e3, 6 * time.Second}}, func(p *pool, v *worker) { v.queued = true }, false, false},
		{"we limit the rate", []member{idle, {mB, 50e3, 0}}, func(p *pool, v *worker) { p.setCapped(1.2e6, start) }, false, false},
		{"we limit the rate, but not so much", []member{idle, {mB, 500e3, 0}}, func(p *pool, v *worker) { p.setCapped(3e6, start) }, true, false},
		{"we limit the rate, and it is silent", []member{idle, {mB, 50e3, 6 * time.Second}}, func(p *pool, v *worker) { p.setCapped(1.2e6, start) }, true, true},
		{"a few bytes, however slow", []member{{0, 300, 0}, {leastSteal/4 - 1, 100, 0}}, nil, false, false},
	}
	for _, tt := range tests {
		p, ws, causes := poolOf(t, 0, tt.members...)
		last := len(ws) - 1
		for _, w := range ws {
			w.asked = start
		}
		if tt.as != nil {
			tt.as(p, ws[last])
		}
		before := p.arriving(ws[last])
		c := p.steal(ws[0], start)
		if got := p.arriving(ws[last]); (c != nil) != tt.want || (got != before) != tt.want {
			t.Errorf("%s: got %v, and %v of %v is left, want something taken: %v", tt.name, c, got, before, tt.want)
		}
		if errors.Is(causes[last], errSeized) != tt.ended {
			t.Errorf("%s: its request was ended by %v, want so: %v", tt.name, causes[last], tt.ended)
		}
	}
}

// TestTheftByMirror: a mirror is of use also where nothing is unclaimed.
func TestTheftByMirror(t *testing.T) {
	p, _, _ := poolOf(t, 0, member{mB, 5e3, 0}, member{mB, 5e3, 0})
	for _, w := range p.workers {
		w.lane.bytes = 1
	}
	p.addLane(&mirror{host: newHost("m", 4)})
	var got *worker
	p.grow(start, func(w *worker) {
		if w.lane == p.lanes[1] {
			got = w
		}
	})
	if got == nil || !p.next(got, start) {
		t.Error("it is not used, or finds nothing to do")
	}
}

// TestUsual: who leaves counts once, however often that is told.
func TestUsual(t *testing.T) {
	p, ws, _ := poolOf(t, 0, member{mB, 1e6, 0}, member{mB, 10e6, 0})
	l := p.lanes[0]
	l.usual = 9e6
	p.leave(ws[0])
	p.leave(ws[0])
	if want := 9e6*usualHistory + 1e6*(1-usualHistory); l.usual != want {
		t.Errorf("got %.0f, want %.0f", l.usual, want)
	}
}

// TestRefusedAgain: each further refusal is a longer penalty, also where the server has
// asked for a short one; several at once are one.
func TestRefusedAgain(t *testing.T) {
	h := newHost("h", 16)
	enterNow(t, h, 4)
	now := start
	for i, want := range []time.Duration{firstPenalty, 2 * firstPenalty, 4 * firstPenalty} {
		for range 3 {
			h.holdGrowth(now.Add(time.Second))
			h.refused(now)
		}
		if got := h.growAfter.Sub(now); got != want {
			t.Errorf("refusal %d: the next try is after %v, want %v", i+1, got, want)
		}
		now = h.growAfter
	}
}
