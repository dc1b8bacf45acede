package main

import (
	"time"

	"pawl/downloader/faultserver"
)

// limits are servers that refuse requests or connections for a while.
var limits = []hazard{
	{name: "limits: 503 with retry-after", run: obeysRetryAfter(faultserver.ThrottleOptions{Status: 503, Wait: time.Second})},
	{name: "limits: 503 with retry-after twice", run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.First(2, faultserver.Status(503, 1)))
		o := tr.runPawl("--retry-max-wait", "30s", tr.fileURL())
		o.wantDownloaded("f.bin", f)
		if o.elapsed < 2*time.Second {
			tr.Errorf("pawl took %v, want it to wait for 2 s", o.elapsed)
		}
	}},
	{name: "limits: 429 with retry-after", run: obeysRetryAfter(faultserver.ThrottleOptions{Status: 429, Wait: 2 * time.Second})},
	{name: "limits: 429 with a retry-after date", run: obeysRetryAfter(faultserver.ThrottleOptions{Status: 429, Wait: 2 * time.Second, Date: true})},
	{name: "limits: 429 with a retry-after date, slow clock", run: obeysRetryAfter(faultserver.ThrottleOptions{Status: 429, Wait: 2 * time.Second, Date: true, Ahead: -time.Hour})},
	{name: "limits: 429 with a retry-after date, fast clock", run: obeysRetryAfter(faultserver.ThrottleOptions{Status: 429, Wait: 2 * time.Second, Date: true, Ahead: time.Hour})},
	{name: "limits: 429 with retry-after during the download", run: obeysRetryAfter(faultserver.ThrottleOptions{Status: 429, Wait: 2 * time.Second, First: 1})},

	{name: "limits: some 500", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(everyThird(faultserver.Status(500, -1)), faultserver.Cut(1<<20))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
	}},
	{name: "limits: two connections, then 503", run: onlyTwoConnections(faultserver.Status(503, -1))},
	{name: "limits: two connections, then 429", run: onlyTwoConnections(faultserver.Status(429, -1))},
	{name: "limits: two connections, then 403", run: onlyTwoConnections(faultserver.Status(403, -1))},
	{name: "limits: two connections, then resets", run: onlyTwoConnections(faultserver.ResetFirst)},
	{name: "limits: two connections, then silence", run: onlyTwoConnections(faultserver.NoResponse)},
	{name: "limits: two connections, then long silence", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(limitConcurrency(2, faultserver.NoResponse), faultserver.ConnRate(1<<20))
		tr.runPawl("--stall-timeout", "10m", tr.fileURL()).wantDownloaded("f.bin", f) // must not wait for a connection that it does not need
	}},
	{name: "limits: two connections, then 503 with retry-after of a day", run: onlyTwoConnections(faultserver.Status(503, 86400))},
	{name: "limits: two connections, then 429 with retry-after of a day", run: onlyTwoConnections(faultserver.Status(429, 86400))},
	{name: "limits: six connections, then two, then six", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		limit := func() int64 {
			if third := 3 * tr.srv.Sent() / f.Size; third == 1 {
				return 2
			}
			return 6
		}
		tr.srv.Set(faultserver.Slots(limit, faultserver.Status(503, -1)), faultserver.Cut(256<<10), faultserver.ConnRate(2<<20))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
	}},

	{name: "limits: always 503", run: func(tr *testRun) {
		tr.serveFile(16 << 20)
		tr.killHalfway()
		tr.srv.Set(faultserver.Status(503, -1))
		tr.runPawl("--tries", "3", tr.fileURL()).wantFailure(75)
		tr.wantPartKept()
	}},
	{name: "limits: always 500", run: func(tr *testRun) {
		tr.serveFile(16 << 20)
		tr.killHalfway()
		tr.srv.Set(faultserver.Status(500, -1))
		tr.runPawl("--tries", "3", tr.fileURL()).wantFailure(8)
		tr.wantPartKept()
	}},
	{name: "limits: 503 with retry-after of a day", run: func(tr *testRun) { // longer than --retry-max-wait
		tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.Status(503, 86400))
		tr.runPawl("--tries", "3", tr.fileURL()).wantFailure(75)
	}},
	{name: "limits: 503 with a retry-after that overflows", run: func(tr *testRun) {
		tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.SetHeader("Retry-After", "99999999999999999999"), faultserver.Status(503, -1))
		tr.runPawl("--tries", "3", tr.fileURL()).wantFailure(75)
	}},
	{name: "limits: --tries is obeyed", run: func(tr *testRun) {
		tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.Status(500, -1))
		tr.runPawl("--tries", "4", tr.fileURL()).wantFailure(8)
		if n := len(tr.srv.Requests()); n != 4 {
			tr.Errorf("got %d requests, want 4", n)
		}
	}},
}

// obeysRetryAfter returns a hazard of a throttled server. pawl must not send a request
// before Retry-After is over, and must not wait for an hour if the server's clock differs by
// that. Over two connections no request can be under way when pawl gets the first refusal.
func obeysRetryAfter(l faultserver.ThrottleOptions) func(*testRun) {
	return func(tr *testRun) {
		t := faultserver.NewThrottle(l)
		f := tr.serveFile(9 << 20)
		tr.srv.Set(t.Fault, faultserver.ConnRate(4<<20))
		tr.runPawl("-x", "2", "--retry-max-wait", "2h", tr.fileURL()).wantDownloaded("f.bin", f)
		if n := t.Early(); n > 0 {
			tr.Errorf("%d requests came too early", n)
		}
	}
}

// onlyTwoConnections returns a hazard of a server that serves two requests at once, while
// all others have the fault. pawl must download over the two, must not try the others
// again and again, and must not wait for a long Retry-After of theirs.
func onlyTwoConnections(f faultserver.Fault) func(*testRun) {
	return func(tr *testRun) {
		file := tr.serveFile(9 << 20)
		tr.srv.Set(limitConcurrency(2, f), faultserver.ConnRate(3<<20))
		o := tr.runPawl("--retry-max-wait", "10m", tr.fileURL())
		o.wantDownloaded("f.bin", file)
		tr.wantSentRatio(1.45)
		if n, most := tr.srv.FaultCount(), 8+2*int64(o.elapsed/time.Second); n > most { // now and then pawl may try again
			tr.Errorf("%d requests were refused, want at most %d", n, most)
		}
	}
}

// limitConcurrency serves n requests at once and applies the fault to all others.
func limitConcurrency(n int64, f faultserver.Fault) faultserver.Fault {
	return faultserver.Slots(func() int64 { return n }, f)
}
