package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pawl/downloader/faultserver"
)

// disks are faults of the target, its part file and their directory.
var disks = slices.Concat(blockedTargets, finishedFiles, midRunChanges, partDamage, unixDisks, linuxDisks)

// blockedTarget returns a hazard of a foreign file at the target. put creates it and
// returns the paths that must stay unchanged and the arguments for pawl. pawl must refuse
// with code 13 and a hint, and must not send a request.
func blockedTarget(name string, put func(tr *testRun) (paths []string, args []string)) hazard {
	return hazard{name: name, run: func(tr *testRun) {
		tr.serveFile(8 << 20)
		delete(tr.served, "f.bin") // f.bin is foreign and must stay
		paths, args := put(tr)
		check := tr.untouched(paths...)
		o := tr.runPawl(append(args, tr.fileURL())...)
		o.wantRefusal(13)
		o.wantStderrAny("pawl: hint: ")
		tr.wantAtMostOneRequest(0)
		check()
		tr.wantNoPartFiles()
		tr.markMet()
	}}
}

// wantNoPartFiles checks that no part file is left in the directory.
func (tr *testRun) wantNoPartFiles() {
	tr.Helper()
	if left, _ := filepath.Glob(filepath.Join(tr.dir, "*.part*")); len(left) > 0 {
		tr.Errorf("left over: %q", left)
	}
}

// foreignFile returns a hazard of a foreign file of size bytes at the target.
func foreignFile(name string, size int64, args ...string) hazard {
	return blockedTarget(name, func(tr *testRun) ([]string, []string) {
		path := filepath.Join(tr.dir, "f.bin")
		tr.writeFile(path, tr.randomBytes(size))
		return []string{path}, args
	})
}

// longName returns a hazard of a file name of n bytes. Most file systems allow 255.
func longName(name string, n int) hazard {
	return hazard{name: name, run: func(tr *testRun) {
		tr.serveFile(8 << 20)
		o := tr.runPawl("-o", strings.Repeat("n", n), tr.fileURL())
		o.wantRefusal(3)
		tr.wantAtMostOneRequest(0)
		tr.wantNoPartFiles()
		tr.markMet()
	}}
}

// blockedTargets are foreign files at the target, and names that are too long.
var blockedTargets = []hazard{
	foreignFile("disks: smaller foreign file", 1000),
	foreignFile("disks: foreign file of equal size", 8<<20),
	foreignFile("disks: larger foreign file", 9<<20),
	foreignFile("disks: empty foreign file", 0),
	foreignFile("disks: foreign file at the -o name", 8<<20, "-o", "f.bin"),
	blockedTarget("disks: target is a directory", func(tr *testRun) ([]string, []string) {
		path := filepath.Join(tr.dir, "f.bin")
		must(tr, os.Mkdir(path, 0o777))
		tr.writeFile(filepath.Join(path, "inside"), []byte("mine"))
		return []string{path}, []string{"--overwrite"}
	}),
	blockedTarget("disks: target is a symlink", func(tr *testRun) ([]string, []string) {
		path, to := filepath.Join(tr.dir, "f.bin"), filepath.Join(tr.dir, "mine")
		tr.writeFile(to, tr.randomBytes(8<<20))
		must(tr, os.Symlink(to, path))
		return []string{path, to}, nil
	}),
	blockedTarget("disks: target is a dangling symlink", func(tr *testRun) ([]string, []string) {
		path, to := filepath.Join(tr.dir, "f.bin"), filepath.Join(tr.dir, "nothing")
		must(tr, os.Symlink(to, path))
		return []string{path, to}, nil
	}),
	{name: "disks: target is a symlink, --overwrite", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		path, to := filepath.Join(tr.dir, "f.bin"), filepath.Join(tr.dir, "mine")
		tr.writeFile(to, tr.randomBytes(8<<20))
		must(tr, os.Symlink(to, path))
		check := tr.untouched(to)
		tr.runPawl("--overwrite", tr.fileURL()).wantDownloaded("f.bin", f)
		check()
		tr.markMet()
	}},
	longName("disks: name too long", 300),
	longName("disks: name too long with .part", 253),
	{name: "disks: foreign file appears during the run", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		delete(tr.served, "f.bin")
		tr.srv.Set(faultserver.Rate(32 << 20))
		path, mine := filepath.Join(tr.dir, "f.bin"), tr.randomBytes(1000)
		o := tr.runAndDoPaused(2<<20, func(*pawlProcess) { tr.writeFile(path, mine) })
		o.wantRefusal(13)
		tr.wantPartKept()
		if !fileEquals(path, mine) {
			tr.Errorf("the foreign file has changed")
		}
		must(tr, os.Remove(path))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.7) // and not twice
		tr.markMet()
	}},
}

// roundedTime returns a hazard of a file system that rounds modification times down to unit
// when the disk is mounted again. Neither get nor mirror may take that for a change.
func roundedTime(name string, unit time.Duration) hazard {
	return hazard{name: "disks: modification times rounded to " + name, run: func(tr *testRun) {
		f := tr.serveFile(1 << 20)
		tr.putFile("small", faultserver.NewFile(3000, 1))
		list := tr.writeURLList(tr.fileURL() + "\n" + tr.srv.URL + "/small\n")
		for _, args := range [][]string{{"--no-remote-time", tr.fileURL()}, {"mirror", "--no-remote-time", "-d", "out", list}} {
			tr.runPawl(args...).wantExit(0)
			before := len(tr.srv.Requests())
			for _, name := range []string{"f.bin", "out/f.bin", "out/small"} {
				path := filepath.Join(tr.dir, name)
				if info, err := os.Stat(path); err == nil {
					rounded := info.ModTime().Truncate(unit)
					must(tr, os.Chtimes(path, rounded, rounded))
				}
			}
			tr.runPawl(args...).wantExit(0)
			tr.wantAtMostOneRequest(before)
		}
		tr.wantFile("f.bin", f)
		tr.markMet()
	}}
}

// finishedFiles are changes of finished files between two runs.
var finishedFiles = []hazard{
	roundedTime("microseconds", time.Microsecond),
	roundedTime("seconds", time.Second),
	roundedTime("even seconds, as on FAT", 2*time.Second),
	{name: "disks: finished file touched", run: func(tr *testRun) {
		f := tr.serveFile(1 << 20)
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.writeFile(filepath.Join(tr.dir, "f.bin"), tr.randomBytes(1<<20))
		delete(tr.served, "f.bin")
		later := f.Modified.Add(time.Second)
		must(tr, os.Chtimes(filepath.Join(tr.dir, "f.bin"), later, later))
		tr.runPawl().wantRefusal(13)
		tr.markMet()
	}},
	{name: "disks: finished file deleted", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		tr.runPawl().wantDownloaded("f.bin", f)
		must(tr, os.Remove(filepath.Join(tr.dir, "f.bin")))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "disks: finished file overwritten", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		tr.runPawl().wantDownloaded("f.bin", f)
		path := filepath.Join(tr.dir, "f.bin")
		delete(tr.served, "f.bin")
		tr.writeFile(path, tr.randomBytes(8<<20))
		check, before := tr.untouched(path), len(tr.srv.Requests())
		tr.runPawl().wantRefusal(13)
		check()
		tr.wantAtMostOneRequest(before)
		tr.markMet()
	}},
	{name: "disks: finished file replaced by a directory", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		tr.runPawl().wantDownloaded("f.bin", f)
		path := filepath.Join(tr.dir, "f.bin")
		delete(tr.served, "f.bin")
		must(tr, os.Remove(path))
		must(tr, os.Mkdir(path, 0o777))
		check := tr.untouched(path)
		tr.runPawl().wantRefusal(13)
		check()
		tr.markMet()
	}},
}

// vanishingFile returns a hazard in which do removes or moves something during a download
// to the directory sub. The server sends a few bytes more, and then pawl must notice and fail
// with one of the codes, although the file is not complete. No file may have the final name.
func vanishingFile(name string, codes []int, do func(tr *testRun, sub string)) hazard {
	return hazard{name: name, run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Rate(32 << 20))
		sub := filepath.Join(tr.dir, "sub")
		o := tr.runAndDoPaused(2<<20, func(r *pawlProcess) {
			do(tr, sub)
			if tr.srv.HoldAt(tr.srv.Sent()+4<<20, r.exited) {
				<-r.exited
			}
		}, "-d", "sub", tr.fileURL())
		o.wantRefusal(codes...)
		tr.dropResults() // two steps of pawl may notice it first
		if path := filepath.Join(sub, "f.bin"); describeTree(path) != "" && !strings.Contains(describeTree(path), "no such") {
			tr.Errorf("%s exists", path)
		}
		tr.srv.Set()
		tr.runPawl("-d", "sub", tr.fileURL()).wantDownloaded("sub/f.bin", f)
		tr.markMet()
	}}
}

// midRunChanges are changes of files while pawl uses them.
var midRunChanges = []hazard{
	vanishingFile("disks: directory removed during the run", []int{3}, func(tr *testRun, sub string) { os.RemoveAll(sub) }),
	vanishingFile("disks: directory moved during the run", []int{3}, func(tr *testRun, sub string) { os.Rename(sub, sub+"2") }),
	vanishingFile("disks: part file deleted during the run", []int{3}, func(tr *testRun, sub string) { os.Remove(filepath.Join(sub, "f.bin.part")) }),
	vanishingFile("disks: part file moved during the run", []int{3}, func(tr *testRun, sub string) {
		os.Rename(filepath.Join(sub, "f.bin.part"), filepath.Join(sub, "mine"))
	}),
	{name: "disks: part file deleted near the end", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		tr.srv.Set(faultserver.Rate(32 << 20))
		o := tr.runAndDoPaused(tr.fileSize-tr.rand.Int64N(1<<20), func(*pawlProcess) { os.Remove(tr.partPath()) })
		o.wantRecovery(f)
		tr.dropResults()
		tr.markMet()
	}},
	{name: "disks: part file replaced during the run", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Rate(32 << 20))
		mine := tr.randomBytes(16 << 20)
		tr.writeFile(filepath.Join(tr.dir, "mine"), mine)
		o := tr.runAndDoPaused(6<<20, func(*pawlProcess) { os.Rename(filepath.Join(tr.dir, "mine"), tr.partPath()) })
		o.wantRefusal(3, 13)
		o.wantFailure(o.code)
		tr.srv.Set()
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "disks: part file truncated during the run", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Rate(32 << 20))
		// Without a digest pawl notices it only if the next bytes do not restore the size.
		o := tr.runAndDoPaused(8<<20, func(*pawlProcess) { os.Truncate(tr.partPath(), 1<<20) }, "--checksum", checksumOf(tr, f), tr.fileURL())
		tr.srv.Set()
		o.wantRecovery(f)
		tr.dropResults()
		tr.markMet()
	}},
	{name: "disks: killed, then the directory is gone", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		tr.killOnceRecorded(1<<20, "-d", "sub", tr.fileURL())
		must(tr, os.RemoveAll(filepath.Join(tr.dir, "sub")))
		tr.runPawl("resume").wantFailure(3) // the disk of the directory may be unmounted
		if _, err := os.Lstat(filepath.Join(tr.dir, "sub")); err == nil {
			tr.Errorf("resume created the directory")
		}
		tr.runPawl("-d", "sub", tr.fileURL()).wantDownloaded("sub/f.bin", f)
		tr.markMet()
	}},
}
