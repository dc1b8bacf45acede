package main

import (
	"net/http"
	"path/filepath"
	"time"

	"pawl/downloader/faultserver"
)

// silences are servers that stay silent for longer than the stall timeout. pawl must become
// more patient instead of failing.
var silences = []hazard{
	{name: "silences: the first byte comes late", run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.NoLength, faultserver.First(10, faultserver.Delay(2*time.Second)))
		o := tr.runPawl("--stall-timeout", "700ms", tr.fileURL())
		o.wantDownloaded("f.bin", f)
	}},
	{name: "silences: the first byte of each range comes late", run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.Delay(2 * time.Second))
		tr.runPawl("--stall-timeout", "700ms", tr.fileURL()).wantDownloaded("f.bin", f)
	}},
	{name: "silences: a single stream that pauses", run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.NoRanges, pauseAt(2<<20, 2*time.Second))
		tr.runPawl("--stall-timeout", "700ms", tr.fileURL()).wantDownloaded("f.bin", f)
	}},
	{name: "silences: a small file of a list comes late", run: func(tr *testRun) {
		f := tr.serveFile(5000)
		tr.srv.Set(faultserver.Delay(2 * time.Second))
		tr.writeFile(filepath.Join(tr.dir, "list"), []byte(tr.fileURL()+"\n"))
		tr.runPawl("mirror", "--stall-timeout", "700ms", "list").wantDownloaded("f.bin", f)
	}},
	{name: "silences: two pauses, each longer than before", run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.NoRanges, pauseAt(1<<20, time.Second), pauseAt(3<<20, 2*time.Second))
		tr.runPawl("--stall-timeout", "500ms", tr.fileURL()).wantDownloaded("f.bin", f)
	}},
	{name: "silences: the error names the option", run: func(tr *testRun) {
		tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.NoResponse)
		o := tr.runPawl("--stall-timeout", "100ms", "--tries", "3", tr.fileURL())
		o.wantFailure(4)
		o.wantStderr("--stall-timeout")
	}},
}

// pauseAt makes each body pause once after n bytes.
func pauseAt(n int64, d time.Duration) faultserver.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			faultserver.After(n, func(w http.ResponseWriter, r *http.Request) {
				select {
				case <-time.After(d):
				case <-r.Context().Done():
				}
			})(next).ServeHTTP(w, r)
		})
	}
}
