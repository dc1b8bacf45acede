package main

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pawl/chunk"
	"pawl/downloader/faultserver"
)

// This file has the steps that several groups of hazards share: to kill pawl once bytes are
// recorded, to change the server during a download, to damage files, and to check what is
// left.

// statePath returns the path of pawl's state file.
func (tr *testRun) statePath() string { return filepath.Join(tr.dir, "state", "pawl", "pawl.db") }

// partPath returns the path of the part file of f.bin.
func (tr *testRun) partPath() string { return filepath.Join(tr.dir, "f.bin.part") }

// runAndDo runs pawl and calls do when the server has sent n more bytes. The server goes
// on sending meanwhile.
func (tr *testRun) runAndDo(n int64, do func(*pawlProcess), args ...string) runResult {
	tr.Helper()
	return tr.runBeside(func(r *pawlProcess, n int64) {
		if tr.srv.WaitSent(n, r.exited) {
			do(r)
		}
	}, n, args)
}

// runAndDoPaused is runAndDo with a server that sends nothing until do returns.
func (tr *testRun) runAndDoPaused(n int64, do func(*pawlProcess), args ...string) runResult {
	tr.Helper()
	return tr.runBeside(func(r *pawlProcess, n int64) { tr.srv.DoAt(n, r.exited, func() { do(r) }) }, n, args)
}

// runBeside runs pawl and, in another goroutine, do. do gets the number of bytes that the
// server will have sent in all after n more. runBeside waits for both.
func (tr *testRun) runBeside(do func(*pawlProcess, int64), n int64, args []string) runResult {
	tr.Helper()
	n += tr.srv.Sent()
	r := tr.startPawl(args...)
	done := make(chan struct{})
	go func() {
		defer close(done)
		do(r, n)
	}()
	o := r.wait()
	<-done
	return o
}

// heldRanges returns the held ranges of f.bin that the state file records.
func (tr *testRun) heldRanges() (held chunk.Set) {
	tr.Helper()
	for _, r := range tr.unfinished() {
		if filepath.Base(r.Target) == "f.bin" {
			held = r.Held
		}
	}
	return held
}

// killOnceHeld downloads f.bin, kills pawl when at least n bytes are recorded, and returns the
// held ranges. Afterwards no fault is set.
func (tr *testRun) killOnceHeld(n int64, args ...string) chunk.Set {
	tr.Helper()
	tr.srv.Set(faultserver.Rate(24 << 20))
	tr.killOnceRecorded(n, args...)
	tr.srv.Set()
	return tr.heldRanges()
}

// randomHeldOffset returns the offset of n contiguous held bytes, chosen at random.
func (tr *testRun) randomHeldOffset(held chunk.Set, n int64) int64 {
	ranges := slices.DeleteFunc(slices.Collect(held.All()), func(r chunk.Range) bool { return r.Len() < n })
	if len(ranges) == 0 {
		tr.Fatalf("no range of %d bytes is held: %v", n, held)
	}
	r := ranges[tr.rand.IntN(len(ranges))]
	return r.Off + tr.rand.Int64N(r.Len()-n+1)
}

// must ends the test if err is not nil.
func must(tr *testRun, err error) {
	tr.Helper()
	if err != nil {
		tr.Fatal(err)
	}
}

// writeFile writes data to the file at path, which it creates or replaces.
func (tr *testRun) writeFile(path string, data []byte) {
	tr.Helper()
	must(tr, os.WriteFile(path, data, 0o600))
}

// readFile returns the bytes of a file.
func (tr *testRun) readFile(path string) []byte {
	tr.Helper()
	data, err := os.ReadFile(path)
	must(tr, err)
	return data
}

// overwriteAt writes data at an offset of the file at path, which must exist.
func (tr *testRun) overwriteAt(path string, data []byte, off int64) {
	tr.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(tr, err)
	defer f.Close()
	_, err = f.WriteAt(data, off)
	must(tr, err)
}

// flipBit flips a random bit of the byte at an offset of the file at path.
func (tr *testRun) flipBit(path string, off int64) {
	tr.Helper()
	f, err := os.Open(path)
	must(tr, err)
	defer f.Close()
	b := []byte{0}
	_, err = f.ReadAt(b, off)
	must(tr, err)
	b[0] ^= 1 << tr.rand.IntN(8)
	tr.overwriteAt(path, b, off)
}

// randomBytes returns n random bytes.
func (tr *testRun) randomBytes(n int64) []byte {
	b := make([]byte, n)
	faultserver.NewFile(n, tr.rand.Uint64()).ReadAt(b, 0)
	return b
}

// describeTree describes the file at path, and everything below it if it is a directory:
// modes, sizes, checksums, times and link targets. Any change changes the description.
func describeTree(path string) string {
	var b strings.Builder
	filepath.WalkDir(path, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			fmt.Fprintln(&b, err)
			return nil
		}
		info, _ := d.Info()
		fmt.Fprintln(&b, path, info.Mode())
		switch info.Mode().Type() {
		case fs.ModeSymlink:
			to, _ := os.Readlink(path)
			fmt.Fprintln(&b, "to", to)
		case 0:
			data, _ := os.ReadFile(path)
			fmt.Fprintf(&b, "%d %08x %v\n", len(data), crc32.ChecksumIEEE(data), info.ModTime())
		}
		return nil
	})
	return b.String()
}

// untouched describes the paths, and returns a function that checks that they are still
// the same.
func (tr *testRun) untouched(paths ...string) func() {
	before := make([]string, len(paths))
	for i, path := range paths {
		before[i] = describeTree(path)
	}
	return func() {
		tr.Helper()
		for i, path := range paths {
			if now := describeTree(path); now != before[i] {
				tr.Errorf("%s has changed from\n%sto\n%s", path, before[i], now)
			}
		}
	}
}

// wantRefusal checks that pawl failed with one of the codes, with an error and without a
// crash.
func (o runResult) wantRefusal(codes ...int) {
	tr := o.tr
	tr.Helper()
	if !slices.Contains(codes, o.code) {
		tr.Errorf("exit %d, want one of %d", o.code, codes)
	}
	o.wantNoCrash()
}

// wantNoCrash checks that pawl printed no stack trace or other sign of a crash, and that
// it printed an error if it failed.
func (o runResult) wantNoCrash() {
	tr := o.tr
	tr.Helper()
	if o.code > 0 && !strings.Contains(o.stderr, "pawl: error: ") {
		tr.Errorf("pawl printed no error")
	}
	for _, inside := range []string{"goroutine ", "panic", "fatal error", "SIGBUS", "SIGSEGV", "runtime error"} {
		if strings.Contains(o.stderr, inside) {
			tr.Errorf("stderr contains %q", inside)
		}
	}
}

// wantStderrAny checks that stderr contains at least one of the words.
func (o runResult) wantStderrAny(words ...string) {
	o.tr.Helper()
	if !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(o.stderr, w) }) {
		o.tr.Errorf("stderr contains none of %q", words)
	}
}

// wantRecovery checks what must hold however the state or the part file is damaged: pawl
// succeeds, or fails with code 3 and an error, and the next run succeeds.
func (o runResult) wantRecovery(f faultserver.File) {
	tr := o.tr
	tr.Helper()
	o.wantNoCrash()
	switch o.code {
	case 0:
		o.wantDownloaded("f.bin", f)
	case 3:
		o.wantFailure(3)
	default:
		tr.Errorf("exit %d, want 0 or 3", o.code)
	}
	if strings.Contains(o.stderr, "written by a newer pawl") {
		return // one flipped bit can change the version, and then pawl must not touch the file
	}
	again := tr.runPawl()
	again.wantNoCrash()
	again.wantDownloaded("f.bin", f)
}

// dropResults forgets all results of pawl, so that the golden file does not contain
// errors that depend on chance.
func (tr *testRun) dropResults() { tr.results = nil }

// wantAtMostOneRequest checks that the server got at most one request after the first n.
func (tr *testRun) wantAtMostOneRequest(n int) {
	tr.Helper()
	if got := len(tr.srv.Requests()) - n; got > 1 {
		tr.Errorf("%d requests, want at most 1", got)
	}
}

// fileEquals reports whether the file at path has exactly these bytes.
func fileEquals(path string, data []byte) bool {
	got, err := os.ReadFile(path)
	return err == nil && bytes.Equal(got, data)
}

// killHalfwayUnder is killHalfway on a server with faults, which stay set afterwards.
func (tr *testRun) killHalfwayUnder(faults ...faultserver.Fault) {
	tr.Helper()
	tr.srv.Set(append(slices.Clone(faults), faultserver.Rate(32<<20))...)
	tr.killOnceRecorded(tr.halfway())
	tr.srv.Set(faults...)
}

// runWithChange runs pawl. When 1 MiB of a body has been sent it calls do, which changes
// the server, and cuts that body. The hazard is met by any request after the change. At
// the pace of firstConnRate the cut body is the first one, because pawl has not opened a
// second connection by then.
func (tr *testRun) runWithChange(do func(), pace faultserver.Fault, args ...string) runResult {
	tr.Helper()
	asked := make(chan int, 1)
	tr.srv.Set(faultserver.CutAt(1<<20, func() {
		do()
		asked <- len(tr.srv.Requests())
	}), pace)
	o := tr.runPawl(args...)
	select {
	case n := <-asked:
		tr.wantRequest(n, "after the change", func(faultserver.Request) bool { return true })
	default:
		tr.Errorf("no body reached 1 MiB, so nothing has changed")
	}
	return o
}

// firstConnRate limits the server so that it sends 1 MiB before pawl opens a second
// connection. It is 32 MiB/s for all connections together.
func firstConnRate() faultserver.Fault { return faultserver.Rate(32 << 20) }

// wantRequest marks the hazard as met if a request after the first n matches wanted.
// Otherwise the test fails. what completes the message "no request ...".
func (tr *testRun) wantRequest(n int, what string, wanted func(faultserver.Request) bool) {
	tr.Helper()
	if all := tr.srv.Requests(); n < 0 || !slices.ContainsFunc(all[min(n, len(all)):], wanted) {
		tr.Errorf("no request %s", what)
		return
	}
	tr.markMet()
}

// isLaterRange reports whether the request is for a range that does not start at byte 0.
func isLaterRange(r faultserver.Request) bool {
	return r.Range != "" && !strings.HasPrefix(r.Range, "bytes=0-")
}
