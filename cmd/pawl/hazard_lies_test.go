package main

import (
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
	{name: "lies: ranges ignored on resume", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.interrupt()
		tr.srv.Set(faultserver.NoRanges)
		tr.run().good("f.bin", f)
	}},
	{name: "lies: no such file", try: func(tr *trial) {
		tr.serve(1 << 20)
		tr.srv.Set(faultserver.Status(404, -1))
		tr.run().fails(8)
	}},
}
