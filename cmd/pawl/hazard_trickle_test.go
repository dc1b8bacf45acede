package main

import (
	"net/http"
	"path/filepath"
	"time"

	"pawl/downloader/faultserver"
)

// trickles are hazards of TestHazards: servers that send next to nothing, for ever.
var trickles = []hazard{
	trickle("a single stream", 5<<20, nil, faultserver.NoRanges),
	trickle("ranges", 5<<20, nil),
	trickle("a small file of a list", 5000, []string{"mirror", "--rounds", "1", "list"}),
	trickle("a stream without length", 5<<20, nil, faultserver.NoLength),
	{name: "trickles: one byte per response", try: func(tr *trial) {
		tr.serve(5 << 20)
		tr.srv.Set(faultserver.Cut(1))
		o := tr.run("--tries", "5", tr.url())
		o.fails(4)
		if n := len(tr.srv.Requests()); n > 12 {
			tr.Errorf("%d requests", n)
		}
		tr.kept()
	}},
	{name: "trickles: one more byte per response, without ranges", try: func(tr *trial) {
		tr.serve(5 << 20)
		n := int64(0)
		tr.srv.Set(faultserver.NoRanges, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n++
				faultserver.Cut(n)(next).ServeHTTP(w, r)
			})
		})
		tr.run("--tries", "5", tr.url()).fails(4)
		if n := len(tr.srv.Requests()); n > 12 {
			tr.Errorf("%d requests", n)
		}
	}},
	{name: "trickles: a response breaks off every 20 KiB", try: func(tr *trial) {
		f := tr.serve(1 << 20)
		tr.srv.Set(faultserver.Cut(20 << 10))
		tr.run("--tries", "5", tr.url()).good("f.bin", f)
	}},
	{name: "trickles: slower than --min-rate", try: func(tr *trial) {
		tr.serve(5 << 20)
		tr.srv.Set(faultserver.NoRanges, faultserver.Rate(100<<10))
		o := tr.run("--min-rate", "1M:1s", "--tries", "3", tr.url())
		o.fails(4)
		o.says("--min-rate")
		if o.elapsed > soon(10*time.Second) {
			tr.Errorf("it took %v", o.elapsed)
		}
		tr.met()
	}},
	{name: "trickles: faster than --min-rate", try: func(tr *trial) {
		f := tr.serve(2 << 20)
		tr.srv.Set(faultserver.NoRanges, faultserver.Rate(1<<20))
		tr.run("--min-rate", "100K:1s", tr.url()).good("f.bin", f)
		tr.met()
	}},
	{name: "trickles: our own limit is none", try: func(tr *trial) {
		f := tr.serve(1 << 20)
		tr.run("--limit-rate", "300K", "--min-rate", "500K:1s", tr.url()).good("f.bin", f)
		tr.met()
	}},
}

// trickle is a hazard of a server that sends two bytes a second of everything.
func trickle(what string, size int64, args []string, faults ...faultserver.Fault) hazard {
	return hazard{name: "trickles: two bytes a second of " + what, try: func(tr *trial) {
		tr.serve(size)
		tr.writeList("list", tr.url())
		tr.srv.Set(append(faults, drops)...)
		if args == nil {
			args = []string{tr.url()}
		}
		o := tr.run(append([]string{args[0], "--stall-timeout", "1s", "--tries", "3"}, args[1:]...)...)
		if o.code != 4 {
			tr.Errorf("exit %d, want 4", o.code)
		}
		if o.elapsed > soon(30*time.Second) {
			tr.Errorf("it took %v", o.elapsed)
		}
		if _, err := filepath.Glob(filepath.Join(tr.dir, "f.bin")); err != nil {
			tr.Error(err)
		}
		tr.met()
	}}
}

// drops sends each body two bytes a second.
func drops(next http.Handler) http.Handler {
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
