package main

import (
	"bytes"
	"os"
	"path/filepath"
	"time"

	"pawl/chunk"
)

// damaged is a hazard of something done to the part file between a kill and the
// next run, which must get the right file all the same, at moderate cost.
func damaged(name string, do func(tr *trial, part string, held chunk.Set)) hazard {
	return hazard{name: name, try: func(tr *trial) {
		f := tr.serve(16 << 20)
		held := tr.killHolding(6 << 20)
		before := look(tr.partPath())
		do(tr, tr.partPath(), held)
		if look(tr.partPath()) == before {
			tr.Fatal("the part file is not damaged")
		}
		tr.run().good("f.bin", f)
		tr.overhead(2.2) // all that was held is fetched again, and what came meanwhile of the same pieces
		tr.met()
	}}
}

// told is damaged, of which the user must be told.
func told(hz hazard) hazard {
	try := hz.try
	hz.try = func(tr *trial) {
		try(tr)
		tr.outcomes[len(tr.outcomes)-1].tells("warning: ", "lost", "damaged", "fetched again")
	}
	return hz
}

// partDamage are hazards of the part file between two runs.
var partDamage = []hazard{
	told(damaged("disks: part file cut to half", func(tr *trial, part string, held chunk.Set) {
		must(tr, os.Truncate(part, held.Prefix()/2))
	})),
	told(damaged("disks: part file emptied", func(tr *trial, part string, _ chunk.Set) { must(tr, os.Truncate(part, 0)) })),
	damaged("disks: part file deleted", func(tr *trial, part string, _ chunk.Set) { must(tr, os.Remove(part)) }),
	told(damaged("disks: part file overwritten in the middle", func(tr *trial, part string, held chunk.Set) {
		tr.overwrite(part, bytes.Repeat([]byte{0xff}, 64<<10), tr.somewhere(held, 64<<10))
	})),
	told(damaged("disks: part file zeroed in several places", func(tr *trial, part string, held chunk.Set) {
		for range 5 {
			tr.overwrite(part, make([]byte, 64<<10), tr.somewhere(held, 64<<10))
		}
	})),
	told(damaged("disks: part file damaged at its beginning", func(tr *trial, part string, _ chunk.Set) {
		tr.overwrite(part, []byte("<html>"), 0)
	})),
	told(damaged("disks: part file damaged in one bit", func(tr *trial, part string, held chunk.Set) {
		tr.flip(part, tr.somewhere(held, 1))
	})),
	told(damaged("disks: part file damaged at the end of what is held", func(tr *trial, part string, held chunk.Set) {
		tr.flip(part, held.Prefix()-1)
	})),
	told(damaged("disks: part file damaged and its time put back", func(tr *trial, part string, held chunk.Set) {
		info, err := os.Stat(part)
		must(tr, err)
		tr.overwrite(part, make([]byte, 64<<10), tr.somewhere(held, 64<<10))
		must(tr, os.Chtimes(part, time.Time{}, info.ModTime()))
	})),
	told(damaged("disks: part file is another file of its length", func(tr *trial, part string, _ chunk.Set) {
		info, err := os.Stat(part)
		must(tr, err)
		tr.overwrite(part, tr.random(info.Size()), 0)
	})),
	told(damaged("disks: part file replaced by another file", func(tr *trial, part string, _ chunk.Set) {
		must(tr, os.Remove(part))
		tr.write(part, tr.random(16<<20))
	})),
	damaged("disks: garbage after the end of the part file", func(tr *trial, part string, _ chunk.Set) {
		tr.overwrite(part, tr.random(1<<20), 16<<20)
	}),
	damaged("disks: part file touched", func(tr *trial, part string, _ chunk.Set) {
		must(tr, os.Chtimes(part, time.Time{}, time.Now().Add(time.Hour)))
	}),
	{name: "disks: part file copied back", try: func(tr *trial) { // as from a backup: same bytes, other file
		f := tr.serve(16 << 20)
		tr.killHolding(6 << 20)
		data := tr.read(tr.partPath())
		must(tr, os.Remove(tr.partPath()))
		tr.write(tr.partPath(), data)
		tr.run().good("f.bin", f)
		tr.overhead(1.25)
		tr.met()
	}},
	{name: "disks: older part file put back", try: func(tr *trial) { // as from a backup, the state being newer
		f := tr.serve(16 << 20)
		tr.killHolding(4 << 20)
		data := tr.read(tr.partPath())
		tr.killHolding(9 << 20)
		tr.write(tr.partPath(), data)
		tr.run().good("f.bin", f)
		tr.overhead(2.2)
		tr.met()
	}},
	blockedPart("disks: part file replaced by a symlink", func(tr *trial, part string) {
		must(tr, os.Rename(part, filepath.Join(tr.dir, "mine")))
		must(tr, os.Symlink("mine", part))
	}),
	blockedPart("disks: part file replaced by a directory", func(tr *trial, part string) {
		must(tr, os.Remove(part))
		must(tr, os.Mkdir(part, 0o777))
		tr.write(filepath.Join(part, "inside"), []byte("mine"))
	}),
	{name: "disks: a symlink where the part file would be", try: func(tr *trial) {
		f := tr.serve(8 << 20)
		mine := filepath.Join(tr.dir, "mine")
		tr.write(mine, nil)
		must(tr, os.Symlink("mine", tr.partPath()))
		check := tr.untouched(mine)
		o := tr.run()
		o.refuses(3, 13)
		o.fails(o.code)
		check()
		must(tr, os.Remove(tr.partPath()))
		tr.run().good("f.bin", f)
		tr.met()
	}},
	{name: "disks: a foreign file where the part file would be", try: func(tr *trial) {
		f := tr.serve(8 << 20)
		mine := tr.random(5 << 20)
		tr.write(tr.partPath(), mine)
		o := tr.run()
		o.good("f.bin", f)
		o.tells("warning: ")
		if !same(tr.partPath()+".1", mine) {
			tr.Errorf("it was not kept")
		}
		tr.met()
	}},
}

// blockedPart is a hazard of something that takes the place of the part file
// between two runs. The program must refuse and change nothing; once it is
// gone, the file is fetched.
func blockedPart(name string, do func(tr *trial, part string)) hazard {
	return hazard{name: name, try: func(tr *trial) {
		f := tr.serve(8 << 20)
		tr.killHolding(3 << 20)
		do(tr, tr.partPath())
		check, requests := tr.untouched(tr.partPath(), filepath.Join(tr.dir, "mine")), len(tr.srv.Requests())
		o := tr.run()
		o.refuses(3, 13)
		o.fails(o.code)
		tr.fewRequests(requests)
		check()
		must(tr, os.RemoveAll(tr.partPath()))
		tr.run().good("f.bin", f)
		tr.met()
	}}
}
