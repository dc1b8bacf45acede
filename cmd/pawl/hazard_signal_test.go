package main

import (
	"os"
	"slices"
	"syscall"

	"pawl/downloader/faultserver"
)

// signalHazards are signals that kill, end or stop the program. Those that only Unix
// has are in unixSignals.
var signalHazards = slices.Concat([]hazard{
	{name: "signals: killed ten times", runsAlone: true, run: func(tr *testRun) { killTenTimes(tr, 16<<20, 16<<20, 2) }},
	{name: "signals: killed ten times, a longer file", runsAlone: true, run: func(tr *testRun) {
		if os.Getenv("PAWL_TEST_LONG") == "" {
			tr.Skip("PAWL_TEST_LONG is not set")
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

// killTenTimes downloads a file of size bytes at rate bytes per second and kills the
// program ten times, once in each eleventh of the file. The server may send at most
// maxRatio times the size in all.
func killTenTimes(tr *testRun, size, rate int64, maxRatio float64) {
	tr.Helper()
	f := tr.serveFile(size)
	tr.srv.Set(faultserver.Rate(rate))
	const kills = 10
	for i := range int64(kills) {
		part := size / (kills + 1)
		at := max(part*i+tr.rand.Int64N(part)-tr.srv.Sent(), 1)
		if o := tr.signalAt(at, syscall.SIGKILL); o.code != -1 {
			tr.Fatalf("exit %d before the kill", o.code)
		}
	}
	tr.runPawl().wantDownloaded("f.bin", f)
	tr.wantSentRatio(maxRatio)
	tr.Logf("sent / size: %.4f", float64(tr.srv.Sent())/float64(size))
	tr.markMet()
}
