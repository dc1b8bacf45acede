package main

import (
	"fmt"
	"net/http"
	"path/filepath"

	"pawl/downloader/faultserver"
)

// rangesRefused are servers that refuse requests with a Range field and serve the same
// requests without it.
var rangesRefused = []hazard{
	refusesRanges(400), refusesRanges(403), refusesRanges(404), refusesRanges(405), refusesRanges(406), refusesRanges(412), refusesRanges(500), refusesRanges(501),
	{name: "refused: ranges, by closing the connection", run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		tr.srv.Set(onlyWithRange(faultserver.ResetFirst))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
	}},
	{name: "refused: ranges, behind a redirect", run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		tr.srv.Set(faultserver.Redirect("/go", "/f.bin"), onlyWithRange(faultserver.Status(403, -1)))
		tr.runPawl("-o", "f.bin", tr.srv.URL+"/go").wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
	}},
	{name: "refused: ranges, and a kill", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.killHalfwayUnder(onlyWithRange(faultserver.Status(403, -1)))
		tr.runPawl().wantDownloaded("f.bin", f)
	}},
	{name: "refused: ranges, of a finished file", run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.srv.Set(onlyWithRange(faultserver.Status(403, -1)))
		tr.runPawl().wantDownloaded("f.bin", f)
	}},
	{name: "refused: ranges, of a stream", run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		tr.srv.Set(onlyWithRange(faultserver.Status(400, -1)))
		o := tr.runPawl("-o", "-", tr.fileURL())
		o.wantExit(0)
		tr.writeFile(filepath.Join(tr.dir, "out"), []byte(o.stdout))
		if !hasContent(filepath.Join(tr.dir, "out"), f) {
			tr.Errorf("stdout does not have the served bytes")
		}
	}},
	{name: "refused: ranges, for all files of a list", run: func(tr *testRun) {
		var list string
		for i := range 5 {
			name := fmt.Sprintf("f%d", i)
			tr.putFile(name, faultserver.NewFile(1<<20, uint64(i+1)))
			list += tr.srv.URL + "/" + name + "\n"
		}
		tr.writeFile(filepath.Join(tr.dir, "list"), []byte(list))
		tr.srv.Set(onlyWithRange(faultserver.Status(403, -1)))
		tr.runPawl("mirror", "-j", "1", "list").wantExit(0)
		if n := len(tr.srv.Requests()); n != 6 {
			tr.Errorf("got %d requests, want one for each of 5 files and one with a Range field", n)
		}
	}},
	{name: "refused: a missing file costs one request if ranges work", run: func(tr *testRun) {
		tr.putFile("a", faultserver.NewFile(1<<20, 1))
		tr.writeFile(filepath.Join(tr.dir, "list"), []byte(tr.srv.URL+"/a\n"+tr.srv.URL+"/b\n"+tr.srv.URL+"/c\n"))
		tr.runPawl("mirror", "-j", "1", "list").wantExit(8)
		if n := len(tr.srv.Requests()); n != 3 {
			tr.Errorf("got %d requests for 3 files, want 3", n)
		}
		tr.markMet()
	}},
	{name: "refused: an outage is not mistaken for refused ranges", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.First(2, faultserver.Status(500, -1)), faultserver.ConnRate(8<<20))
		tr.runPawl().wantDownloaded("f.bin", f)
		if tr.srv.Peak() < 2 {
			tr.Errorf("only one connection was used")
		}
	}},
}

// refusesRanges returns a hazard of a server that responds with the status to all requests
// with a Range field. pawl must need one further request.
func refusesRanges(status int) hazard {
	return hazard{name: fmt.Sprintf("refused: ranges, by %d", status), run: func(tr *testRun) {
		f := tr.serveFile(5 << 20)
		tr.srv.Set(onlyWithRange(faultserver.Status(status, -1)))
		tr.runPawl().wantDownloaded("f.bin", f)
		if n := len(tr.srv.Requests()); n > 2 {
			tr.Errorf("%d requests, want at most 2", n)
		}
		tr.wantSentRatio(1.45)
	}}
}

// onlyWithRange applies the fault to the requests with a Range field.
func onlyWithRange(f faultserver.Fault) faultserver.Fault {
	return func(next http.Handler) http.Handler {
		faulty := f(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				faulty.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
