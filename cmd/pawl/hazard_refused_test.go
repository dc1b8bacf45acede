package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"pawl/downloader/faultserver"
)

// rangesRefused are hazards of TestHazards: servers that refuse requests with a Range
// field, and serve the same requests without it.
var rangesRefused = []hazard{
	refuses(400), refuses(403), refuses(404), refuses(405), refuses(406), refuses(412), refuses(500), refuses(501),
	{name: "refused: ranges, by closing the connection", try: func(tr *trial) {
		f := tr.serve(5 << 20)
		tr.srv.Set(withRange(faultserver.ResetFirst))
		tr.run().good("f.bin", f)
		tr.overhead(1.05)
	}},
	{name: "refused: ranges, behind a redirect", try: func(tr *trial) {
		f := tr.serve(5 << 20)
		tr.srv.Set(faultserver.Redirect("/go", "/f.bin"), withRange(faultserver.Status(403, -1)))
		tr.run("-o", "f.bin", tr.srv.URL+"/go").good("f.bin", f)
		tr.overhead(1.05)
	}},
	{name: "refused: ranges, and a kill", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.interruptUnder(withRange(faultserver.Status(403, -1)))
		tr.run().good("f.bin", f)
	}},
	{name: "refused: ranges, of a finished file", try: func(tr *trial) {
		f := tr.serve(5 << 20)
		tr.run().good("f.bin", f)
		tr.srv.Set(withRange(faultserver.Status(403, -1)))
		tr.run().good("f.bin", f)
	}},
	{name: "refused: ranges, of a stream", try: func(tr *trial) {
		f := tr.serve(5 << 20)
		tr.srv.Set(withRange(faultserver.Status(400, -1)))
		o := tr.run("-o", "-", tr.url())
		o.exits(0)
		tr.write(filepath.Join(tr.dir, "out"), []byte(o.stdout))
		if !isFile(filepath.Join(tr.dir, "out"), f) {
			tr.Errorf("stdout is not what is served")
		}
	}},
	{name: "refused: ranges, for all files of a list", try: func(tr *trial) {
		var list string
		for i := range 5 {
			name := fmt.Sprintf("f%d", i)
			tr.put(name, faultserver.NewFile(1<<20, uint64(i+1)))
			list += tr.srv.URL + "/" + name + "\n"
		}
		tr.write(filepath.Join(tr.dir, "list"), []byte(list))
		tr.srv.Set(withRange(faultserver.Status(403, -1)))
		tr.run("mirror", "-j", "1", "list").exits(0)
		if n := len(tr.srv.Requests()); n != 6 {
			tr.Errorf("%d requests, want one for each of 5 files, and one with a Range field", n)
		}
	}},
	{name: "refused: a missing file costs one request where ranges work", try: func(tr *trial) {
		tr.put("a", faultserver.NewFile(1<<20, 1))
		tr.write(filepath.Join(tr.dir, "list"), []byte(tr.srv.URL+"/a\n"+tr.srv.URL+"/b\n"+tr.srv.URL+"/c\n"))
		tr.run("mirror", "-j", "1", "list").exits(8)
		if n := len(tr.srv.Requests()); n != 3 {
			tr.Errorf("%d requests for 3 files", n)
		}
		tr.met()
	}},
	{name: "refused: an outage is not taken for it", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.srv.Set(faultserver.First(2, faultserver.Status(500, -1)), faultserver.ConnRate(8<<20))
		tr.run().good("f.bin", f)
		if tr.srv.Peak() < 2 {
			tr.Errorf("only one connection was used")
		}
	}},
}

// refuses is a hazard of a status for all requests with a Range field.
func refuses(status int) hazard {
	return hazard{name: fmt.Sprintf("refused: ranges, by %d", status), try: func(tr *trial) {
		f := tr.serve(5 << 20)
		tr.srv.Set(withRange(faultserver.Status(status, -1)))
		tr.run().good("f.bin", f)
		if n := len(tr.srv.Requests()); n > 2 {
			tr.Errorf("%d requests, want at most 2", n)
		}
		tr.overhead(1.05)
	}}
}

// withRange lets the requests with a Range field have the fault.
func withRange(f faultserver.Fault) faultserver.Fault {
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

// silences are hazards of TestHazards: servers that take longer than any timeout.
var silences = []hazard{
	{name: "silences: the first byte comes late", try: func(tr *trial) {
		f := tr.serve(5 << 20)
		tr.srv.Set(faultserver.NoLength, faultserver.First(10, faultserver.Delay(2*time.Second)))
		o := tr.run("--stall-timeout", "700ms", tr.url())
		o.good("f.bin", f)
	}},
	{name: "silences: the first byte of each range comes late", try: func(tr *trial) {
		f := tr.serve(5 << 20)
		tr.srv.Set(faultserver.Delay(2 * time.Second))
		tr.run("--stall-timeout", "700ms", tr.url()).good("f.bin", f)
	}},
	{name: "silences: a single stream that pauses", try: func(tr *trial) {
		f := tr.serve(5 << 20)
		tr.srv.Set(faultserver.NoRanges, pauseAt(2<<20, 2*time.Second))
		tr.run("--stall-timeout", "700ms", tr.url()).good("f.bin", f)
	}},
	{name: "silences: a small file of a list comes late", try: func(tr *trial) {
		f := tr.serve(5000)
		tr.srv.Set(faultserver.Delay(2 * time.Second))
		tr.write(filepath.Join(tr.dir, "list"), []byte(tr.url()+"\n"))
		tr.run("mirror", "--stall-timeout", "700ms", "list").good("f.bin", f)
	}},
	{name: "silences: none of two pauses is too long in the end", try: func(tr *trial) {
		f := tr.serve(5 << 20)
		tr.srv.Set(faultserver.NoRanges, pauseAt(1<<20, time.Second), pauseAt(3<<20, 2*time.Second))
		tr.run("--stall-timeout", "500ms", tr.url()).good("f.bin", f)
	}},
	{name: "silences: an error names the option", try: func(tr *trial) {
		tr.serve(5 << 20)
		tr.srv.Set(faultserver.NoResponse)
		o := tr.run("--stall-timeout", "100ms", "--tries", "3", tr.url())
		o.fails(4)
		o.says("--stall-timeout")
	}},
}

// pauseAt makes each body pause when n bytes have passed.
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
