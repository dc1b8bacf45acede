package main

import (
	"time"

	"pawl/downloader/faultserver"
)

// limits are hazards of TestHazards: servers that have enough for now.
var limits = []hazard{
	{name: "limits: 503 with retry-after", try: waits(faultserver.ThrottleOptions{Status: 503, Wait: time.Second})},
	{name: "limits: 503 with retry-after twice", try: func(tr *trial) {
		f := tr.serve(5 << 20)
		tr.srv.Set(faultserver.First(2, faultserver.Status(503, 1)))
		o := tr.run("--retry-max-wait", "30s", tr.url())
		o.good("f.bin", f)
		if o.elapsed < 2*time.Second {
			tr.Errorf("it did not wait: %v", o.elapsed)
		}
	}},
	{name: "limits: 429 with retry-after", try: waits(faultserver.ThrottleOptions{Status: 429, Wait: 2 * time.Second})},
	{name: "limits: 429 with a date", try: waits(faultserver.ThrottleOptions{Status: 429, Wait: 2 * time.Second, Date: true})},
	{name: "limits: 429 with a date of a clock behind", try: waits(faultserver.ThrottleOptions{Status: 429, Wait: 2 * time.Second, Date: true, Ahead: -time.Hour})},
	{name: "limits: 429 with a date of a clock ahead", try: waits(faultserver.ThrottleOptions{Status: 429, Wait: 2 * time.Second, Date: true, Ahead: time.Hour})},
	{name: "limits: 429 with retry-after in mid-transfer", try: waits(faultserver.ThrottleOptions{Status: 429, Wait: 2 * time.Second, First: 1})},

	{name: "limits: 500 now and then", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		tr.srv.Set(everyThird(faultserver.Status(500, -1)), faultserver.Cut(1<<20))
		tr.run().good("f.bin", f)
		tr.overhead(1.1)
	}},
	{name: "limits: two connections, then 503", try: twoOnly(faultserver.Status(503, -1))},
	{name: "limits: two connections, then 429", try: twoOnly(faultserver.Status(429, -1))},
	{name: "limits: two connections, then 403", try: twoOnly(faultserver.Status(403, -1))},
	{name: "limits: two connections, then resets", try: twoOnly(faultserver.ResetFirst)},
	{name: "limits: two connections, then silence", try: twoOnly(faultserver.NoResponse)},
	{name: "limits: two connections, then long silence", try: func(tr *trial) {
		f := tr.serve(9 << 20)
		tr.srv.Set(only(2, faultserver.NoResponse), faultserver.ConnRate(1<<20))
		o := tr.run("--stall-timeout", "30s", tr.url())
		o.good("f.bin", f)
		if o.elapsed > soon(8*time.Second) { // two take 4.5 s
			tr.Errorf("it waited for a connection that others could do without: %v", o.elapsed)
		}
	}},
	{name: "limits: two connections, then 503 for a day", try: twoOnly(faultserver.Status(503, 86400))},
	{name: "limits: two connections, then 429 for a day", try: twoOnly(faultserver.Status(429, 86400))},
	{name: "limits: six connections, two, six", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		limit := func() int64 {
			if third := 3 * tr.srv.Sent() / f.Size; third == 1 {
				return 2
			}
			return 6
		}
		tr.srv.Set(faultserver.Slots(limit, faultserver.Status(503, -1)), faultserver.Cut(256<<10), faultserver.ConnRate(2<<20))
		tr.run().good("f.bin", f)
		tr.overhead(1.1)
	}},

	{name: "limits: 503 for ever", try: func(tr *trial) {
		tr.serve(16 << 20)
		tr.interrupt()
		tr.srv.Set(faultserver.Status(503, -1))
		tr.run("--tries", "3", tr.url()).fails(75)
		tr.kept()
	}},
	{name: "limits: 500 for ever", try: func(tr *trial) {
		tr.serve(16 << 20)
		tr.interrupt()
		tr.srv.Set(faultserver.Status(500, -1))
		tr.run("--tries", "3", tr.url()).fails(8)
		tr.kept()
	}},
	{name: "limits: 503 for a day", try: func(tr *trial) { // longer than the user would wait
		tr.serve(5 << 20)
		tr.srv.Set(faultserver.Status(503, 86400))
		tr.run("--tries", "3", tr.url()).fails(75)
	}},
	{name: "limits: 503 for longer than can be told", try: func(tr *trial) {
		tr.serve(5 << 20)
		tr.srv.Set(faultserver.SetHeader("Retry-After", "99999999999999999999"), faultserver.Status(503, -1))
		tr.run("--tries", "3", tr.url()).fails(75)
	}},
	{name: "limits: tries are counted", try: func(tr *trial) {
		tr.serve(5 << 20)
		tr.srv.Set(faultserver.Status(500, -1))
		tr.run("--tries", "4", tr.url()).fails(8)
		if n := len(tr.srv.Requests()); n != 4 {
			tr.Errorf("%d requests, want 4", n)
		}
	}},
}

// waits serves with a throttle, and wants it to be obeyed.
func waits(l faultserver.ThrottleOptions) func(*trial) {
	return func(tr *trial) {
		t := faultserver.NewThrottle(l)
		f := tr.serve(9 << 20)
		tr.srv.Set(t.Fault, faultserver.ConnRate(4<<20))
		o := tr.run("--retry-max-wait", "30s", tr.url())
		o.good("f.bin", f)
		if n := t.Early(); n > 0 {
			tr.Errorf("%d requests came too early", n)
		}
		if most := t.Wait + soon(10*time.Second); o.elapsed > most {
			tr.Errorf("it waited too long: %v", o.elapsed)
		}
	}
}

// twoOnly serves two requests at once while all others have the fault, and
// wants the file to arrive over these two, and the rest not to be tried again
// and again. A wait asked for may be long.
func twoOnly(f faultserver.Fault) func(*trial) {
	return func(tr *trial) {
		file := tr.serve(9 << 20)
		tr.srv.Set(only(2, f), faultserver.ConnRate(3<<20))
		tr.run("--retry-max-wait", "10m", tr.url()).good("f.bin", file)
		tr.overhead(1.1)
		if n := tr.srv.FaultCount(); n > 4 {
			tr.Errorf("%d requests had to be refused", n)
		}
	}
}

// only lets n requests be served at once, and all others have the fault.
func only(n int64, f faultserver.Fault) faultserver.Fault {
	return faultserver.Slots(func() int64 { return n }, f)
}
