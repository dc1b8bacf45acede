package downloader

import (
	"testing"
	"time"
)

// TestPoolGivesBack: a connection on which bytes come is given back, and its worker
// leaves if others go on; else it keeps its claim.
func TestPoolGivesBack(t *testing.T) {
	p, ws, _ := poolOf(t, 0, member{mB, 1e6, 0}, member{mB, 1e6, 0})
	addr := &fakeAddress{keepLast: true}
	p.lanes[0].host.addr = addr
	var causes []error
	for _, w := range ws {
		w.cancel, w.reach, w.lastByte = func(err error) { causes = append(causes, err) }, mB, time.Now()
	}
	p.giveBack(time.Now())
	if len(causes) != 0 {
		t.Error("something is given back though nothing is owed")
	}
	addr.surplus = 5
	ws[0].reach = 0 // no answer yet
	p.giveBack(time.Now())
	if len(causes) != 1 || causes[0] != errGiveBack || addr.surplus != 4 || ws[1].reach != 0 {
		t.Errorf("got %v, surplus %d", causes, addr.surplus)
	}
	p.giveBack(time.Now())
	if len(causes) != 1 {
		t.Error("a connection is given back twice")
	}
	if !p.goWithout(ws[1]) || len(p.workers) != 1 || p.lanes[0].host.open != 1 {
		t.Errorf("got %d workers, %d open, want 1, 1", len(p.workers), p.lanes[0].host.open)
	}
	if p.goWithout(ws[0]) || ws[0].claim == nil {
		t.Error("the last worker has left")
	}
	ws[0].reach = mB
	p.giveBack(time.Now())
	if len(causes) != 1 {
		t.Error("the only connection is given back at once")
	}
	addr.keepLast = false
	p.single = true
	p.giveBack(time.Now())
	if len(causes) != 1 {
		t.Error("a stream is interrupted")
	}
	p.single = false
	p.giveBack(time.Now())
	if len(causes) != 2 {
		t.Error("the only connection is not given back")
	}
}

// TestSettleGivenBack: what a worker does whose connection was given back is no
// failure, and nothing that tells of the server.
func TestSettleGivenBack(t *testing.T) {
	d := New(nil, Options{})
	j, err := newJob(d, Request{URL: "http://h/f"})
	if err != nil {
		t.Fatal(err)
	}
	p, ws, _ := poolOf(t, 0, member{mB, 1e6, 0}, member{mB, 1e6, 0})
	j.host, j.pool = p.lanes[0].host, p
	if err := j.settle(t.Context(), ws[1], 0, errGiveBack); err != errSteppedDown || len(p.workers) != 1 {
		t.Errorf("one of two: got %v, %d workers", err, len(p.workers))
	}
	if err := j.settle(t.Context(), ws[0], 0, errGiveBack); err != nil || len(p.workers) != 1 {
		t.Errorf("the last: got %v, %d workers", err, len(p.workers))
	}
	if p.lanes[0].host.limit != 16 || j.patience.failures != 0 {
		t.Errorf("got limit %d, %d failures, want 16, 0", p.lanes[0].host.limit, j.patience.failures)
	}
}

// TestQueuedNotHung: a request whose connection waits for its slot is not taken for
// one that the server does not answer.
func TestQueuedNotHung(t *testing.T) {
	p, ws, _ := poolOf(t, 0, member{mB, 1e6, 0}, member{mB, 1e6, 0})
	now := start
	addr := &fakeAddress{}
	p.lanes[0].host.addr = addr
	hung := 0
	ws[0].reach, ws[0].lastByte = mB, now
	ws[1].reach, ws[1].lastByte, ws[1].cancel = 0, now.Add(-2*stuckAfter), func(error) { hung++ }
	for waiting := range 2 {
		addr.queued = waiting == 0
		p.unhang(now, time.Hour)
		if hung != waiting {
			t.Errorf("queued %v: ended %d times", addr.queued, hung)
		}
	}
}

// TestShareCrowds: a host has no more connections than the share of the process.
func TestShareCrowds(t *testing.T) {
	h, addr := newHost("h", 4), &fakeAddress{share: 4}
	h.addr = addr
	enterNow(t, h, 2)
	if h.crowded() || !h.enterMore(time.Now()) {
		t.Error("alone: it is crowded with 3 of 4")
	}
	addr.share = 2
	if !h.crowded() || h.enterMore(time.Now()) {
		t.Error("with two processes: 3 of 4 are not too many")
	}
	h.leave()
	if h.crowded() || h.enterMore(time.Now()) {
		t.Error("with two processes: 2 of 4 are not right")
	}
}
