package main

import (
	"os"
	"path/filepath"
	"strings"

	"pawl/downloader/faultserver"
)

// partNames are targets whose names are also names of part files, such as f.bin.part.
var partNames = []hazard{
	partOfRunning("--overwrite with -o", "other", "--overwrite", "-o", "f.bin.part"),
	partOfRunning("--overwrite with the server's name", "f.bin.part", "--overwrite"),
	partOfRunning("--restart", "f.bin.part", "--restart", "--overwrite"),
	partOfRunning("with -o", "other", "-o", "f.bin.part"),
	{name: "names: the part file of a killed download, --overwrite", run: func(tr *testRun) {
		other := tr.putFile("f.bin.part", faultserver.NewFile(300<<10, 7))
		delete(tr.served, "f.bin.part") // at first f.bin.part is a part file
		f := tr.serveFile(16 << 20)
		tr.killOnceHeld(8 << 20)
		check := tr.untouched(tr.partPath())
		o := tr.runPawl("--overwrite", tr.srv.URL+"/f.bin.part")
		o.wantRefusal(13)
		o.wantStderrAny("part file of another download")
		check()
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
		tr.runPawl(tr.srv.URL + "/f.bin.part")
		tr.wantFile("f.bin.part", other)
		tr.markMet()
	}},
	{name: "names: the path of the part file is a finished download", run: func(tr *testRun) {
		names := tr.servePartChain(8<<20, 300<<10, 0)
		for i := len(names) - 1; i >= 0; i-- {
			tr.runPawl(tr.srv.URL + "/" + names[i])
		}
		tr.wantPartChain(names)
		tr.markMet()
	}},
	{name: "names: the path of the part file is an unfinished download", run: func(tr *testRun) {
		names := tr.servePartChain(8<<20, 8<<20)
		other := tr.newServer(tr.served[names[0]][0])
		tr.srv.Set(faultserver.Rate(16 << 20))
		tr.runAndDoPaused(2<<20, func(*pawlProcess) { tr.runPawl(other.URL + "/f.bin") }, tr.srv.URL+"/"+names[1])
		tr.wantPartChain(names)
		tr.markMet()
	}},
	{name: "names: a small file is replaced, and the path of its part file is a download", run: func(tr *testRun) {
		names := tr.servePartChain(10<<10, 10<<10)
		list := tr.writeURLList(tr.srv.URL + "/" + names[1] + "\n" + tr.srv.URL + "/" + names[0] + "\n")
		tr.runPawl("mirror", "-d", ".", list).wantExit(0)
		tr.putFile(names[0], faultserver.NewFile(20<<10, 99))
		tr.runPawl("mirror", "-N", "-d", ".", list).wantExit(0)
		tr.wantPartChain(names)
		tr.markMet()
	}},
	partNameList("large files", []string{"--rounds", "1"}, 8<<20, 8<<20, 8<<20),
	partNameList("large and small files", nil, 8<<20, 10<<10, 8<<20, 10<<10),
	partNameList("small files", nil, 10<<10, 10<<10, 10<<10),
	partNameList("with --overwrite", []string{"--overwrite"}, 8<<20, 10<<10, 8<<20),
}

// partOfRunning returns a hazard of a second download to the path of a running download's
// part file. served is the name on the second server. The second download must be refused.
func partOfRunning(name, served string, args ...string) hazard {
	return hazard{name: "names: the part file of a running download, " + name, run: func(tr *testRun) {
		f := tr.serveFile(12 << 20)
		other := tr.newServer(f)
		other.Put(served, faultserver.NewFile(300<<10, 7))
		tr.srv.Set(faultserver.Rate(16 << 20))
		var o runResult
		first := tr.runAndDoPaused(4<<20, func(*pawlProcess) { o = tr.runPawl(append(args, other.URL+"/"+served)...) })
		o.wantRefusal(13)
		first.wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
		tr.markMet()
	}}
}

// servePartChain serves f.bin, f.bin.part, f.bin.part.part and so on with these sizes, and
// returns the names.
func (tr *testRun) servePartChain(sizes ...int64) (names []string) {
	for i, size := range sizes {
		names = append(names, "f.bin"+strings.Repeat(".part", i))
		tr.putFile(names[i], faultserver.NewFile(size, uint64(i+1)))
	}
	return names
}

// wantFile checks that a file in the directory has the bytes of f.
func (tr *testRun) wantFile(name string, f faultserver.File) {
	tr.Helper()
	if !hasContent(filepath.Join(tr.dir, name), f) {
		tr.Errorf("%s does not have the served bytes", name)
	}
}

// wantPartChain checks that exactly the files of the chain exist, each in its last version.
func (tr *testRun) wantPartChain(names []string) {
	tr.Helper()
	for _, name := range names {
		versions := tr.served[name]
		tr.wantFile(name, versions[len(versions)-1])
	}
	if left, _ := filepath.Glob(filepath.Join(tr.dir, "f.bin*")); len(left) != len(names) {
		tr.Errorf("got files %q, want %q", left, names)
	}
}

// partNameList returns a hazard of a list that names a chain of part file names, first in
// order and then in reverse. All files must be downloaded.
func partNameList(name string, args []string, sizes ...int64) hazard {
	return hazard{name: "names: a list that also names part files, " + name, run: func(tr *testRun) {
		names := tr.servePartChain(sizes...)
		for _, back := range []bool{false, true} {
			var lines []string
			for _, name := range names {
				if line := tr.srv.URL + "/" + name; back {
					lines = append([]string{line}, lines...)
				} else {
					lines = append(lines, line)
				}
			}
			tr.srv.Set(faultserver.Rate(32 << 20))
			list := tr.writeURLList(strings.Join(lines, "\n") + "\n")
			tr.runPawl(append([]string{"mirror", "--round-wait", "50ms", "-d", "."}, append(args, list)...)...).wantExit(0)
			tr.wantPartChain(names)
			for _, name := range names {
				must(tr, os.Remove(filepath.Join(tr.dir, name)))
			}
		}
		tr.markMet()
	}}
}
