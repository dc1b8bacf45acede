package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"pawl/downloader/faultserver"
)

// disks are hazards of TestHazards: what happens to the file, its part file and
// the directory they are in.
var disks = slices.Concat(inTheWay, finished, midRun, partDamage, unixDisks, linuxDisks)

// obstacle is a hazard of something at the target, or elsewhere, that put puts
// there, and that must still be there, unchanged, when the program has refused.
func obstacle(name string, put func(tr *trial) (paths []string, args []string)) hazard {
	return hazard{name: name, try: func(tr *trial) {
		tr.serve(8 << 20)
		delete(tr.versions, "f.bin") // what is there is no version of it
		paths, args := put(tr)
		check := tr.untouched(paths...)
		o := tr.run(append(args, tr.url())...)
		o.refuses(13)
		o.tells("pawl: hint: ")
		tr.fewRequests(0)
		check()
		tr.noPart()
		tr.met()
	}}
}

// noPart checks that no part file is left in the directory.
func (tr *trial) noPart() {
	tr.Helper()
	if left, _ := filepath.Glob(filepath.Join(tr.dir, "*.part*")); len(left) > 0 {
		tr.Errorf("left: %q", left)
	}
}

// foreign is an obstacle: a file of so many bytes.
func foreign(name string, size int64, args ...string) hazard {
	return obstacle(name, func(tr *trial) ([]string, []string) {
		path := filepath.Join(tr.dir, "f.bin")
		tr.write(path, tr.random(size))
		return []string{path}, args
	})
}

// longName is a hazard of a name of so many bytes, of which most file systems
// take 255.
func longName(name string, n int) hazard {
	return hazard{name: name, try: func(tr *trial) {
		tr.serve(8 << 20)
		o := tr.run("-o", strings.Repeat("n", n), tr.url())
		o.refuses(3)
		tr.fewRequests(0)
		tr.noPart()
		tr.met()
	}}
}

// inTheWay are hazards of what has the name of the file.
var inTheWay = []hazard{
	foreign("disks: smaller foreign file", 1000),
	foreign("disks: foreign file of equal size", 8<<20),
	foreign("disks: larger foreign file", 9<<20),
	foreign("disks: empty foreign file", 0),
	foreign("disks: foreign file at the name given", 8<<20, "-o", "f.bin"),
	obstacle("disks: target is a directory", func(tr *trial) ([]string, []string) {
		path := filepath.Join(tr.dir, "f.bin")
		must(tr, os.Mkdir(path, 0o777))
		tr.write(filepath.Join(path, "inside"), []byte("mine"))
		return []string{path}, []string{"--overwrite"}
	}),
	obstacle("disks: target is a symlink", func(tr *trial) ([]string, []string) {
		path, to := filepath.Join(tr.dir, "f.bin"), filepath.Join(tr.dir, "mine")
		tr.write(to, tr.random(8<<20))
		must(tr, os.Symlink(to, path))
		return []string{path, to}, nil
	}),
	obstacle("disks: target is a dangling symlink", func(tr *trial) ([]string, []string) {
		path, to := filepath.Join(tr.dir, "f.bin"), filepath.Join(tr.dir, "nothing")
		must(tr, os.Symlink(to, path))
		return []string{path, to}, nil
	}),
	{name: "disks: target is a symlink, to be overwritten", try: func(tr *trial) {
		f := tr.serve(8 << 20)
		path, to := filepath.Join(tr.dir, "f.bin"), filepath.Join(tr.dir, "mine")
		tr.write(to, tr.random(8<<20))
		must(tr, os.Symlink(to, path))
		check := tr.untouched(to)
		tr.run("--overwrite", tr.url()).good("f.bin", f)
		check()
		tr.met()
	}},
	longName("disks: name too long", 300),
	longName("disks: name too long with .part", 253),
	{name: "disks: foreign file comes in mid-run", try: func(tr *trial) {
		f := tr.serve(8 << 20)
		delete(tr.versions, "f.bin")
		tr.srv.Set(faultserver.Rate(16 << 20))
		path, mine := filepath.Join(tr.dir, "f.bin"), tr.random(1000)
		o := tr.at(2<<20, func(*running) { tr.write(path, mine) })
		o.refuses(13)
		tr.kept()
		if !same(path, mine) {
			tr.Errorf("the foreign file is changed")
		}
		must(tr, os.Remove(path))
		tr.run().good("f.bin", f)
		tr.overhead(1.05)
		tr.met()
	}},
}

// finished are hazards of files that are done.
var finished = []hazard{
	{name: "disks: finished file deleted", try: func(tr *trial) {
		f := tr.serve(8 << 20)
		tr.run().good("f.bin", f)
		must(tr, os.Remove(filepath.Join(tr.dir, "f.bin")))
		tr.run().good("f.bin", f)
		tr.met()
	}},
	{name: "disks: finished file overwritten", try: func(tr *trial) {
		f := tr.serve(8 << 20)
		tr.run().good("f.bin", f)
		path := filepath.Join(tr.dir, "f.bin")
		delete(tr.versions, "f.bin")
		tr.write(path, tr.random(8<<20))
		check, before := tr.untouched(path), len(tr.srv.Requests())
		tr.run().refuses(13)
		check()
		tr.fewRequests(before)
		tr.met()
	}},
	{name: "disks: finished file replaced by a directory", try: func(tr *trial) {
		f := tr.serve(8 << 20)
		tr.run().good("f.bin", f)
		path := filepath.Join(tr.dir, "f.bin")
		delete(tr.versions, "f.bin")
		must(tr, os.Remove(path))
		must(tr, os.Mkdir(path, 0o777))
		check := tr.untouched(path)
		tr.run().refuses(13)
		check()
		tr.met()
	}},
}

// vanishing is a hazard of do in the midst of a download to the directory sub.
// The run must fail soon, and no file may have the final name.
func vanishing(name string, codes []int, do func(tr *trial, sub string)) hazard {
	return hazard{name: name, try: func(tr *trial) {
		f := tr.serve(32 << 20)
		tr.srv.Set(faultserver.Rate(12 << 20))
		sub := filepath.Join(tr.dir, "sub")
		var at time.Time
		o := tr.at(6<<20, func(*running) {
			do(tr, sub)
			at = time.Now()
		}, "-d", "sub", tr.url())
		took := time.Since(at)
		if at.IsZero() || !slices.Contains(codes, o.code) {
			tr.Errorf("exit %d, want one of %d", o.code, codes)
		}
		if tr.srv.Sent() > 24<<20 {
			tr.Errorf("%d bytes were sent until it was noticed, %v later", tr.srv.Sent(), took)
		}
		o.clear()
		if path := filepath.Join(sub, "f.bin"); look(path) != "" && !strings.Contains(look(path), "no such") {
			tr.Errorf("%s is there", path)
		}
		tr.srv.Set()
		tr.run("-d", "sub", tr.url()).good("sub/f.bin", f)
		tr.met()
	}}
}

// midRun are hazards of files that a running program uses.
var midRun = []hazard{
	vanishing("disks: directory removed in mid-run", []int{3}, func(tr *trial, sub string) { os.RemoveAll(sub) }),
	vanishing("disks: directory moved in mid-run", []int{3}, func(tr *trial, sub string) { os.Rename(sub, sub+"2") }),
	vanishing("disks: part file deleted in mid-run", []int{3}, func(tr *trial, sub string) { os.Remove(filepath.Join(sub, "f.bin.part")) }),
	vanishing("disks: part file moved in mid-run", []int{3}, func(tr *trial, sub string) {
		os.Rename(filepath.Join(sub, "f.bin.part"), filepath.Join(sub, "mine"))
	}),
	{name: "disks: part file deleted near the end", try: func(tr *trial) {
		f := tr.serve(8 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		o := tr.at(tr.size-tr.rand.Int64N(1<<20), func(*running) { os.Remove(tr.partPath()) })
		o.sound(f)
		tr.unsaid()
		tr.met()
	}},
	{name: "disks: part file replaced in mid-run", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		mine := tr.random(16 << 20)
		tr.write(filepath.Join(tr.dir, "mine"), mine)
		o := tr.at(6<<20, func(*running) { os.Rename(filepath.Join(tr.dir, "mine"), tr.partPath()) })
		o.refuses(3, 13)
		o.fails(o.code)
		tr.srv.Set()
		tr.run().good("f.bin", f)
		tr.met()
	}},
	{name: "disks: part file cut in mid-run", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		o := tr.at(8<<20, func(*running) { os.Truncate(tr.partPath(), 1<<20) })
		tr.srv.Set()
		o.sound(f)
		tr.unsaid()
		tr.met()
	}},
	{name: "disks: killed, then the directory is gone", try: func(tr *trial) {
		f := tr.serve(8 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		tr.signalAt(3<<20, syscall.SIGKILL, "-d", "sub", tr.url())
		tr.srv.Set()
		must(tr, os.RemoveAll(filepath.Join(tr.dir, "sub")))
		tr.run("resume").fails(3) // its disk may be elsewhere
		if _, err := os.Lstat(filepath.Join(tr.dir, "sub")); err == nil {
			tr.Errorf("the directory was made")
		}
		tr.run("-d", "sub", tr.url()).good("sub/f.bin", f)
		tr.met()
	}},
}
