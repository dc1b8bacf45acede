package main

import (
	"bytes"
	"os"
	"path/filepath"
	"time"

	"pawl/chunk"
)

// damagedPart returns a hazard in which do damages the part file between a kill and the
// next run. That run must download the right bytes, and may send at most 2.2 times the size.
func damagedPart(name string, do func(tr *testRun, part string, held chunk.Set)) hazard {
	return hazard{name: name, run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		held := tr.killOnceHeld(6 << 20)
		before := describeTree(tr.partPath())
		do(tr, tr.partPath(), held)
		if describeTree(tr.partPath()) == before {
			tr.Fatal("the part file is not damaged")
		}
		tr.runPawl("-x", "1", tr.fileURL()).wantDownloaded("f.bin", f) // no bytes are sent in vain
		tr.wantSentRatio(2.2)                                          // all held bytes may be fetched again, and more of the same pieces
		tr.markMet()
	}}
}

// withWarning adds to a hazard the check that the last run of pawl has warned.
func withWarning(hz hazard) hazard {
	try := hz.run
	hz.run = func(tr *testRun) {
		try(tr)
		tr.results[len(tr.results)-1].wantStderrAny("warning: ", "lost", "damaged", "fetched again")
	}
	return hz
}

// partDamage are changes of the part file between two runs.
var partDamage = []hazard{
	withWarning(damagedPart("disks: part file truncated to half", func(tr *testRun, part string, held chunk.Set) {
		must(tr, os.Truncate(part, held.Prefix()/2))
	})),
	withWarning(damagedPart("disks: part file emptied", func(tr *testRun, part string, _ chunk.Set) { must(tr, os.Truncate(part, 0)) })),
	damagedPart("disks: part file deleted", func(tr *testRun, part string, _ chunk.Set) { must(tr, os.Remove(part)) }),
	withWarning(damagedPart("disks: part file overwritten in the middle", func(tr *testRun, part string, held chunk.Set) {
		tr.overwriteAt(part, bytes.Repeat([]byte{0xff}, 64<<10), tr.randomHeldOffset(held, 64<<10))
	})),
	withWarning(damagedPart("disks: part file zeroed in several places", func(tr *testRun, part string, held chunk.Set) {
		for range 5 {
			tr.overwriteAt(part, make([]byte, 64<<10), tr.randomHeldOffset(held, 64<<10))
		}
	})),
	withWarning(damagedPart("disks: part file damaged at its beginning", func(tr *testRun, part string, _ chunk.Set) {
		tr.overwriteAt(part, []byte("<html>"), 0)
	})),
	withWarning(damagedPart("disks: part file damaged in one bit", func(tr *testRun, part string, held chunk.Set) {
		tr.flipBit(part, tr.randomHeldOffset(held, 1))
	})),
	withWarning(damagedPart("disks: part file damaged at the end of the held range", func(tr *testRun, part string, held chunk.Set) {
		tr.flipBit(part, held.Prefix()-1)
	})),
	withWarning(damagedPart("disks: part file damaged and its time restored", func(tr *testRun, part string, held chunk.Set) {
		info, err := os.Stat(part)
		must(tr, err)
		tr.overwriteAt(part, make([]byte, 64<<10), tr.randomHeldOffset(held, 64<<10))
		must(tr, os.Chtimes(part, time.Time{}, info.ModTime()))
	})),
	withWarning(damagedPart("disks: part file overwritten with random bytes", func(tr *testRun, part string, _ chunk.Set) {
		info, err := os.Stat(part)
		must(tr, err)
		tr.overwriteAt(part, tr.randomBytes(info.Size()), 0)
	})),
	withWarning(damagedPart("disks: part file replaced by another file", func(tr *testRun, part string, _ chunk.Set) {
		must(tr, os.Remove(part))
		tr.writeFile(part, tr.randomBytes(16<<20))
	})),
	damagedPart("disks: garbage after the end of the part file", func(tr *testRun, part string, _ chunk.Set) {
		tr.overwriteAt(part, tr.randomBytes(1<<20), 16<<20)
	}),
	damagedPart("disks: part file touched", func(tr *testRun, part string, _ chunk.Set) {
		must(tr, os.Chtimes(part, time.Time{}, time.Now().Add(time.Hour)))
	}),
	{name: "disks: part file restored from a copy", run: func(tr *testRun) { // like a backup: the same bytes in another file
		f := tr.serveFile(16 << 20)
		tr.killOnceHeld(8 << 20)
		data := tr.readFile(tr.partPath())
		must(tr, os.Remove(tr.partPath()))
		tr.writeFile(tr.partPath(), data)
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
		tr.markMet()
	}},
	{name: "disks: part file restored from an older copy", run: func(tr *testRun) { // like a backup that is older than the state
		f := tr.serveFile(16 << 20)
		tr.killOnceHeld(4 << 20)
		data := tr.readFile(tr.partPath())
		tr.killOnceHeld(9 << 20)
		tr.writeFile(tr.partPath(), data)
		sent := tr.srv.Sent()
		tr.runPawl("-x", "1", tr.fileURL()).wantDownloaded("f.bin", f) // no bytes are sent in vain
		if sent = tr.srv.Sent() - sent; sent > 24<<20 {                // the missing 7 MiB, and pieces that the copy and this run share
			tr.Errorf("got %d bytes, want at most 1.5 times the size of the file", sent)
		}
		tr.markMet()
	}},
	blockedPart("disks: part file replaced by a symlink", func(tr *testRun, part string) {
		must(tr, os.Rename(part, filepath.Join(tr.dir, "mine")))
		must(tr, os.Symlink("mine", part))
	}),
	blockedPart("disks: part file replaced by a directory", func(tr *testRun, part string) {
		must(tr, os.Remove(part))
		must(tr, os.Mkdir(part, 0o777))
		tr.writeFile(filepath.Join(part, "inside"), []byte("mine"))
	}),
	{name: "disks: a symlink at the path of the part file", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		mine := filepath.Join(tr.dir, "mine")
		tr.writeFile(mine, nil)
		must(tr, os.Symlink("mine", tr.partPath()))
		check := tr.untouched(mine)
		o := tr.runPawl()
		o.wantRefusal(3, 13)
		o.wantFailure(o.code)
		check()
		must(tr, os.Remove(tr.partPath()))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "disks: a foreign file at the path of the part file", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		mine := tr.randomBytes(5 << 20)
		tr.writeFile(tr.partPath(), mine)
		o := tr.runPawl()
		o.wantDownloaded("f.bin", f)
		o.wantStderrAny("warning: ")
		if !fileEquals(tr.partPath()+".1", mine) {
			tr.Errorf("the foreign file was not kept as f.bin.part.1")
		}
		tr.markMet()
	}},
}

// blockedPart returns a hazard in which do replaces the part file by something else between
// two runs. pawl must refuse and change nothing; once the obstacle is removed it must
// download the file.
func blockedPart(name string, do func(tr *testRun, part string)) hazard {
	return hazard{name: name, run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		tr.killOnceHeld(3 << 20)
		do(tr, tr.partPath())
		check, requests := tr.untouched(tr.partPath(), filepath.Join(tr.dir, "mine")), len(tr.srv.Requests())
		o := tr.runPawl()
		o.wantRefusal(3, 13)
		o.wantFailure(o.code)
		tr.wantAtMostOneRequest(requests)
		check()
		must(tr, os.RemoveAll(tr.partPath()))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.markMet()
	}}
}
