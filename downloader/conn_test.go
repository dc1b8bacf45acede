package downloader

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"pawl/chunk"
	"pawl/downloader/hosts"
	"pawl/downloader/sched"
)

const (
	kB = int64(1000)
	mB = 1000 * kB
)

// start is the time of tests that have a clock of their own.
var start = time.Unix(1e9, 0)

// transferring returns a job whose transfer of size bytes has n connections to one host, each
// with a response and a claim of 1 MiB at most, and the reasons why they were stopped.
func transferring(t *testing.T, d *Downloader, size int64, n int, now time.Time) (*job, []*conn, []sched.Reason) {
	t.Helper()
	j, err := newJob(d.engine, Request{URL: "http://h/f"})
	if err != nil {
		t.Fatal(err)
	}
	j.first.host = newHost(16)
	enterNow(t, j.first.host, n)
	tr := newTransfer(j.sampler, chunk.NewPlan(size, chunk.Set{}), false)
	conns, stops := make([]*conn, n), make([]sched.Reason, n)
	for i := range conns {
		r := sched.Response{BodyEnd: size}
		conns[i] = tr.newConn(tr.sched.Begin(size, r, func(r sched.Reason) { stops[i] = r }, now))
	}
	return j, conns, stops
}

// TestSettleGivenBack: what a worker does whose connection was given back is no
// failure, and nothing that tells of the server.
func TestSettleGivenBack(t *testing.T) {
	j, ws, _ := transferring(t, New(nil, Options{}), 2*mB, 2, start)
	if err := ws[1].settle(t.Context(), 0, errYielded); err != errSteppedDown || j.progress.snapshot().Conns != 1 {
		t.Errorf("one of two: got %v, %d connections", err, j.progress.snapshot().Conns)
	}
	if err := ws[0].settle(t.Context(), 0, errYielded); err != nil || j.progress.snapshot().Conns != 1 {
		t.Errorf("the last: got %v, %d connections", err, j.progress.snapshot().Conns)
	}
	if j.first.host.IsLimited() || j.budget.failures != 0 {
		t.Errorf("got limited %v, %d failures, want neither", j.first.host.IsLimited(), j.budget.failures)
	}
}

// enterNow takes n connections that are free.
func enterNow(t *testing.T, h *hosts.Host, n int) {
	t.Helper()
	for range n {
		if err := h.Acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// newHost returns a host with a ceiling of n connections, which no other process uses.
func newHost(n int) *hosts.Host { return hosts.New(hosts.Options{Origin: "http://h", Ceiling: n}) }

// TestStepDownLimit: after a refusal the host has as many connections as work.
func TestStepDownLimit(t *testing.T) {
	j, ws, _ := transferring(t, New(nil, Options{}), 3*mB, 3, start)
	h := j.first.host
	if !ws[2].stepDown(errScripted) || !h.IsLimited() || h.TryOpen(time.Now()) || h.Refused(time.Now()) != 2 {
		t.Error("a third connection was refused, and another one is opened, or not 2 are granted")
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

// TestDrainEnds: bytes that are no longer wanted, and are likely to be on their way, are read
// for a few round trips at most.
func TestDrainEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, ws, _ := transferring(t, New(nil, Options{}), 100*mB, 1, time.Now())
		w := ws[0]
		w.Requesting(func(sched.Reason) {}, time.Now())
		w.Responded(sched.Response{BodyEnd: 100 * mB, Took: 50 * time.Millisecond}, time.Now())
		time.Sleep(500 * time.Millisecond)
		w.Received(int(mB), time.Now())
		ctx, cancel := context.WithCancelCause(t.Context())
		rep := &reply{Response: &http.Response{Body: endless{ctx}}, ctx: ctx, cancel: cancel}
		rep.Range = chunk.Range{End: w.Remaining().End + 80*kB} // of 100 kB in flight
		begun := time.Now()
		if w.closeReply(rep, nil) {
			t.Error("the connection is kept, with a body that goes on")
		}
		if d := time.Since(begun); d < 100*time.Millisecond || d > 200*time.Millisecond {
			t.Errorf("it took %v, want two round trips of 50 ms and a little", d)
		}
	})
}
