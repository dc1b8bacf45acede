package main

import (
	"net/http"
	"time"

	"pawl/downloader/faultserver"
)

// trickles are servers that send a few bytes a second without end.
var trickles = []hazard{
	tricklingServer("a single stream", 5<<20, nil, faultserver.NoRanges),
	tricklingServer("ranges", 5<<20, nil),
	tricklingServer("a small file of a list", 5000, []string{"mirror", "--rounds", "1", "list"}),
	tricklingServer("a stream without length", 5<<20, nil, faultserver.NoLength),
	{name: "trickles: one byte per response", run: func(tr *testRun) {
		tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.Cut(1))
		o := tr.runPawl("--tries", "5", tr.fileURL())
		o.wantFailure(4)
		if n := len(tr.srv.Requests()); n > 12 {
			tr.Errorf("got %d requests, want at most 12", n)
		}
		tr.wantPartKept()
	}},
	{name: "trickles: one byte more in each response, without ranges", run: func(tr *testRun) {
		tr.serveFile(5 << 20)
		n := int64(0)
		tr.srv.Set(faultserver.NoRanges, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n++
				faultserver.Cut(n)(next).ServeHTTP(w, r)
			})
		})
		tr.runPawl("--tries", "5", tr.fileURL()).wantFailure(4)
		if n := len(tr.srv.Requests()); n > 12 {
			tr.Errorf("got %d requests, want at most 12", n)
		}
	}},
	{name: "trickles: each response breaks off after 20 KiB", run: func(tr *testRun) {
		f := tr.serveFile(1 << 20)
		tr.srv.Set(faultserver.Cut(20 << 10))
		tr.runPawl("--tries", "5", tr.fileURL()).wantDownloaded("f.bin", f)
	}},
	{name: "trickles: slower than --min-rate", run: func(tr *testRun) {
		tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.NoRanges, faultserver.Rate(100<<10))
		o := tr.runPawl("--min-rate", "1M:1s", "--tries", "3", tr.fileURL())
		o.wantFailure(4)
		o.wantStderr("--min-rate")
		tr.markMet()
	}},
	{name: "trickles: faster than --min-rate", run: func(tr *testRun) {
		f := tr.serveFile(2 << 20)
		tr.srv.Set(faultserver.NoRanges, faultserver.Rate(1<<20))
		tr.runPawl("--min-rate", "1K:1s", tr.fileURL()).wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "trickles: --limit-rate does not count as too slow", run: func(tr *testRun) {
		f := tr.serveFile(1 << 20)
		tr.runPawl("--limit-rate", "300K", "--min-rate", "500K:1s", tr.fileURL()).wantDownloaded("f.bin", f)
		tr.markMet()
	}},
}

// tricklingServer returns a hazard of a server that sends four bytes a second of every
// body. pawl must give up with code 4. args replace the URL as arguments.
func tricklingServer(what string, size int64, args []string, faults ...faultserver.Fault) hazard {
	return hazard{name: "trickles: four bytes a second of " + what, run: func(tr *testRun) {
		tr.serveFile(size)
		tr.writeList("list", tr.fileURL())
		tr.srv.Set(append(faults, trickleBody)...)
		if args == nil {
			args = []string{tr.fileURL()}
		}
		o := tr.runPawl(append([]string{args[0], "--stall-timeout", "1s", "--tries", "3"}, args[1:]...)...)
		if o.code != 4 {
			tr.Errorf("exit %d, want 4", o.code)
		}
		tr.wantAbsent("f.bin")
		tr.markMet()
	}}
}

// trickleBody replaces each body by two bytes every half second, without end.
func trickleBody(next http.Handler) http.Handler {
	return faultserver.After(0, func(w http.ResponseWriter, r *http.Request) {
		for {
			w.Write([]byte("xx"))
			http.NewResponseController(w).Flush()
			select {
			case <-time.After(time.Second / 2):
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
		}
	})(next)
}
