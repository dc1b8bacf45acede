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
func transferring(t *testing.T, d *Downloader, size int64, n int, now time.Time) (*job, []*worker, []sched.Reason) {
	t.Helper()
	j, err := newJob(d, Request{URL: "http://h/f"})
	if err != nil {
		t.Fatal(err)
	}
	j.host = newHost("h", 16)
	enterNow(t, j.host, n)
	o := sched.Options{TrickleTimeout: d.opts.StallTimeout}
	j.pool = sched.New(chunk.NewPlan(size, chunk.Set{}), j.host.source(nil), o)
	workers, stops := make([]*worker, n), make([]sched.Reason, n)
	for i := range workers {
		r := sched.Response{BodyEnd: size}
		workers[i] = &worker{Conn: j.pool.Begin(size, r, func(r sched.Reason) { stops[i] = r }, now)}
	}
	return j, workers, stops
}
