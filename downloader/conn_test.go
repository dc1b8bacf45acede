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

// start is the current time of tests with a virtual clock.
var start = time.Unix(1e9, 0)

// newTestTransfer returns a job whose transfer of size bytes has n connections to one host.
// Each connection has a response and has claimed a range. The scheduler stores the reason why
// it stops connection i in stops[i].
func newTestTransfer(t *testing.T, d *Downloader, size int64, n int, now time.Time) (j *job, conns []*conn, stops []sched.Reason) {
	t.Helper()
	j, err := newJob(d.engine, Request{URL: "http://h/f"})
	if err != nil {
		t.Fatal(err)
	}
	j.first.host = newTestHost(16)
	acquireNow(t, j.first.host, n)
	tr := newTransfer(j.sampler, chunk.NewPlan(size, chunk.Set{}), false)
	conns, stops = make([]*conn, n), make([]sched.Reason, n)
	for i := range conns {
		r := sched.Response{BodyEnd: size}
		conns[i] = tr.newConn(tr.sched.Begin(size, r, func(r sched.Reason) { stops[i] = r }, now))
	}
	return j, conns, stops
}

// A connection that is yielded to another download ends without a failure, and is no limit of
// the host. The last connection goes on.
func TestYieldedConn(t *testing.T) {
	j, conns, _ := newTestTransfer(t, New(nil, Options{}), 2*mB, 2, start)
	if err := conns[1].settle(t.Context(), 0, errYielded); err != errSteppedDown || j.progress.snapshot().Conns != 1 {
		t.Errorf("one of two: got error %v, %d connections left, want %v, 1", err, j.progress.snapshot().Conns, errSteppedDown)
	}
	if err := conns[0].settle(t.Context(), 0, errYielded); err != nil || j.progress.snapshot().Conns != 1 {
		t.Errorf("the last one: got error %v, %d connections left, want none, 1", err, j.progress.snapshot().Conns)
	}
	if j.first.host.IsLimited() || j.budget.failures != 0 {
		t.Errorf("got limited %v, %d failures, want false, 0", j.first.host.IsLimited(), j.budget.failures)
	}
}

// acquireNow takes n connections of h, which must be free.
func acquireNow(t *testing.T, h *hosts.Host, n int) {
	t.Helper()
	for range n {
		if err := h.Acquire(t.Context(), false); err != nil {
			t.Fatal(err)
		}
	}
}

// newTestHost returns a host that grants n connections, none of which is used by another
// process.
func newTestHost(n int) *hosts.Host { return hosts.New(hosts.Options{Origin: "http://h", Ceiling: n}) }

// After a refusal, the host grants as many connections as it has, and no further one is opened.
func TestStepDownLimit(t *testing.T) {
	j, conns, _ := newTestTransfer(t, New(nil, Options{}), 3*mB, 3, start)
	h := j.first.host
	if !conns[2].stepDown(errScripted) || !h.IsLimited() {
		t.Error("the third of three connections did not leave, or its refusal is not a limit of the host")
	}
	if h.TryOpen(time.Now()) {
		t.Error("another connection was opened after the refusal")
	}
	if n := h.Refused(time.Now()); n != 2 {
		t.Errorf("got a limit of %d connections, want 2", n)
	}
}

// An endlessBody sends a byte each 100 ms until its request is cancelled.
type endlessBody struct{ ctx context.Context }

func (b endlessBody) Read(p []byte) (int, error) {
	if err := sleep(b.ctx, 100*time.Millisecond); err != nil {
		return 0, err
	}
	return 1, nil
}

func (b endlessBody) Close() error { return nil }

// The unwanted rest of a body is read for the time that its bytes in flight need, and no
// longer. Then the connection is closed.
func TestDrainEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, conns, _ := newTestTransfer(t, New(nil, Options{}), 100*mB, 1, time.Now())
		c := conns[0]
		c.Requesting(func(sched.Reason) {}, time.Now())
		c.Responded(sched.Response{BodyEnd: 100 * mB, Took: 50 * time.Millisecond}, time.Now())
		time.Sleep(500 * time.Millisecond)
		c.Received(int(mB), time.Now())
		ctx, cancel := context.WithCancelCause(t.Context())
		rep := &reply{Response: &http.Response{Body: endlessBody{ctx}}, ctx: ctx, cancel: cancel}
		rep.Range = chunk.Range{End: c.Remaining().End + 80*kB} // less than the 100 kB in flight, so that reading the rest seems worth it
		began := time.Now()
		if c.closeReply(rep, nil) {
			t.Error("the connection is kept, although its body has not ended")
		}
		if d := time.Since(began); d < 100*time.Millisecond || d > 200*time.Millisecond {
			t.Errorf("closing took %v, want 100 ms to 200 ms, which are two to four round trips", d)
		}
	})
}
