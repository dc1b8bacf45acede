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

// states are damaged state files, and processes that share a state file.
var states = slices.Concat(damagedStates, scannedDamage, sharedStates, linuxStates)

// damagedState returns a hazard in which do damages the state file after a kill. pawl must
// download the file. If aside is set, it must also rename the damaged state file and warn.
func damagedState(name string, aside bool, do func(tr *testRun, path string)) hazard {
	return hazard{name: name, run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		tr.killOnceHeld(3 << 20)
		do(tr, tr.statePath())
		spoiled, _ := os.ReadFile(tr.statePath())
		o := tr.runPawl("-x", "1", tr.fileURL()) // no bytes are sent in vain
		o.wantDownloaded("f.bin", f)
		o.wantNoCrash()
		if aside {
			o.wantStderrAny("the state file was damaged")
			kept, _ := filepath.Glob(tr.statePath() + ".*")
			if !slices.ContainsFunc(kept, func(path string) bool { return fileEquals(path, spoiled) }) {
				tr.Errorf("the damaged state file was not kept: %q", kept)
			}
		}
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(2.1)
		tr.markMet()
	}}
}

// damagedStates are changes of the state file between two runs, and during one.
var damagedStates = []hazard{
	damagedState("states: truncated to half", false, func(tr *testRun, path string) { must(tr, os.Truncate(path, int64(len(tr.readFile(path))/2))) }),
	damagedState("states: truncated to one byte", true, func(tr *testRun, path string) { must(tr, os.Truncate(path, 1)) }),
	damagedState("states: truncated to one page", true, func(tr *testRun, path string) { must(tr, os.Truncate(path, 4096)) }),
	damagedState("states: emptied", true, func(tr *testRun, path string) { must(tr, os.Truncate(path, 0)) }),
	damagedState("states: zeroed", true, func(tr *testRun, path string) { tr.writeFile(path, make([]byte, len(tr.readFile(path)))) }),
	damagedState("states: random bytes", true, func(tr *testRun, path string) { tr.writeFile(path, tr.randomBytes(int64(len(tr.readFile(path))))) }),
	damagedState("states: replaced by text", true, func(tr *testRun, path string) { tr.writeFile(path, []byte("<html>no\n")) }),
	damagedState("states: replaced by long text", true, func(tr *testRun, path string) { tr.writeFile(path, bytes.Repeat([]byte("no\n"), 30000)) }),
	damagedState("states: deleted", false, func(tr *testRun, path string) { must(tr, os.Remove(path)) }),
	damagedState("states: directory deleted", false, func(tr *testRun, path string) { must(tr, os.RemoveAll(filepath.Dir(path))) }),
	{name: "states: from a newer version", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		tr.killOnceHeld(3 << 20)
		old := tr.readFile(tr.statePath())
		newer := regexp.MustCompile(`version\d`).ReplaceAll(old, []byte("version9")) // no page has a checksum
		if bytes.Equal(old, newer) {
			tr.Fatal("the state file contains no version")
		}
		tr.writeFile(tr.statePath(), newer)
		wantStateRefused(tr, tr.statePath())
		tr.writeFile(tr.statePath(), old)
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
	}},
	{name: "states: replaced by a directory", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		tr.killOnceHeld(3 << 20)
		must(tr, os.Remove(tr.statePath()))
		must(tr, os.Mkdir(tr.statePath(), 0o700))
		tr.writeFile(filepath.Join(tr.statePath(), "inside"), []byte("mine"))
		wantStateRefused(tr, tr.statePath())
		must(tr, os.RemoveAll(tr.statePath()))
		tr.runPawl().wantDownloaded("f.bin", f)
	}},
	{name: "states: directory is a file", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		dir := filepath.Dir(tr.statePath())
		must(tr, os.MkdirAll(filepath.Dir(dir), 0o700))
		tr.writeFile(dir, []byte("mine"))
		wantStateRefused(tr, dir)
		must(tr, os.Remove(dir))
		tr.runPawl().wantDownloaded("f.bin", f)
	}},
	{name: "states: times in the future", run: func(tr *testRun) { // like a clock that has been set back
		f := tr.serveFile(16 << 20)
		tr.killOnceHeld(8 << 20)
		tr.writeFile(tr.statePath(), moveTimesToFuture(tr.readFile(tr.statePath())))
		must(tr, os.Chtimes(tr.partPath(), time.Time{}, time.Now().AddDate(10, 0, 0)))
		o := tr.runPawl()
		o.wantDownloaded("f.bin", f)
		if bytes.Contains([]byte(o.stderr), []byte("-")) {
			tr.Errorf("stderr contains a minus sign, perhaps of a negative time")
		}
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
		tr.markMet()
	}},
	{name: "states: deleted during the run", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Rate(32 << 20))
		o := tr.runAndDoPaused(6<<20, func(*pawlProcess) { os.Remove(tr.statePath()) })
		tr.srv.Set()
		o.wantRecovery(f)
		tr.dropResults()
		tr.markMet()
	}},
	{name: "states: directory deleted during the run", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Rate(32 << 20))
		o := tr.runAndDoPaused(6<<20, func(*pawlProcess) { os.RemoveAll(filepath.Dir(tr.statePath())) })
		tr.srv.Set()
		o.wantRecovery(f)
		tr.dropResults()
		tr.markMet()
	}},
	{name: "states: truncated during the run", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Rate(32 << 20))
		o := tr.runAndDoPaused(6<<20, func(*pawlProcess) { os.Truncate(tr.statePath(), 9000) })
		tr.srv.Set()
		o.wantRecovery(f)
		tr.dropResults()
		tr.markMet()
	}},
}

// wantStateRefused checks that pawl refuses to run, at once and without a request, and leaves
// path as it is.
func wantStateRefused(tr *testRun, path string) {
	tr.Helper()
	check, requests := tr.untouched(path, tr.partPath()), len(tr.srv.Requests())
	o := tr.runPawl()
	o.wantFailure(3)
	o.wantRefusal(3)
	check()
	if len(tr.srv.Requests()) != requests {
		tr.Errorf("pawl sent a request")
	}
	tr.markMet()
}

// damageRepeatedly downloads a part of f.bin once. Then, as often as n returns for the size
// of the state file, it restores state and part file, calls do to damage them, and checks
// that pawl recovers. do returns a description for the log.
func damageRepeatedly(tr *testRun, n func(size int64) int, do func(i int, size int64) (what string)) {
	tr.Helper()
	f := tr.serveFile(4<<20 + 12345)
	tr.killOnceHeld(2 << 20)
	state, part := tr.readFile(tr.statePath()), tr.readFile(tr.partPath())
	info, err := os.Stat(tr.partPath())
	must(tr, err)
	for i := range n(int64(len(state))) {
		must(tr, os.RemoveAll(filepath.Join(tr.dir, "state")))
		old, _ := filepath.Glob(filepath.Join(tr.dir, "f.bin*"))
		for _, path := range old {
			must(tr, os.Remove(path))
		}
		must(tr, os.MkdirAll(filepath.Dir(tr.statePath()), 0o700))
		tr.writeFile(tr.statePath(), state)
		tr.writeFile(tr.partPath(), part)
		must(tr, os.Chtimes(tr.partPath(), time.Time{}, info.ModTime()))
		tr.Logf("round %d: %s", i, do(i, int64(len(state))))
		tr.runPawl().wantRecovery(f)
	}
	tr.dropResults()
	tr.markMet()
}

// rounds returns how often something is repeated: n times with PAWL_TEST_LONG=1, otherwise a
// quarter as often.
func rounds(n int) int {
	if longTests() {
		return n
	}
	return n / 4
}

// damagePages overwrites each page of the state file, or a quarter of them without
// PAWL_TEST_LONG=1.
func damagePages(tr *testRun, page func() []byte) {
	tr.Helper()
	first := tr.rand.IntN(4)
	damageRepeatedly(tr, func(size int64) int { return rounds(int(size / 4096)) }, func(i int, size int64) string {
		at := int64(i)
		if n := rounds(int(size / 4096)); int64(n) < size/4096 {
			at = int64(4*i + first)
		}
		tr.overwriteAt(tr.statePath(), page(), at*4096)
		return fmt.Sprintf("page %d", at)
	})
}

// scannedDamage are hazards that damage many places, one after another.
var scannedDamage = []hazard{
	{name: "states: each page zeroed", run: func(tr *testRun) {
		damagePages(tr, func() []byte { return make([]byte, 4096) })
	}},
	{name: "states: each page of random bytes", run: func(tr *testRun) {
		damagePages(tr, func() []byte { return tr.randomBytes(4096) })
	}},
	{name: "states: one bit flipped", run: func(tr *testRun) {
		damageRepeatedly(tr, func(int64) int { return rounds(40) }, func(i int, size int64) string {
			data, at := tr.readFile(tr.statePath()), tr.rand.Int64N(size)
			for i%4 > 0 && data[at] == 0 { // three of four times in a byte that is not zero
				at = tr.rand.Int64N(size)
			}
			tr.flipBit(tr.statePath(), at)
			return fmt.Sprintf("a bit of byte %d of the state file", at)
		})
	}},
	{name: "states: one bit flipped in the part file", run: func(tr *testRun) {
		damageRepeatedly(tr, func(int64) int { return rounds(10) }, func(int, int64) string {
			at := tr.randomHeldOffset(tr.heldRanges(), 1)
			tr.flipBit(tr.partPath(), at)
			return fmt.Sprintf("a bit of byte %d of the part file", at)
		})
	}},
}

// sharedStates are several processes with one state file.
var sharedStates = []hazard{
	{name: "states: two processes for one file", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		first, second := tr.startPawl(), tr.startPawl()
		a, b := first.wait(), second.wait()
		if a.code > b.code {
			a, b = b, a
		}
		a.wantDownloaded("f.bin", f)
		if b.code != 3 {
			tr.Errorf("exit %d of the second process, want 3", b.code)
		}
		b.wantStderrAny("another pawl")
		b.wantNoCrash()
		tr.wantSentRatio(1.6) // the second process may have sent a request, too
		tr.markMet()
	}},
	{name: "states: a second process for one file, later", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		tr.runAndDoPaused(3<<20, func(*pawlProcess) {
			tr.runPawl().wantRefusal(3) // while the first process waits
		}).wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
		tr.markMet()
	}},
	{name: "states: eight processes without a state", run: func(tr *testRun) { runEightProcesses(tr) }},
	{name: "states: eight processes with a state", run: func(tr *testRun) {
		f := tr.serveFile(1 << 20)
		tr.runPawl().wantDownloaded("f.bin", f)
		runEightProcesses(tr)
	}},
	{name: "states: eight processes with a damaged state", run: func(tr *testRun) {
		f := tr.serveFile(1 << 20)
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.writeFile(tr.statePath(), []byte("no"))
		runEightProcesses(tr)
	}},
	{name: "states: eight processes, half of them killed", run: func(tr *testRun) {
		files := make(map[string]faultserver.File)
		var all []*pawlProcess
		tr.srv.Set(faultserver.Rate(48 << 20))
		for i := range 8 {
			name := fmt.Sprintf("%d.bin", i)
			files[name] = tr.putFile(name, faultserver.NewFile(4<<20, tr.rand.Uint64N(1<<40)))
			all = append(all, tr.startPawl(tr.srv.URL+"/"+name))
		}
		tr.srv.WaitSent(12<<20, nil)
		for _, r := range all[:4] {
			r.cmd.Process.Signal(syscall.SIGKILL)
		}
		for _, r := range all {
			r.wait()
		}
		for name, f := range files {
			tr.runPawl(tr.srv.URL+"/"+name).wantDownloaded(name, f)
		}
		tr.markMet()
	}},
	{name: "states: listed again and again", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Rate(12 << 20))
		lists := 0
		tr.runAndDo(2<<20, func(r *pawlProcess) {
			for ; ; lists++ {
				select {
				case <-r.exited:
					return
				default:
				}
				if out, err := tr.pawlCmd([]string{"list", "--all"}).CombinedOutput(); err != nil || !bytes.Contains(out, []byte("f.bin")) {
					tr.Errorf("pawl list: %v\n%s", err, out)
					return
				}
			}
		}).wantDownloaded("f.bin", f)
		if lists == 0 {
			tr.Errorf("pawl list never ran during the download")
		}
		tr.wantSentRatio(1.45)
		tr.markMet()
	}},
}

// runEightProcesses runs eight processes at once, each of which downloads a file of its own.
func runEightProcesses(tr *testRun) {
	tr.Helper()
	var all []*pawlProcess
	var files []faultserver.File
	for i := range 8 {
		name := fmt.Sprintf("%d.bin", i)
		files = append(files, tr.putFile(name, faultserver.NewFile(2<<20, tr.rand.Uint64N(1<<40))))
		all = append(all, tr.startPawl(tr.srv.URL+"/"+name))
	}
	for i, r := range all {
		r.wait().wantDownloaded(fmt.Sprintf("%d.bin", i), files[i])
	}
	out, err := tr.pawlCmd([]string{"list", "--all"}).Output()
	if err != nil || bytes.Count(out, []byte(".bin")) < 8 {
		tr.Errorf("pawl list does not show all eight files: %v\n%s", err, out)
	}
	tr.markMet()
}

// moveTimesToFuture moves the times of all records in a state file to the year 2099, in
// place. A record is JSON followed by its CRC-32C.
func moveTimesToFuture(state []byte) []byte {
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
