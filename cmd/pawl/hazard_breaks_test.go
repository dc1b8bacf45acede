package main

import (
	"strings"
	"time"

	"pawl/downloader/faultserver"
)

// breaks are hazards of TestHazards: connections that end, or fall silent,
// where they should not.
var breaks = []hazard{
	{name: "breaks: every body cut short", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		tr.srv.Set(faultserver.Cut(300 << 10))
		tr.run().good("f.bin", f)
		tr.overhead(1.1)
	}},
	{name: "breaks: some bodies cut short", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		tr.srv.Set(faultserver.Only(func(n int) bool { return n%3 == 0 }, faultserver.Cut(500<<10)))
		tr.run("-x", "4", tr.url()).good("f.bin", f)
		tr.overhead(1.1)
	}},
	{name: "breaks: every body reset", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		tr.srv.Set(faultserver.Reset(300 << 10))
		tr.run().good("f.bin", f)
	}},
	{name: "breaks: empty bodies now and then", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		tr.srv.Set(everyThird(faultserver.Empty), faultserver.Cut(2<<20))
		tr.run().good("f.bin", f)
	}},
	{name: "breaks: cut before the first byte now and then", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		tr.srv.Set(everyThird(faultserver.Cut(0)), faultserver.Cut(2<<20))
		tr.run().good("f.bin", f)
	}},
	{name: "breaks: empty bodies for ever", try: func(tr *trial) {
		tr.serve(9 << 20)
		tr.srv.Set(faultserver.Cut(0))
		tr.run("--tries", "3", tr.url()).fails(4)
	}},

	{name: "breaks: stream cut once", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		tr.srv.Set(faultserver.First(1, faultserver.Cut(5<<20)), faultserver.NoRanges)
		tr.run().good("f.bin", f)
	}},
	{name: "breaks: chunked stream cut once", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		tr.srv.Set(faultserver.First(1, faultserver.Cut(5<<20)), faultserver.NoLength)
		tr.run().good("f.bin", f)
	}},
	{name: "breaks: chunked stream cut at its last byte once", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		tr.srv.Set(faultserver.First(1, faultserver.CutEnd), faultserver.NoLength)
		tr.run().good("f.bin", f)
	}},
	{name: "breaks: chunked stream cut for ever", try: streamFails(faultserver.Cut(2<<20), faultserver.NoLength)},
	{name: "breaks: chunked stream without validators cut for ever", try: streamFails(faultserver.Cut(2<<20), faultserver.NoLength, faultserver.NoValidators)},
	{name: "breaks: chunked stream cut at its last byte for ever", try: streamFails(faultserver.CutEnd, faultserver.NoLength)},
	{name: "breaks: stream cut for ever", try: streamFails(faultserver.Cut(2<<20), faultserver.NoRanges)},

	{name: "breaks: no header at first", try: func(tr *trial) {
		f := tr.serve(5 << 20)
		tr.srv.Set(faultserver.First(1, faultserver.NoResponse))
		tr.run().good("f.bin", f)
	}},
	{name: "breaks: one connection silent", alone: true, try: oneSlow(faultserver.Stall(100 << 10))},
	{name: "breaks: one connection dripping", alone: true, try: oneSlow(faultserver.Trickle(100<<10, 500))},
	{name: "breaks: one connection dripping from its start", alone: true, try: oneSlow(faultserver.Trickle(0, 500))},
	{name: "breaks: the only connection dripping", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		tr.srv.Set(only(1, faultserver.Status(503, -1)), faultserver.First(1, faultserver.Trickle(100<<10, 500)))
		tr.run().good("f.bin", f)
		tr.overhead(1.1)
	}},
	{name: "breaks: all silent for 22 s", try: func(tr *trial) {
		f := tr.serve(8 << 20)
		tr.srv.Set(faultserver.Pause(4<<20, 22*time.Second), faultserver.Rate(8<<20))
		o := tr.run("--stall-timeout", "30s", tr.url())
		o.good("f.bin", f)
		if o.elapsed < 22*time.Second {
			tr.Errorf("it did not wait: %v", o.elapsed)
		}
		tr.overhead(1.05) // nothing is fetched twice but what was on its way when a claim was shared
	}},
	{name: "breaks: server gone for 4 s", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.srv.Set(faultserver.Rate(8 << 20))
		r := tr.start("--verbose", "--tries", "200", tr.url())
		tr.srv.WaitSent(6<<20, r.exited)
		if err := tr.srv.GoOffline(4 * time.Second); err != nil {
			tr.Fatal(err)
		}
		o := r.wait()
		o.good("f.bin", f)
		if !strings.Contains(o.stderr, "refused") {
			tr.Errorf("it did not find the server gone")
		}
		tr.overhead(1.2)
	}},
}

// streamFails serves a stream with faults that never let it end, and wants
// that to be the failure that it is.
func streamFails(faults ...faultserver.Fault) func(*trial) {
	return func(tr *trial) {
		tr.serve(5 << 20)
		tr.srv.Set(faults...)
		tr.run("--tries", "3", tr.url()).fails(4)
	}
}

// oneSlow lets the second request have the fault, and wants the file in not
// much more time than without it.
func oneSlow(f faultserver.Fault) func(*trial) {
	return func(tr *trial) {
		const paced, stall = 2 << 20, 2 * time.Second // as of impatient
		file := tr.serve(16 << 20)
		tr.srv.Set(faultserver.ConnRate(paced))
		base := tr.run("-o", "base.bin", tr.url())
		base.good("base.bin", file)
		tr.srv.Set(faultserver.Only(func(n int) bool { return n == 1 }, f), faultserver.ConnRate(paced))
		o := tr.run()
		o.good("f.bin", file)
		if most := base.elapsed*3/2 + stall; o.elapsed > most {
			tr.Errorf("%v, and %v without the hazard: more than %v", o.elapsed, base.elapsed, most)
		}
	}
}
