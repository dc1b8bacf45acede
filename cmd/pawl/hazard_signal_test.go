package main

import (
	"slices"
	"syscall"

	"pawl/downloader/faultserver"
)

// signalHazards are signals that kill, end or stop the program. Those that only Unix
// has are in unixSignals.
var signalHazards = slices.Concat([]hazard{
	{name: "signals: killed ten times", run: func(tr *testRun) { killTenTimes(tr) }},
	{name: "signals: killed at once, ten times", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		for range 10 {
			tr.signalAt(1, syscall.SIGKILL)
		}
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.markMet()
	}},
}, unixSignals)

// killTenTimes downloads a file and kills the program ten times, each time when another
// eleventh of the file is recorded. Each kill may cost the bytes that are not.
func killTenTimes(tr *testRun) {
	tr.Helper()
	const kills, part = 10, 2 << 20
	f := tr.serveFile((kills + 1) * part)
	tr.srv.Set(faultserver.Rate(24 << 20))
	for i := range int64(kills) {
		tr.killOnceRecorded(part*i + tr.rand.Int64N(part) + 1)
	}
	tr.runPawl().wantDownloaded("f.bin", f)
	if sent, most := tr.srv.Sent(), f.Size+(kills+1)*maxUnrecorded; sent > most {
		tr.reportExcess("%d bytes were sent, want at most %d", sent, most)
	}
	tr.markMet()
}
