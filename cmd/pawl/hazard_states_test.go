package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"

	"pawl/downloader/faultserver"
)

// states are hazards of TestHazards: what happens to the state file, and how
// processes share it.
var states = slices.Concat(spoiled, searched, shared, linuxStates)

// spoil is a hazard of a state file that is useless after a kill: it is set
// aside, where that is sure to be needed, a new one is begun, and the file is fetched.
func spoil(name string, aside bool, do func(tr *trial, path string)) hazard {
	return hazard{name: name, try: func(tr *trial) {
		f := tr.serve(8 << 20)
		tr.killHolding(3 << 20)
		do(tr, tr.statePath())
		spoiled, _ := os.ReadFile(tr.statePath())
		o := tr.run()
		o.good("f.bin", f)
		o.clear()
		if aside {
			o.tells("the state file was damaged")
			kept, _ := filepath.Glob(tr.statePath() + ".*")
			if !slices.ContainsFunc(kept, func(path string) bool { return same(path, spoiled) }) {
				tr.Errorf("the damaged state file was not kept: %q", kept)
			}
		}
		tr.run().good("f.bin", f)
		tr.overhead(2.1)
		tr.met()
	}}
}

// spoiled are hazards of the state file between two runs.
var spoiled = []hazard{
	spoil("states: cut to half", false, func(tr *trial, path string) { must(tr, os.Truncate(path, int64(len(tr.read(path))/2))) }),
	spoil("states: cut to one byte", true, func(tr *trial, path string) { must(tr, os.Truncate(path, 1)) }),
	spoil("states: cut to one page", true, func(tr *trial, path string) { must(tr, os.Truncate(path, 4096)) }),
	spoil("states: emptied", true, func(tr *trial, path string) { must(tr, os.Truncate(path, 0)) }),
	spoil("states: zeroed", true, func(tr *trial, path string) { tr.write(path, make([]byte, len(tr.read(path)))) }),
	spoil("states: random bytes", true, func(tr *trial, path string) { tr.write(path, tr.random(int64(len(tr.read(path))))) }),
	spoil("states: replaced by text", true, func(tr *trial, path string) { tr.write(path, []byte("<html>no\n")) }),
	spoil("states: replaced by long text", true, func(tr *trial, path string) { tr.write(path, bytes.Repeat([]byte("no\n"), 30000)) }),
	spoil("states: deleted", false, func(tr *trial, path string) { must(tr, os.Remove(path)) }),
	spoil("states: directory deleted", false, func(tr *trial, path string) { must(tr, os.RemoveAll(filepath.Dir(path))) }),
	{name: "states: of a newer version", try: func(tr *trial) {
		f := tr.serve(8 << 20)
		tr.killHolding(3 << 20)
		old := tr.read(tr.statePath())
		newer := regexp.MustCompile(`version\d`).ReplaceAll(old, []byte("version9")) // no page has a checksum
		if bytes.Equal(old, newer) {
			tr.Fatal("no version was found")
		}
		tr.write(tr.statePath(), newer)
		refusesState(tr, tr.statePath())
		tr.write(tr.statePath(), old)
		tr.run().good("f.bin", f)
		tr.overhead(1.25)
	}},
	{name: "states: replaced by a directory", try: func(tr *trial) {
		f := tr.serve(8 << 20)
		tr.killHolding(3 << 20)
		must(tr, os.Remove(tr.statePath()))
		must(tr, os.Mkdir(tr.statePath(), 0o700))
		tr.write(filepath.Join(tr.statePath(), "inside"), []byte("mine"))
		refusesState(tr, tr.statePath())
		must(tr, os.RemoveAll(tr.statePath()))
		tr.run().good("f.bin", f)
	}},
	{name: "states: directory is a file", try: func(tr *trial) {
		f := tr.serve(8 << 20)
		dir := filepath.Dir(tr.statePath())
		must(tr, os.MkdirAll(filepath.Dir(dir), 0o700))
		tr.write(dir, []byte("mine"))
		refusesState(tr, dir)
		must(tr, os.Remove(dir))
		tr.run().good("f.bin", f)
	}},
	{name: "states: times in the future", try: func(tr *trial) { // as if the clock had been set back
		f := tr.serve(16 << 20)
		tr.killHolding(4 << 20)
		tr.write(tr.statePath(), inTheFuture(tr.read(tr.statePath())))
		must(tr, os.Chtimes(tr.partPath(), time.Time{}, time.Now().AddDate(10, 0, 0)))
		o := tr.run()
		o.good("f.bin", f)
		if bytes.Contains([]byte(o.stderr), []byte("-")) {
			tr.Errorf("a negative time was told")
		}
		tr.run().good("f.bin", f)
		tr.overhead(1.25)
		tr.met()
	}},
	{name: "states: deleted in mid-run", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		o := tr.at(6<<20, func(*running) { os.Remove(tr.statePath()) })
		tr.srv.Set()
		o.sound(f)
		tr.unsaid()
		tr.met()
	}},
	{name: "states: directory deleted in mid-run", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		o := tr.at(6<<20, func(*running) { os.RemoveAll(filepath.Dir(tr.statePath())) })
		tr.srv.Set()
		o.sound(f)
		tr.unsaid()
		tr.met()
	}},
	{name: "states: cut in mid-run", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		o := tr.at(6<<20, func(*running) { os.Truncate(tr.statePath(), 9000) })
		tr.srv.Set()
		o.sound(f)
		tr.unsaid()
		tr.met()
	}},
}

// refusesState checks that the program refuses to run, at once and without a
// request, and leaves path as it is.
func refusesState(tr *trial, path string) {
	tr.Helper()
	check, requests := tr.untouched(path, tr.partPath()), len(tr.srv.Requests())
	o := tr.run()
	o.fails(3)
	o.refuses(3)
	check()
	if len(tr.srv.Requests()) != requests {
		tr.Errorf("a request was made")
	}
	tr.met()
}

// rounds gets f.bin partly, and then, as often as told, has do damage what is
// left and runs the program, and runs it once more.
func rounds(tr *trial, n func(size int64) int, do func(i int, size int64) (what string)) {
	tr.Helper()
	f := tr.serve(4<<20 + 12345)
	tr.killHolding(2 << 20)
	state, part := tr.read(tr.statePath()), tr.read(tr.partPath())
	info, err := os.Stat(tr.partPath())
	must(tr, err)
	for i := range n(int64(len(state))) {
		must(tr, os.RemoveAll(filepath.Join(tr.dir, "state")))
		old, _ := filepath.Glob(filepath.Join(tr.dir, "f.bin*"))
		for _, path := range old {
			must(tr, os.Remove(path))
		}
		must(tr, os.MkdirAll(filepath.Dir(tr.statePath()), 0o700))
		tr.write(tr.statePath(), state)
		tr.write(tr.partPath(), part)
		must(tr, os.Chtimes(tr.partPath(), time.Time{}, info.ModTime()))
		tr.Logf("round %d: %s", i, do(i, int64(len(state))))
		tr.run().sound(f)
	}
	tr.unsaid()
	tr.met()
}

// searched are hazards that try many places.
var searched = []hazard{
	{name: "states: each page zeroed", try: func(tr *trial) {
		rounds(tr, func(size int64) int { return int(size / 4096) }, func(i int, _ int64) string {
			tr.overwrite(tr.statePath(), make([]byte, 4096), int64(i)*4096)
			return fmt.Sprintf("page %d", i)
		})
	}},
	{name: "states: each page of random bytes", try: func(tr *trial) {
		rounds(tr, func(size int64) int { return int(size / 4096) }, func(i int, _ int64) string {
			tr.overwrite(tr.statePath(), tr.random(4096), int64(i)*4096)
			return fmt.Sprintf("page %d", i)
		})
	}},
	{name: "states: one bit flipped", try: func(tr *trial) {
		rounds(tr, func(int64) int { return 40 }, func(i int, size int64) string {
			data, at := tr.read(tr.statePath()), tr.rand.Int64N(size)
			for i%4 > 0 && data[at] == 0 { // mostly where there is something
				at = tr.rand.Int64N(size)
			}
			tr.flip(tr.statePath(), at)
			return fmt.Sprintf("a bit of byte %d of the state file", at)
		})
	}},
	{name: "states: one bit flipped in the part file", try: func(tr *trial) {
		rounds(tr, func(int64) int { return 10 }, func(int, int64) string {
			at := tr.somewhere(tr.held(), 1)
			tr.flip(tr.partPath(), at)
			return fmt.Sprintf("a bit of byte %d of the part file", at)
		})
	}},
}

// shared are hazards of several processes.
var shared = []hazard{
	{name: "states: two processes for one file", try: func(tr *trial) {
		f := tr.serve(8 << 20)
		tr.srv.Set(faultserver.Rate(8 << 20))
		first, second := tr.start(), tr.start()
		a, b := first.wait(), second.wait()
		if a.code > b.code {
			a, b = b, a
		}
		a.good("f.bin", f)
		if b.code != 3 {
			tr.Errorf("exit %d of the other, want 3", b.code)
		}
		b.tells("another pawl")
		b.clear()
		tr.overhead(1.6) // the other may have asked, too
		tr.met()
	}},
	{name: "states: a second process later", try: func(tr *trial) {
		f := tr.serve(8 << 20)
		tr.srv.Set(faultserver.Rate(8 << 20))
		tr.at(3<<20, func(*running) {
			o := tr.run()
			if o.refuses(3); o.elapsed > soon(2*time.Second) {
				tr.Errorf("it took %v", o.elapsed)
			}
		}).good("f.bin", f)
		tr.overhead(1.05)
		tr.met()
	}},
	{name: "states: eight processes on no state", try: func(tr *trial) { eight(tr) }},
	{name: "states: eight processes on a state", try: func(tr *trial) {
		f := tr.serve(1 << 20)
		tr.run().good("f.bin", f)
		eight(tr)
	}},
	{name: "states: eight processes on a damaged state", try: func(tr *trial) {
		f := tr.serve(1 << 20)
		tr.run().good("f.bin", f)
		tr.write(tr.statePath(), []byte("no"))
		eight(tr)
	}},
	{name: "states: eight processes, half of them killed", try: func(tr *trial) {
		files := make(map[string]faultserver.File)
		var all []*running
		tr.srv.Set(faultserver.Rate(48 << 20))
		for i := range 8 {
			name := fmt.Sprintf("%d.bin", i)
			files[name] = tr.put(name, faultserver.NewFile(4<<20, tr.rand.Uint64N(1<<40)))
			all = append(all, tr.start(tr.srv.URL+"/"+name))
		}
		tr.srv.WaitSent(12<<20, nil)
		for _, r := range all[:4] {
			r.cmd.Process.Signal(syscall.SIGKILL)
		}
		for _, r := range all {
			r.wait()
		}
		for name, f := range files {
			tr.run(tr.srv.URL+"/"+name).good(name, f)
		}
		tr.met()
	}},
	{name: "states: listed all the time", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.srv.Set(faultserver.Rate(12 << 20))
		lists := 0
		tr.during(2<<20, func(r *running) {
			for ; ; lists++ {
				select {
				case <-r.exited:
					return
				default:
				}
				if out, err := tr.command([]string{"list", "--all"}).CombinedOutput(); err != nil || !bytes.Contains(out, []byte("f.bin")) {
					tr.Errorf("pawl list: %v\n%s", err, out)
					return
				}
			}
		}).good("f.bin", f)
		if lists == 0 {
			tr.Errorf("it was not listed")
		}
		tr.overhead(1.05)
		tr.met()
	}},
}

// eight runs as many processes at once, each of which gets a file.
func eight(tr *trial) {
	tr.Helper()
	var all []*running
	var files []faultserver.File
	for i := range 8 {
		name := fmt.Sprintf("%d.bin", i)
		files = append(files, tr.put(name, faultserver.NewFile(2<<20, tr.rand.Uint64N(1<<40))))
		all = append(all, tr.start(tr.srv.URL+"/"+name))
	}
	for i, r := range all {
		r.wait().good(fmt.Sprintf("%d.bin", i), files[i])
	}
	out, err := tr.command([]string{"list", "--all"}).Output()
	if err != nil || bytes.Count(out, []byte(".bin")) < 8 {
		tr.Errorf("pawl list does not have them all: %v\n%s", err, out)
	}
	tr.met()
}

// inTheFuture moves the times of all records in a state file to the year 2099. A
// record is JSON, and a CRC-32C of it behind.
func inTheFuture(state []byte) []byte {
	years := regexp.MustCompile(`((?:created|updated)":")20\d\d`)
	for rest := state; ; {
		i := bytes.Index(rest, []byte(`{"v":1,`))
		if i < 0 {
			return state
		}
		rest = rest[i:]
		var record json.RawMessage
		if json.NewDecoder(bytes.NewReader(rest)).Decode(&record) == nil {
			n := copy(rest, years.ReplaceAll(record, []byte("${1}2099")))
			binary.BigEndian.PutUint32(rest[n:], crc32.Checksum(rest[:n], crc32.MakeTable(crc32.Castagnoli)))
		}
		rest = rest[1:]
	}
}
