package main

import (
	"strings"
	"time"

	"pawl/downloader/faultserver"
)

// breaks are connections that end early or become silent.
var breaks = []hazard{
	{name: "breaks: every body cut short", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(faultserver.Cut(300 << 10))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
	}},
	{name: "breaks: some bodies cut short", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(faultserver.Only(func(n int) bool { return n%3 == 0 }, faultserver.Cut(500<<10)))
		tr.runPawl("-x", "4", tr.fileURL()).wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
	}},
	{name: "breaks: every body reset", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(faultserver.Reset(300 << 10))
		tr.runPawl().wantDownloaded("f.bin", f)
	}},
	{name: "breaks: some empty bodies", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(everyThird(faultserver.Empty), faultserver.Cut(2<<20))
		tr.runPawl().wantDownloaded("f.bin", f)
	}},
	{name: "breaks: some bodies cut before the first byte", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(everyThird(faultserver.Cut(0)), faultserver.Cut(2<<20))
		tr.runPawl().wantDownloaded("f.bin", f)
	}},
	{name: "breaks: only empty bodies", run: func(tr *testRun) {
		tr.serveFile(9 << 20)
		tr.srv.Set(faultserver.Cut(0))
		tr.runPawl("--tries", "3", tr.fileURL()).wantFailure(4)
	}},

	{name: "breaks: stream cut once", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(faultserver.First(1, faultserver.Cut(5<<20)), faultserver.NoRanges)
		tr.runPawl().wantDownloaded("f.bin", f)
	}},
	{name: "breaks: chunked stream cut once", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(faultserver.First(1, faultserver.Cut(5<<20)), faultserver.NoLength)
		tr.runPawl().wantDownloaded("f.bin", f)
	}},
	{name: "breaks: chunked stream cut at its last byte once", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(faultserver.First(1, faultserver.CutEnd), faultserver.NoLength)
		tr.runPawl().wantDownloaded("f.bin", f)
	}},
	{name: "breaks: chunked stream always cut", run: streamFails(faultserver.Cut(2<<20), faultserver.NoLength)},
	{name: "breaks: chunked stream without validators always cut", run: streamFails(faultserver.Cut(2<<20), faultserver.NoLength, faultserver.NoValidators)},
	{name: "breaks: chunked stream always cut at its last byte", run: streamFails(faultserver.CutEnd, faultserver.NoLength)},
	{name: "breaks: stream always cut", run: streamFails(faultserver.Cut(2<<20), faultserver.NoRanges)},

	{name: "breaks: no response to the first request", run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.First(1, faultserver.NoResponse))
		tr.runPawl("--stall-timeout", "2s", tr.fileURL()).wantDownloaded("f.bin", f)
	}},
	{name: "breaks: one connection silent", run: oneSlowConnection(faultserver.Stall(100 << 10))},
	{name: "breaks: one connection trickles", run: oneSlowConnection(faultserver.Trickle(100<<10, 500))},
	{name: "breaks: one connection trickles from its start", run: oneSlowConnection(faultserver.Trickle(0, 500))},
	{name: "breaks: the only connection trickles", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(limitConcurrency(1, faultserver.Status(503, -1)), faultserver.First(1, faultserver.Trickle(100<<10, 500)))
		tr.runPawl("--stall-timeout", "2s", tr.fileURL()).wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
	}},
	{name: "breaks: all connections silent for long", run: func(tr *testRun) {
		silence := 7 * time.Second // longer than a connection may be silent before others take over its rest
		if longTests() {
			silence = 22 * time.Second
		}
		f := tr.serveFile(8 << 20)
		tr.srv.Set(faultserver.Pause(4<<20, silence), faultserver.Rate(8<<20))
		o := tr.runPawl("--stall-timeout", "1m", tr.fileURL())
		o.wantDownloaded("f.bin", f)
		if o.elapsed < silence {
			tr.Errorf("pawl ended after %v, want it to wait for %v", o.elapsed, silence)
		}
		tr.wantSentRatio(1.45) // only bytes in flight when a range is divided are sent twice
	}},
	{name: "breaks: server gone for 4 s", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		r := tr.startPawl("--verbose", "--tries", "200", tr.fileURL())
		tr.srv.WaitSent(6<<20, r.exited)
		if err := tr.srv.GoOffline(4 * time.Second); err != nil {
			tr.Fatal(err)
		}
		o := r.wait()
		o.wantDownloaded("f.bin", f)
		if !strings.Contains(o.stderr, "refused") {
			tr.Errorf("no connection was refused while the server was gone")
		}
		tr.wantSentRatio(1.45)
	}},
}

// streamFails returns a hazard whose stream never reaches its end. pawl must report a
// failure and must not take a cut for the end.
func streamFails(faults ...faultserver.Fault) func(*testRun) {
	return func(tr *testRun) {
		tr.serveFile(5 << 20)
		tr.srv.Set(faults...)
		tr.runPawl("--tries", "3", tr.fileURL()).wantFailure(4)
	}
}

// oneSlowConnection returns a hazard in which the second request has the fault. The other
// connections must take over its range: pawl would wait for that connection without end.
func oneSlowConnection(f faultserver.Fault) func(*testRun) {
	return func(tr *testRun) {
		file := tr.serveFile(8 << 20)
		tr.srv.Set(faultserver.Only(func(n int) bool { return n == 1 }, f), faultserver.ConnRate(2<<20))
		tr.runPawl("--stall-timeout", "10m", tr.fileURL()).wantDownloaded("f.bin", file)
		tr.wantSentRatio(1.5)
	}
}
