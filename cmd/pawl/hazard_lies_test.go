package main

import (
	"fmt"
	"net/http"

	"pawl/downloader/faultserver"
)

// lies are servers whose responses contradict the request or themselves.
var lies = []hazard{
	{name: "lies: ranges ignored", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(faultserver.NoRanges)
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.01)
	}},
	{name: "lies: ranges ignored without length", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(faultserver.NoLength)
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.01)
	}},
	{name: "lies: ranges ignored on resume", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.killHalfway()
		tr.srv.Set(faultserver.NoRanges)
		tr.runPawl().wantDownloaded("f.bin", f)
	}},
	{name: "lies: ranges ignored sometimes", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(everyThird(faultserver.NoRanges), faultserver.ConnRate(8<<20))
		tr.runPawl().wantDownloaded("f.bin", f)
	}},
	{name: "lies: ranges ignored after the first request", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(exceptFirst(faultserver.NoRanges), faultserver.ConnRate(8<<20))
		tr.runPawl().wantDownloaded("f.bin", f)
	}},
	{name: "lies: no such file", run: func(tr *testRun) {
		tr.serveFile(1 << 20)
		tr.srv.Set(faultserver.Status(404, -1))
		tr.runPawl().wantFailure(8)
	}},

	{name: "lies: HEAD forbidden", run: withoutHead(faultserver.Status(405, -1))},
	{name: "lies: HEAD fails", run: withoutHead(faultserver.Status(500, -1))},
	{name: "lies: HEAD with another length", run: withoutHead(faultserver.SetHeader("Content-Length", "5"))},
	{name: "lies: accept-ranges none", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(faultserver.SetHeader("Accept-Ranges", "none"))
		tr.runPawl().wantDownloaded("f.bin", f)
	}},
	{name: "lies: accept-ranges bytes without ranges", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(faultserver.SetHeader("Accept-Ranges", "bytes"), faultserver.NoRanges)
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.01)
	}},

	{name: "lies: range shifted", run: succeedsWith(faultserver.ShiftRange(100))},
	{name: "lies: later ranges shifted", run: succeedsWith(exceptFirst(faultserver.ShiftRange(100)))},
	{name: "lies: content-range shifted", run: succeedsWith(faultserver.ContentRange(shiftedField))},
	{name: "lies: later content-range shifted", run: succeedsWith(exceptFirst(faultserver.ContentRange(shiftedField)))},
	{name: "lies: content-range with another total at first", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(faultserver.First(1, faultserver.ContentRange(longerField)))
		tr.runPawl().wantDownloaded("f.bin", f)
	}},
	{name: "lies: content-range with another total sometimes", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(everyThird(faultserver.ContentRange(longerField)), faultserver.ConnRate(8<<20))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
	}},
	{name: "lies: content-range without total", run: succeedsWith(faultserver.ContentRange(starField))},
	{name: "lies: later content-range without total", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(exceptFirst(faultserver.ContentRange(starField)), faultserver.ConnRate(8<<20))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.5)
	}},
	{name: "lies: no content-range", run: succeedsWith(faultserver.ContentRange(noField))},
	{name: "lies: later ranges without content-range", run: succeedsWith(exceptFirst(faultserver.ContentRange(noField)))},
	{name: "lies: multipart ranges", run: succeedsWith(faultserver.Multipart)},
	{name: "lies: later ranges as multipart", run: succeedsWith(exceptFirst(faultserver.Multipart))},
	{name: "lies: 206 without a Range request", run: succeedsWith(faultserver.AlwaysPartial)},
	{name: "lies: 206 without length", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(faultserver.Longer(0), faultserver.ConnRate(8<<20))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
	}},
	{name: "lies: bytes beyond the range", run: succeedsWith(faultserver.Longer(10000))},
	{name: "lies: many bytes beyond the range", run: succeedsWith(faultserver.Longer(1 << 20))},
	{name: "lies: end of range ignored", run: succeedsWith(faultserver.IgnoreRangeEnd)},
	{name: "lies: start of range ignored", run: succeedsWith(faultserver.IgnoreRangeStart)},
	{name: "lies: start of range ignored on resume", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.killHalfway()
		tr.srv.Set(faultserver.IgnoreRangeStart)
		tr.runPawl().wantDownloaded("f.bin", f)
	}},

	{name: "lies: unrequested gzip", run: succeedsWith(faultserver.Gzip)},
	{name: "lies: unrequested gzip with length", run: func(tr *testRun) {
		f := tr.serveFile(2 << 20)
		tr.srv.Set(faultserver.GzipLength) // compresses the whole file before it sends the header
		tr.runPawl().wantDownloaded("f.bin", f)
	}},
	{name: "lies: unrequested gzip on resume", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.killHalfway()
		tr.srv.Set(faultserver.Gzip)
		tr.runPawl().wantDownloaded("f.bin", f)
	}},
	{name: "lies: .gz file labeled as gzip-coded", run: func(tr *testRun) {
		f := tr.putFile("f.bin.gz", faultserver.NewFile(9<<20, tr.rand.Uint64N(1<<40)))
		tr.srv.Set(faultserver.SetHeader("Content-Encoding", "gzip"))
		tr.runPawl(tr.fileURL()+".gz").wantDownloaded("f.bin.gz", f)
	}},
	{name: "lies: .gz file labeled as gzip-coded, without ranges", run: func(tr *testRun) {
		f := tr.putFile("f.bin.gz", faultserver.NewFile(9<<20, tr.rand.Uint64N(1<<40)))
		tr.srv.Set(faultserver.SetHeader("Content-Encoding", "gzip"), faultserver.NoRanges)
		tr.runPawl(tr.fileURL()+".gz").wantDownloaded("f.bin.gz", f)
	}},
	{name: "lies: unknown coding", run: func(tr *testRun) {
		tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.SetHeader("Content-Encoding", "br"), faultserver.NoLength)
		tr.runPawl().wantFailure(7)
	}},
	{name: "lies: unknown coding on ranges", run: func(tr *testRun) {
		tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.SetHeader("Content-Encoding", "br"))
		tr.runPawl().wantFailure(7)
	}},

	{name: "lies: interim response 100", run: succeedsWith(faultserver.Interim(http.StatusContinue))},
	{name: "lies: interim response 103", run: succeedsWith(faultserver.Interim(http.StatusEarlyHints))},
	{name: "lies: http 1.0", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(faultserver.HTTP10)
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.01)
	}},
	{name: "lies: http 1.0 without length", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(faultserver.HTTP10, faultserver.NoLength)
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.01)
	}},
	{name: "lies: keep-alive closed after each response", run: succeedsWith(faultserver.CloseAfterResponse)},
	{name: "lies: keep-alive closed on the next request", run: func(tr *testRun) {
		f := tr.serveFile(9 << 20)
		tr.srv.Set(faultserver.CloseOnReuse, faultserver.ConnRate(8<<20))
		tr.runPawl("-x", "2", tr.fileURL()).wantDownloaded("f.bin", f)
	}},
}

// succeedsWith returns a hazard in which a download of 9 MiB must succeed despite the fault.
func succeedsWith(f faultserver.Fault) func(*testRun) {
	return func(tr *testRun) {
		file := tr.serveFile(9 << 20)
		tr.srv.Set(f, faultserver.ConnRate(8<<20)) // slow enough that pawl opens several connections
		tr.runPawl().wantDownloaded("f.bin", file)
	}
}

// withoutHead returns a hazard in which only HEAD requests have the fault. pawl must not
// send any.
func withoutHead(f faultserver.Fault) func(*testRun) {
	return func(tr *testRun) {
		file := tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.Method(http.MethodHead, f))
		tr.runPawl().wantDownloaded("f.bin", file)
		for _, r := range tr.srv.Requests() {
			if r.Method != http.MethodGet {
				tr.Errorf("got a %s request, want only GET", r.Method)
			}
		}
		tr.markMet()
	}
}

// everyThird applies the fault to every third request, the first time to the third.
func everyThird(f faultserver.Fault) faultserver.Fault {
	return func(next http.Handler) http.Handler { // the count starts when the fault is set
		return faultserver.Only(func(n int) bool { return n%3 == 2 }, f)(next)
	}
}

// exceptFirst applies the fault to all requests but the first.
func exceptFirst(f faultserver.Fault) faultserver.Fault {
	return func(next http.Handler) http.Handler {
		return faultserver.Only(func(n int) bool { return n > 0 }, f)(next)
	}
}

// The functions below return wrong Content-Range fields for faultserver.ContentRange.

func shiftedField(first, last, total int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", first+100, last+100, total)
}

func longerField(first, last, total int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", first, last, total+100)
}

func starField(first, last, _ int64) string { return fmt.Sprintf("bytes %d-%d/*", first, last) }

func noField(_, _, _ int64) string { return "" }
