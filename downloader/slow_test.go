package downloader

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"pawl/chunk"
)

// TestPoolUnhang: a further connection without an answer is given up when others
// move, one that drips for too long always, and no other.
func TestPoolUnhang(t *testing.T) {
	const patience = 10 * time.Second
	tests := []struct {
		name     string
		answered bool
		silent   time.Duration // since the request, or the last byte
		dripping time.Duration // 0 for not
		others   time.Duration // since another got a byte; negative if there is none
		wait     time.Duration // that answers take; 0 unknown
		want     error
	}{
		{"no answer, others move", false, stuckAfter + 1, 0, 0, 0, errHung},
		{"no answer, not for long", false, stuckAfter, 0, 0, 0, nil},
		{"no answer, others silent too", false, stuckAfter + 1, 0, 2 * time.Second, 0, nil},
		{"no answer, no others", false, stuckAfter + 1, 0, -1, 0, nil},
		{"overdue, others move", false, 3 * time.Second, 0, 0, time.Second, nil}, // who take over
		{"overdue, others silent too", false, 3 * time.Second, 0, 2 * time.Second, time.Second, errReplaced},
		{"overdue, no others", false, 3 * time.Second, 0, -1, time.Second, errReplaced},
		{"nearly overdue, no others", false, 2 * time.Second, 0, -1, time.Second, nil},
		{"answered, then silent", true, stuckAfter + 1, 0, 0, time.Second, nil}, // others take over, or the watchdog ends it
		{"drips", true, 0, patience + 1, 0, 0, errDrips},
		{"drips alone", true, 0, patience + 1, -1, 0, errDrips},
		{"drips, not for long", true, 0, patience, 0, 0, nil},
	}
	for _, tt := range tests {
		members := []member{{bytes: mB, silent: tt.silent}}
		if tt.others >= 0 {
			members = append(members, member{bytes: mB, rate: float64(mB), silent: tt.others})
		}
		p, workers, causes := poolOf(t, 0, members...)
		if !tt.answered {
			workers[0].reach, workers[0].awaits = 0, true
		}
		if tt.dripping > 0 {
			workers[0].dripping = start.Add(-tt.dripping)
		}
		p.lanes[0].growth.wait = tt.wait
		p.unhang(start, patience)
		if got := causes[0]; !errors.Is(got, tt.want) || tt.want == nil && got != nil {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
		if len(causes) > 1 && causes[1] != nil {
			t.Errorf("%s: the other was ended, too: %v", tt.name, causes[1])
		}
	}
}

// TestPoolUnhangAgain: what is asked again has twice the time.
func TestPoolUnhangAgain(t *testing.T) {
	p, ws, causes := poolOf(t, 0, member{bytes: mB, silent: 2 * time.Second})
	ws[0].reach, ws[0].awaits, p.lanes[0].growth.wait = 0, true, time.Millisecond
	p.unhang(start, time.Minute)
	if !errors.Is(causes[0], errReplaced) {
		t.Fatalf("got %v, want %v", causes[0], errReplaced)
	}
	var again error
	p.asking(ws[0], func(err error) { again = err }, start.Add(-time.Minute)) // it waits, or connects
	p.unhang(start, time.Minute)
	p.sent(ws[0], true, start)
	for _, after := range []time.Duration{4 * time.Second, 4*time.Second + 1} {
		if p.unhang(start.Add(after), time.Minute); (again != nil) != (after > 4*time.Second) {
			t.Errorf("after %v: got %v", after, again)
		}
	}
}

// TestPoolDrips: what counts is the rate over a window, from the first slow one on.
func TestPoolDrips(t *testing.T) {
	p, workers, _ := poolOf(t, 0, member{bytes: 100 * mB})
	w, now := workers[0], start
	read := func(n int) {
		now = now.Add(rateWindow)
		p.arrive(w, n, now)
	}
	read(int(mB))
	if !w.dripping.IsZero() {
		t.Error("a fast connection drips")
	}
	since := now
	read(leastRate/2 - 1)
	read(100)
	if !w.dripping.Equal(since) {
		t.Errorf("drips since %v, want %v", w.dripping, since)
	}
	read(leastRate)
	if !w.dripping.IsZero() {
		t.Error("it still drips, though its rate is good again")
	}
}

// TestPoolExtend: an answer that goes on is read on, as long as nobody else
// fetches what follows; and when another connection comes, it gets what it will fetch.
func TestPoolExtend(t *testing.T) {
	h := newHost("h", 16)
	enterNow(t, h, 1)
	p, w := newPool(h, chunk.NewPlan(1000*mB, chunk.Set{}), false), &worker{}
	p.begin(w, chunk.Range{End: 1000 * mB}, false, func(error) {}, start)
	if got := p.arriving(w); got.Len() != leastRange {
		t.Fatalf("first claim: got %v, want %d bytes", got, leastRange)
	}
	p.arrive(w, leastRange, start.Add(200*time.Millisecond))
	if left := p.extend(w, start); left <= 0 {
		t.Fatalf("extended by %d bytes", left)
	}
	p.arrive(w, 4*int(mB), start.Add(time.Second))
	before := p.arriving(w)
	p.grow(start.Add(time.Second-growSettle), func(*worker) {})
	p.grow(start.Add(time.Second), func(*worker) {})
	if got := p.arriving(w); got.End < before.End || got.Len() < 40*mB {
		t.Errorf("when another comes: got %v, want what it fetches in 10 s", got)
	}
	other := p.workers[1]
	if !p.next(other, start.Add(time.Second)) || p.arriving(other).Off != p.arriving(w).End {
		t.Errorf("the other one: got %v, want what follows %v", p.arriving(other), p.arriving(w))
	}
	p.arrive(w, int(p.arriving(w).Len()), start.Add(2*time.Second))
	if left := p.extend(w, start); left != 0 {
		t.Errorf("extended by %d bytes that another fetches", left)
	}
	p.release(other)
	p.answered(w, p.arriving(w).End+5, way{}, start)
	if left := p.extend(w, start); left != 5 {
		t.Errorf("extended by %d bytes, want the 5 that the answer has", left)
	}
}

// TestPoolReplace: of several connections the one that is much slower than the mean
// is replaced, not too often, and more seldom where that does not help.
func TestPoolReplace(t *testing.T) {
	fast, slow := member{100 * mB, 10e6, 0}, member{100 * mB, 4e6, 0}
	tests := []struct {
		name    string
		members []member
		want    bool // of the last one
	}{
		{"much slower", []member{fast, fast, fast, slow}, true},
		{"slower", []member{fast, fast, fast, {100 * mB, 6e6, 0}}, false},
		{"of few", []member{fast, fast, slow}, false},
		{"nearly done", []member{fast, fast, fast, {3 * mB, 4e6, 0}}, false},
		{"not measured", []member{fast, fast, fast, {100 * mB, 0, 0}}, false},
	}
	for _, tt := range tests {
		p, ws, causes := poolOf(t, 0, tt.members...)
		last := len(ws) - 1
		p.replace(start.Add(replaceAfter / 2)) // no request is old enough
		if causes[last] != nil {
			t.Errorf("%s: replaced after %v", tt.name, replaceAfter/2)
		}
		for _, w := range ws {
			w.lastByte = start.Add(replaceAfter)
			w.winStart = w.lastByte
		}
		p.replace(start.Add(replaceAfter))
		for i, cause := range causes {
			if want := i == last && tt.want; errors.Is(cause, errReplaced) != want || !want && cause != nil {
				t.Errorf("%s: request %d: got %v, want replaced %v", tt.name, i, cause, want)
			}
		}
	}
	p, ws, causes := poolOf(t, 0, fast, fast, fast, slow)
	p.replaced = start.Add(replaceAfter)
	p.replace(p.replaced.Add(replaceEvery - 1))
	if causes[3] != nil {
		t.Error("replaced too soon after another one")
	}
	for i, step := range []struct {
		rate float64
		want time.Duration
	}{{5e6, 2 * replaceEvery}, {5e6, 4 * replaceEvery}, {7e6, 0}, {5e6, 2 * replaceEvery}} {
		ws[3].was, ws[3].rate = 4e6, step.rate
		if p.judgeNew(ws[3]); p.patience != step.want || ws[3].was != 0 {
			t.Errorf("step %d: got patience %v, want %v", i, p.patience, step.want)
		}
	}
}

// endless is a body that goes on, slowly, until its request is cancelled.
type endless struct{ ctx context.Context }

func (e endless) Read(b []byte) (int, error) {
	if err := sleep(e.ctx, 100*time.Millisecond); err != nil {
		return 0, err
	}
	return 1, nil
}

func (e endless) Close() error { return nil }

// TestDrainEnds: what is no longer wanted, and was believed to be on its way, is waited
// for no longer than for a few round trips.
func TestDrainEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ws, _ := poolOf(t, 100*mB, member{bytes: mB, rate: 10e6})
		w := ws[0]
		w.lane.growth.answered(50 * time.Millisecond)
		ctx, cancel := context.WithCancelCause(t.Context())
		j := &job{d: New(nil, Options{}), pool: p}
		rep := &reply{Response: &http.Response{Body: endless{ctx}}, ctx: ctx, cancel: cancel}
		rep.Range = chunk.Range{End: p.arriving(w).End + 400*kB} // of 500 kB in flight
		begun := time.Now()
		if j.leaveReply(rep, w, nil) {
			t.Error("the connection is kept, with a body that goes on")
		}
		if d := time.Since(begun); d < 100*time.Millisecond || d > 200*time.Millisecond {
			t.Errorf("it took %v, want two round trips of 50 ms and a little", d)
		}
	})
}
