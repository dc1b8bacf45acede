package main

import (
	"fmt"
	"net/http"

	"pawl/downloader/faultserver"
)

// lies are hazards of TestHazards: servers that do not do what they say.
var lies = []hazard{
	{name: "lies: ranges ignored", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		tr.srv.Set(faultserver.NoRanges)
		tr.run().good("f.bin", f)
		tr.overhead(1.01)
	}},
	{name: "lies: ranges ignored without length", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		tr.srv.Set(faultserver.NoLength)
		tr.run().good("f.bin", f)
		tr.overhead(1.01)
	}},
	{name: "lies: ranges ignored on resume", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.interrupt()
		tr.srv.Set(faultserver.NoRanges)
		tr.run().good("f.bin", f)
	}},
	{name: "lies: ranges ignored now and then", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.srv.Set(everyThird(faultserver.NoRanges), faultserver.ConnRate(8<<20))
		tr.run().good("f.bin", f)
	}},
	{name: "lies: ranges ignored but at first", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.srv.Set(laterOnes(faultserver.NoRanges), faultserver.ConnRate(8<<20))
		tr.run().good("f.bin", f)
	}},
	{name: "lies: no such file", try: func(tr *trial) {
		tr.serve(1 << 20)
		tr.srv.Set(faultserver.Status(404, -1))
		tr.run().fails(8)
	}},

	{name: "lies: head forbidden", try: badHead(faultserver.Status(405, -1))},
	{name: "lies: head failing", try: badHead(faultserver.Status(500, -1))},
	{name: "lies: head of another length", try: badHead(faultserver.SetHeader("Content-Length", "5"))},
	{name: "lies: accept-ranges none", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		tr.srv.Set(faultserver.SetHeader("Accept-Ranges", "none"))
		tr.run().good("f.bin", f)
	}},
	{name: "lies: accept-ranges bytes without ranges", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		tr.srv.Set(faultserver.SetHeader("Accept-Ranges", "bytes"), faultserver.NoRanges)
		tr.run().good("f.bin", f)
		tr.overhead(1.01)
	}},

	{name: "lies: range shifted", try: arrives(faultserver.ShiftRange(100))},
	{name: "lies: later ranges shifted", try: arrives(laterOnes(faultserver.ShiftRange(100)))},
	{name: "lies: content-range shifted", try: arrives(faultserver.ContentRange(shiftedField))},
	{name: "lies: later content-range shifted", try: arrives(laterOnes(faultserver.ContentRange(shiftedField)))},
	{name: "lies: content-range of another total at first", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		tr.srv.Set(faultserver.First(1, faultserver.ContentRange(longerField)))
		tr.run().good("f.bin", f)
	}},
	{name: "lies: content-range of another total now and then", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.srv.Set(everyThird(faultserver.ContentRange(longerField)), faultserver.ConnRate(8<<20))
		tr.run().good("f.bin", f)
		tr.overhead(1.1)
	}},
	{name: "lies: content-range without total", try: arrives(faultserver.ContentRange(starField))},
	{name: "lies: later content-range without total", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		tr.srv.Set(laterOnes(faultserver.ContentRange(starField)), faultserver.ConnRate(8<<20))
		tr.run().good("f.bin", f)
		tr.overhead(1.1)
	}},
	{name: "lies: no content-range", try: arrives(faultserver.ContentRange(noField))},
	{name: "lies: later ranges without content-range", try: arrives(laterOnes(faultserver.ContentRange(noField)))},
	{name: "lies: multipart", try: arrives(faultserver.Multipart)},
	{name: "lies: later ranges multipart", try: arrives(laterOnes(faultserver.Multipart))},
	{name: "lies: always partial", try: arrives(faultserver.AlwaysPartial)},
	{name: "lies: partial without length", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		tr.srv.Set(faultserver.Longer(0), faultserver.ConnRate(8<<20))
		tr.run().good("f.bin", f)
		tr.overhead(1.1)
	}},
	{name: "lies: bytes beyond the range", try: arrives(faultserver.Longer(10000))},
	{name: "lies: many bytes beyond the range", try: arrives(faultserver.Longer(1 << 20))},
	{name: "lies: end of range ignored", try: arrives(faultserver.IgnoreRangeEnd)},
	{name: "lies: start of range ignored", try: arrives(faultserver.IgnoreRangeStart)},
	{name: "lies: start of range ignored on resume", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.interrupt()
		tr.srv.Set(faultserver.IgnoreRangeStart)
		tr.run().good("f.bin", f)
	}},

	{name: "lies: gzip not asked for", try: arrives(faultserver.Gzip)},
	{name: "lies: gzip not asked for with length", try: func(tr *trial) {
		f := tr.serve(2 << 20)
		tr.srv.Set(faultserver.GzipLength) // all of it before the header
		tr.run().good("f.bin", f)
	}},
	{name: "lies: gzip not asked for on resume", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.interrupt()
		tr.srv.Set(faultserver.Gzip)
		tr.run().good("f.bin", f)
	}},
	{name: "lies: gz file said to be gzip coded", try: func(tr *trial) {
		f := tr.put("f.bin.gz", faultserver.NewFile(9<<20, tr.rand.Uint64N(1<<40)))
		tr.srv.Set(faultserver.SetHeader("Content-Encoding", "gzip"))
		tr.run(tr.url()+".gz").good("f.bin.gz", f)
	}},
	{name: "lies: gz file said to be gzip coded without ranges", try: func(tr *trial) {
		f := tr.put("f.bin.gz", faultserver.NewFile(9<<20, tr.rand.Uint64N(1<<40)))
		tr.srv.Set(faultserver.SetHeader("Content-Encoding", "gzip"), faultserver.NoRanges)
		tr.run(tr.url()+".gz").good("f.bin.gz", f)
	}},
	{name: "lies: unknown coding", try: func(tr *trial) {
		tr.serve(5 << 20)
		tr.srv.Set(faultserver.SetHeader("Content-Encoding", "br"), faultserver.NoLength)
		tr.run().fails(7)
	}},
	{name: "lies: unknown coding of ranges", try: func(tr *trial) {
		tr.serve(5 << 20)
		tr.srv.Set(faultserver.SetHeader("Content-Encoding", "br"))
		tr.run().fails(7)
	}},

	{name: "lies: interim answer 100", try: arrives(faultserver.Interim(http.StatusContinue))},
	{name: "lies: interim answer 103", try: arrives(faultserver.Interim(http.StatusEarlyHints))},
	{name: "lies: http 1.0", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		tr.srv.Set(faultserver.HTTP10)
		tr.run().good("f.bin", f)
		tr.overhead(1.01)
	}},
	{name: "lies: http 1.0 without length", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		tr.srv.Set(faultserver.HTTP10, faultserver.NoLength)
		tr.run().good("f.bin", f)
		tr.overhead(1.01)
	}},
	{name: "lies: keep-alive closed after each answer", try: arrives(faultserver.CloseAfterResponse)},
	{name: "lies: keep-alive closed on the next request", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		tr.srv.Set(faultserver.CloseOnReuse, faultserver.ConnRate(8<<20))
		tr.run("-x", "2", tr.url()).good("f.bin", f)
	}},
}

// arrives serves 9 MiB with the fault, and wants them to arrive.
func arrives(f faultserver.Fault) func(*trial) {
	return func(tr *trial) {
		file := tr.serve(9 << 20)
		tr.srv.Set(f, faultserver.ConnRate(8<<20)) // slow enough for several connections
		tr.run().good("f.bin", file)
	}
}

// badHead serves with a fault that only HEAD has, which must never be sent.
func badHead(f faultserver.Fault) func(*trial) {
	return func(tr *trial) {
		file := tr.serve(5 << 20)
		tr.srv.Set(faultserver.Method(http.MethodHead, f))
		tr.run().good("f.bin", file)
		for _, r := range tr.srv.Requests() {
			if r.Method != http.MethodGet {
				tr.Errorf("a request by %s", r.Method)
			}
		}
		tr.met()
	}
}

// everyThird lets every third request have the fault, but not the first.
func everyThird(f faultserver.Fault) faultserver.Fault {
	return func(next http.Handler) http.Handler { // it counts from when it is set
		return faultserver.Only(func(n int) bool { return n%3 == 2 }, f)(next)
	}
}

// laterOnes lets all requests but the first have the fault.
func laterOnes(f faultserver.Fault) faultserver.Fault {
	return func(next http.Handler) http.Handler {
		return faultserver.Only(func(n int) bool { return n > 0 }, f)(next)
	}
}

// What Content-Range may be turned into.
func shiftedField(first, last, total int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", first+100, last+100, total)
}

func longerField(first, last, total int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", first, last, total+100)
}

func starField(first, last, _ int64) string { return fmt.Sprintf("bytes %d-%d/*", first, last) }

func noField(_, _, _ int64) string { return "" }
