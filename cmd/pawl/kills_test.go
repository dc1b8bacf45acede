package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"pawl/downloader/faultserver"
	"pawl/store"
)

// TestThousandKills kills downloads at random moments until they complete. After each kill
// it checks that every recorded range is in the part file with the right bytes. It kills
// 10 times, 50 times with PAWL_TEST_ALL=1, and 1,000 times with PAWL_TEST_LONG=1.
//
//	go test ./cmd/pawl -run ThousandKills -v -count=1 -seed 7
func TestThousandKills(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	kills := 10
	switch {
	case longTests():
		kills = 1000
	case allTests():
		kills = 50
	case raceEnabled:
		kills = 5
	}
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	k := &killer{T: t, srv: faultserver.New(), rand: rand.New(rand.NewPCG(seed, 0))}
	defer k.srv.Close()
	for k.kills < kills && !t.Failed() {
		k.download(kills)
	}
	t.Logf("%d kills, %d completed runs, %d files, %d held ranges checked; sent/size %.3f",
		k.kills, k.completed, k.files, k.ranges, float64(k.srv.Sent())/float64(k.size))
}

// A killer runs and kills downloads, and counts.
type killer struct {
	*testing.T
	srv      *faultserver.Server
	rand     *rand.Rand
	dir      string                      // directory of the current download
	expected map[string]faultserver.File // files of the current download, by name

	kills, completed, files, ranges int   // totals for the log; ranges are held ranges that were compared
	size                            int64 // total size of all files
	held                            int64 // recorded bytes of the current download
}

// download downloads one or two files with one command, which it kills until it completes or
// until most kills are reached.
func (k *killer) download(most int) {
	k.dir, k.expected = k.TempDir(), make(map[string]faultserver.File)
	args := append([]string{}, testWaits...)
	var size int64
	for range 1 + k.rand.IntN(2) {
		name := fmt.Sprintf("%d.bin", k.files)
		f := faultserver.NewFile(2<<20+k.rand.Int64N(10<<20), k.rand.Uint64N(1<<40))
		k.srv.Put(name, f)
		k.expected[name] = f
		k.files++
		size += f.Size
		args = append(args, k.srv.URL+"/"+name)
	}
	k.size += size
	for k.held = 0; ; {
		k.srv.Set(faultserver.Rate(32 << 20))
		cmd := pawlCommand(k.dir, args...)
		if k.kills >= most || !k.kill(cmd, size-k.held) {
			k.finish(pawlCommand(k.dir, args...)) // once more, also if the last run completed by itself
			break
		}
		k.check()
	}
	os.RemoveAll(k.dir)
}

// kill runs cmd and kills it at a random moment. missing is about the number of bytes that
// are still to be downloaded. It reports false if cmd ended before the kill.
func (k *killer) kill(cmd *exec.Cmd, missing int64) bool {
	if err := cmd.Start(); err != nil {
		k.Fatal(err)
	}
	exited, done := make(chan struct{}), make(chan struct{})
	moment := k.moment(max(missing, 1))
	go func() {
		defer close(done)
		moment(exited)
		cmd.Process.Kill()
	}()
	stop := time.AfterFunc(hangLimit, func() {
		cmd.Process.Kill()
		k.Errorf("pawl %q did not end within %v", cmd.Args[1:], hangLimit)
	})
	cmd.Wait()
	close(exited)
	<-done
	stop.Stop()
	code := cmd.ProcessState.ExitCode()
	if code > 0 {
		k.Errorf("exit %d after %d kills", code, k.kills)
	}
	if code == -1 {
		k.kills++
	}
	return code == -1
}

// moment returns a function that waits until a random moment of a run: its start, any time,
// any byte, or its end with the last commit and the rename. missing is as in kill.
func (k *killer) moment(missing int64) func(exited <-chan struct{}) {
	sent := k.srv.Sent()
	after := func(n int64, d time.Duration) func(<-chan struct{}) {
		return func(exited <-chan struct{}) {
			if n == 0 || k.srv.WaitSent(sent+n, exited) {
				time.Sleep(d)
			}
		}
	}
	upTo := func(d time.Duration) time.Duration { return time.Duration(k.rand.Int64N(int64(d))) }
	switch k.rand.IntN(6) {
	case 0:
		return after(0, upTo(40*time.Millisecond))
	case 1, 2:
		return after(0, upTo(400*time.Millisecond))
	case 3, 4:
		return after(1+k.rand.Int64N(missing), 0)
	}
	return after(missing, upTo(12*time.Millisecond))
}

// finish runs cmd, which must succeed, and checks the files.
func (k *killer) finish(cmd *exec.Cmd) {
	stop := time.AfterFunc(hangLimit, func() { cmd.Process.Kill() })
	defer stop.Stop()
	if out, err := cmd.CombinedOutput(); err != nil {
		k.Errorf("after %d kills: %v\n%s", k.kills, err, out)
	}
	k.completed++
	k.check()
	for name, f := range k.expected {
		if !hasContent(filepath.Join(k.dir, name), f) {
			k.Errorf("%s does not have the served bytes", name)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(k.dir, "*.part*")); len(left) > 0 {
		k.Errorf("left over: %q", left)
	}
}

// check compares the records with the disk: all held ranges must be in the part files, and
// no incomplete file may have its final name. It also sums up the held bytes.
func (k *killer) check() {
	state := filepath.Join(k.dir, "state", "pawl")
	if _, err := os.Lstat(filepath.Join(state, "pawl.db")); err != nil {
		return // killed before pawl created the state file
	}
	st, err := store.Open(state, store.Options{Warn: func(s string) { k.Errorf("warning: %s", s) }})
	if err != nil {
		k.Fatal(err)
	}
	records, err := st.Unfinished()
	if err != nil {
		k.Fatal(err)
	}
	k.held = 0
	for _, rec := range records {
		k.held += rec.Held.Len()
		f := k.expected[filepath.Base(rec.Target)]
		if _, err := os.Lstat(rec.Target); err == nil || rec.State == store.Done {
			if !hasContent(rec.Target, f) {
				k.Errorf("after %d kills: %s (%s) does not have the served bytes", k.kills, rec.Target, rec.State)
			}
			continue
		}
		for r := range rec.Held.All() {
			k.ranges++
			if !hasRange(rec.Part(), f, r.Off, r.End) {
				k.Errorf("after %d kills: %s lacks bytes of %v, which is recorded as held", k.kills, rec.Part(), r)
			}
		}
	}
	for name, f := range k.expected { // also the files without a record
		path := filepath.Join(k.dir, name)
		if _, err := os.Lstat(path); err == nil && !hasContent(path, f) {
			k.Errorf("after %d kills: %s does not have the served bytes", k.kills, path)
		}
	}
}

// hasRange reports whether the file at path has the bytes [off, end) of f.
func hasRange(path string, f faultserver.File, off, end int64) bool {
	part, err := os.Open(path)
	if err != nil {
		return false
	}
	defer part.Close()
	got, want := make([]byte, 256<<10), make([]byte, 256<<10)
	for ; off < end; off += int64(len(got)) {
		n := min(int64(len(got)), end-off)
		if _, err := part.ReadAt(got[:n], off); err != nil && err != io.EOF {
			return false
		}
		f.ReadAt(want[:n], off)
		if string(got[:n]) != string(want[:n]) {
			return false
		}
	}
	return true
}
