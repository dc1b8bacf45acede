package main

import (
	"os"
	"path/filepath"
	"strings"

	"pawl/downloader/faultserver"
)

// partNames are hazards of TestHazards: names that are also those of part files.
var partNames = []hazard{
	usurped("--overwrite, under a name that was given", "other", "--overwrite", "-o", "f.bin.part"),
	usurped("--overwrite, under the name that the server has", "f.bin.part", "--overwrite"),
	usurped("--restart", "f.bin.part", "--restart", "--overwrite"),
	usurped("under a name that was given", "other", "-o", "f.bin.part"),
	{name: "names: the part file of a killed download, --overwrite", try: func(tr *trial) {
		other := tr.put("f.bin.part", faultserver.NewFile(300<<10, 7))
		delete(tr.versions, "f.bin.part") // it is the name of the part file first
		f := tr.serve(16 << 20)
		tr.killHolding(6 << 20)
		check := tr.untouched(tr.partPath())
		o := tr.run("--overwrite", tr.srv.URL+"/f.bin.part")
		o.refuses(13)
		o.tells("part file of another download")
		check()
		tr.run().good("f.bin", f)
		tr.overhead(1.3)
		tr.run(tr.srv.URL + "/f.bin.part")
		tr.hasFile("f.bin.part", other)
		tr.met()
	}},
	{name: "names: the part file would be a finished download", try: func(tr *trial) {
		names := tr.chain(8<<20, 300<<10, 0)
		for i := len(names) - 1; i >= 0; i-- {
			tr.run(tr.srv.URL + "/" + names[i])
		}
		tr.allThere(names)
		tr.met()
	}},
	{name: "names: the part file would be an unfinished download", try: func(tr *trial) {
		names := tr.chain(8<<20, 8<<20)
		other := tr.another(tr.versions[names[0]][0])
		tr.srv.Set(faultserver.Rate(8 << 20))
		tr.at(2<<20, func(*running) { tr.run(other.URL + "/f.bin") }, tr.srv.URL+"/"+names[1])
		tr.allThere(names)
		tr.met()
	}},
	{name: "names: a small file takes the place of another, whose part file is a download", try: func(tr *trial) {
		names := tr.chain(10<<10, 10<<10)
		list := tr.list(tr.srv.URL + "/" + names[1] + "\n" + tr.srv.URL + "/" + names[0] + "\n")
		tr.run("mirror", "-d", ".", list).exits(0)
		tr.put(names[0], faultserver.NewFile(20<<10, 99))
		tr.run("mirror", "-N", "-d", ".", list).exits(0)
		tr.allThere(names)
		tr.met()
	}},
	chained("large files", []string{"--rounds", "1"}, 8<<20, 8<<20, 8<<20),
	chained("large and small files", nil, 8<<20, 10<<10, 8<<20, 10<<10),
	chained("small files", nil, 10<<10, 10<<10, 10<<10),
	chained("replacing all", []string{"--overwrite"}, 8<<20, 10<<10, 8<<20),
}

// usurped is a hazard of a download to the name of another one's part file, while that
// runs.
func usurped(name, served string, args ...string) hazard {
	return hazard{name: "names: the part file of a running download, " + name, try: func(tr *trial) {
		f := tr.serve(12 << 20)
		other := tr.another(f)
		other.Put(served, faultserver.NewFile(300<<10, 7))
		tr.srv.Set(faultserver.Rate(8 << 20))
		var o outcome
		first := tr.at(4<<20, func(*running) { o = tr.run(append(args, other.URL+"/"+served)...) })
		o.refuses(13)
		first.good("f.bin", f)
		tr.overhead(1.2)
		tr.met()
	}}
}

// chain serves f.bin, f.bin.part, f.bin.part.part and so on, of these sizes.
func (tr *trial) chain(sizes ...int64) (names []string) {
	for i, size := range sizes {
		names = append(names, "f.bin"+strings.Repeat(".part", i))
		tr.put(names[i], faultserver.NewFile(size, uint64(i+1)))
	}
	return names
}

// hasFile checks that a file of the directory is f.
func (tr *trial) hasFile(name string, f faultserver.File) {
	tr.Helper()
	if !isFile(filepath.Join(tr.dir, name), f) {
		tr.Errorf("%s is not what is served", name)
	}
}

// allThere checks that the files of a chain are there, and no others of that name.
func (tr *trial) allThere(names []string) {
	tr.Helper()
	for _, name := range names {
		versions := tr.versions[name]
		tr.hasFile(name, versions[len(versions)-1])
	}
	if left, _ := filepath.Glob(filepath.Join(tr.dir, "f.bin*")); len(left) != len(names) {
		tr.Errorf("left: %q", left)
	}
}

// chained is a hazard of a list that names files and the names of their part files, in
// both orders.
func chained(name string, args []string, sizes ...int64) hazard {
	return hazard{name: "names: a list with the names of part files, " + name, try: func(tr *trial) {
		names := tr.chain(sizes...)
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
			list := tr.list(strings.Join(lines, "\n") + "\n")
			tr.run(append([]string{"mirror", "--round-wait", "50ms", "-d", "."}, append(args, list)...)...).exits(0)
			tr.allThere(names)
			for _, name := range names {
				must(tr, os.Remove(filepath.Join(tr.dir, name)))
			}
		}
		tr.met()
	}}
}
