package main

import (
	"os"
	"slices"
	"syscall"

	"pawl/downloader/faultserver"
)

// signalHazards are hazards of TestHazards: ways in which the program is ended
// or held up.
var signalHazards = slices.Concat([]hazard{
	{name: "signals: killed ten times", runsAlone: true, run: func(tr *testRun) { killTenTimes(tr, 16<<20, 16<<20, 2) }},
	{name: "signals: killed ten times, a longer file", runsAlone: true, run: func(tr *testRun) {
		if os.Getenv("PAWL_TEST_LONG") == "" {
			tr.Skip("it takes long; PAWL_TEST_LONG=1 runs it")
		}
		killTenTimes(tr, 200<<20, 40<<20, 1.05)
	}},
	{name: "signals: killed at once, ten times", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		for range 10 {
			tr.signalAt(1, syscall.SIGKILL)
		}
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.markMet()
	}},
}, unixSignals)

// killed gets a file at a rate, and kills the program ten times, each in its own
// tenth of the way.
func killTenTimes(tr *testRun, size, rate int64, most float64) {
	tr.Helper()
	f := tr.serveFile(size)
	tr.srv.Set(faultserver.Rate(rate))
	const kills = 10
	for i := range int64(kills) {
		part := size / (kills + 1)
		at := max(part*i+tr.rand.Int64N(part)-tr.srv.Sent(), 1)
		if o := tr.signalAt(at, syscall.SIGKILL); o.code != -1 {
			tr.Fatalf("exit %d before it was killed", o.code)
		}
	}
	tr.runPawl().wantDownloaded("f.bin", f)
	tr.wantSentRatio(most)
	tr.Logf("sent / size: %.4f", float64(tr.srv.Sent())/float64(size))
	tr.markMet()
}
