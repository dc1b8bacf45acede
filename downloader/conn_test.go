package downloader

import (
	"testing"
	"time"

	"pawl/chunk"
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
	j, err := newJob(d, Request{URL: "http://h/f"})
	if err != nil {
		t.Fatal(err)
	}
	j.first.host = newHost("h", 16)
	enterNow(t, j.first.host, n)
	tr := j.newTransfer(chunk.NewPlan(size, chunk.Set{}), false)
	conns, stops := make([]*conn, n), make([]sched.Reason, n)
	for i := range conns {
		r := sched.Response{BodyEnd: size}
		conns[i] = tr.newConn(tr.sched.Begin(size, r, func(r sched.Reason) { stops[i] = r }, now))
	}
	return j, conns, stops
}
