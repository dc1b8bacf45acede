package main

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"pawl/downloader/faultserver"
	"pawl/store"
)

// This file is the frame for the hazards, most of pawl's end-to-end tests.
//
// # What a hazard is
//
// A hazard is one thing that can go wrong with a download, and the one way in which pawl
// must end then. Examples: the server ignores Range, the disk becomes full, a kill -9
// hits halfway, a name from the server leaves the directory. A hazard runs the real
// program as a child process, against a fault server and in a directory of its own.
//
// # How the table works
//
// hazards concatenates the tables of all groups. Each group has a file of its own, named
// hazard_GROUP_test.go, and its names begin with the group: "lies: ranges ignored".
// TestHazards runs all of them in random order, several at once, and for each of them:
//
//  1. makes a testRun: a fault server, an empty directory, a random source;
//  2. calls the hazard's run, whose steps set faults, start pawl and check its results;
//  3. checks what must hold after every hazard: the hazard was met, and no file has its
//     final name without being a whole version of the served file;
//  4. compares the errors and hints that pawl printed with testdata/errors.golden.
//
// A hazard is met if a fault of the server has acted, as the server counts, or if the
// steps have called markMet. Without this check a hazard that stopped happening, for
// example because pawl now asks for another range, would pass forever.
//
// Random choices must come from testRun.rand, so that -seed repeats them.
//
// # How to add a hazard
//
// Add a row to the table of its group, and run it once with -update if pawl prints an
// error in it. Name the row after the fault, in plain English; -run uses the name. A
// complete row, which the README shows, too:
//
//	{name: "lies: ranges ignored on resume", run: func(tr *testRun) {
//		f := tr.serveFile(16 << 20)              // 16 MiB of random bytes as /f.bin
//		tr.killHalfway()                         // starts pawl, kills it about halfway
//		tr.srv.Set(faultserver.NoRanges)         // from now on, each response is a 200
//		tr.runPawl().wantDownloaded("f.bin", f)  // exit code 0, right bytes, no part file
//		tr.wantSentRatio(2)                      // the server sent at most twice the size
//	}},
//
// A hazard in which pawl must fail checks the exit code and what is kept:
//
//	tr.runPawl("--tries", "3", tr.fileURL()).wantFailure(4) // exit code 4, an error, no f.bin
//	tr.wantPartKept()                                       // f.bin.part and its record exist
//
// If the fault is not one of the server's, call tr.markMet() once it has happened. If the
// steps need root or another system, call requireOrSkip, or put the row into
// hazard_linux_test.go or hazard_unix_test.go. A new table must be added to hazards; a new
// promise of the README to promises_test.go.
//
// # How to be right on a slow machine
//
// Many hazards run at once, perhaps beside other programs, and pawl or the server may stand
// still for a second at any moment. So a hazard must not measure how long pawl takes:
//
//   - Count requests, connections and bytes at the server instead.
//   - If pawl must not wait for something, make that wait endless: a --stall-timeout of 10
//     minutes, or a server that sends nothing more until the second process has ended. A pawl
//     that waits then runs into hangLimit.
//   - Kill and change things at a byte and not at a time: killHalfway, killOnceHeld,
//     signalAt and runAndDoPaused hold the server there.
//   - Check sent bytes with wantSentRatio or reportExcess, which repeat the hazard before it fails.
//   - If pawl must time out, a timeout that also strikes in the wrong place must lead to the
//     same end.
//
// A lower limit of a time is allowed, because a slow machine only makes pawl later.
//
// # How to run them
//
//	go test ./cmd/pawl -run Hazards -v -count=1              runs all, and prints the table of results
//	go test ./cmd/pawl -run Hazards -v -count=1 -seed 7      repeats the order and choices of seed 7
//	go test ./cmd/pawl -run Hazards/lies -v                  runs one group; a full name runs one hazard
//	go test ./cmd/pawl -run Hazards -update                  rewrites testdata/errors.golden

// A hazard is one row of the table.
type hazard struct {
	name string         // "group: fault", unique
	run  func(*testRun) // the steps
}

// hazards returns all rows.
func hazards() []hazard {
	return slices.Concat(lies, breaks, limits, changes, links, names, disks, states, signalHazards, codings, rangesRefused, silences, digests, serverDigests, evidence, origins, trickles, partNames, owners, space, homes, treeLinks, sizes, servers, present, leftovers, repairs, tlsHazards, framing, pieceHazards, credentialHazards, plantedHazards)
}

var (
	seedFlag   = flag.Uint64("seed", 0, "seed for the order and the random choices of the hazards; 0 for a random one")
	updateFlag = flag.Bool("update", false, "rewrite testdata/errors.golden")
)

// maxConcurrent is how many hazards run at once. Most of them wait for a timer or a slow
// server, so with half as many two cores are idle for some of the time.
const maxConcurrent = 12

// hangLimit is the time after which something that has not happened counts as never
// happening: a run of pawl that has not ended, or a file that has not appeared. It is many
// times what the slowest machine needs, so that it only turns a hang into a failure.
const hangLimit = 2 * time.Minute

// TestHazards runs hazards in random order: those that -run chooses, or all with
// PAWL_TEST_ALL=1. Otherwise it leaves out the variants, and runs a twentieth of the rest, another
// twentieth each time.
func TestHazards(t *testing.T) {
	t.Parallel()
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	all := hazards()
	chosen := chosenTests()
	if !chosen {
		all = withoutVariants(all)
	}
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if !chosen {
		all = all[:len(all)/20]
	}
	runs := make([]*testRun, len(all))
	var wg sync.WaitGroup
	concurrent := maxConcurrent
	if raceEnabled { // they need CPU time then
		concurrent /= 2
	}
	slots := make(chan struct{}, concurrent)
	for i, hz := range all {
		slots <- struct{}{}
		wg.Go(func() {
			runs[i] = runHazard(t, hz, seed)
			<-slots
		})
	}
	wg.Wait()
	printTable(t, runs)
	checkGolden(t, runs)
}

// withoutVariants returns the first of the hazards whose names are the same up to a comma. For
// example, it returns "links: a single-use link", and leaves out "links: a single-use link, then
// 403".
func withoutVariants(all []hazard) (examples []hazard) {
	seen := make(map[string]bool)
	for _, hz := range all {
		if kind, _, _ := strings.Cut(hz.name, ","); !seen[kind] {
			seen[kind] = true
			examples = append(examples, hz)
		}
	}
	return examples
}

// maxAttempts is how often a hazard may exceed a limit of reportExcess. One attempt in twenty does
// on a machine with three times as many programs as cores.
const maxAttempts = 3

// runHazard runs one hazard as a subtest. The result has ran unset if -run excludes it.
func runHazard(t *testing.T, hz hazard, seed uint64) (tr *testRun) {
	tr = &testRun{hazard: hz}
	begun := time.Now()
	t.Run(hz.name, func(t *testing.T) {
		defer func() {
			tr.failed, tr.skipped = t.Failed(), t.Skipped()
			tr.elapsed = time.Since(begun)
		}()
		for left := maxAttempts - 1; ; left-- {
			tr = &testRun{hazard: hz, ran: true, attemptsLeft: left}
			tr.setUp(t, seed+uint64(left))
			hz.run(tr)
			tr.checkEnd()
			if !tr.exceeded {
				return
			}
		}
	})
	return tr
}

// A testRun is one execution of a hazard: a server, a directory to download into, and the
// results of pawl. It belongs to the goroutine that runs the hazard. pawl's state is
// below the directory.
type testRun struct {
	hazard
	*testing.T
	srv  *faultserver.Server
	dir  string     // working directory of pawl
	rand *rand.Rand // source of all random choices, so that -seed repeats them
	env  []string   // additional variables of pawl's environment

	served    map[string][]faultserver.File // all versions ever served, by name
	fileSize  int64                         // size of the last version served, for wantSentRatio
	markedMet bool                          // set by markMet
	started   atomic.Int32                  // number of runs of pawl that have begun
	results   []runResult                   // of all runs of pawl that have ended, in order
	checked   map[string]int32              // value of started, by name of the files that wantDownloaded has found whole when no pawl was running

	attemptsLeft int  // how often the hazard can be repeated after this attempt
	exceeded     bool // set by reportExcess if the hazard is to be repeated

	ran, failed, skipped bool
	elapsed, cpu         time.Duration // cpu is the time of pawl's processes
}

// A runResult is how one run of pawl ended.
type runResult struct {
	tr             *testRun
	args           []string // arguments, without the program
	code           int      // exit code; -1 if a signal ended the process
	stdout, stderr string
	elapsed, cpu   time.Duration
}

// setUp starts the server and makes the directory. It must be called first.
func (tr *testRun) setUp(t *testing.T, seed uint64) {
	tr.T = t
	tr.srv = faultserver.New()
	t.Cleanup(tr.srv.Close)
	tr.dir = t.TempDir()
	tr.rand = rand.New(rand.NewPCG(seed, uint64(crc32.ChecksumIEEE([]byte(tr.name)))))
	tr.served, tr.checked = make(map[string][]faultserver.File), make(map[string]int32)
}

// checkEnd checks what must hold after every hazard: the hazard was met, and each file
// that has its final name is a whole version of the served file. A hazard in which pawl
// must leave a foreign file at the target deletes the name from tr.served.
func (tr *testRun) checkEnd() {
	tr.Helper()
	if tr.srv.FaultCount() == 0 && !tr.markedMet {
		tr.Errorf("the hazard was not met")
	}
	for name, versions := range tr.served {
		path := filepath.Join(tr.dir, name)
		if runs := tr.checked[name]; runs > 0 && runs == tr.started.Load() {
			continue // wantDownloaded has compared the whole file
		}
		if _, err := os.Lstat(path); err == nil && !slices.ContainsFunc(versions, func(f faultserver.File) bool { return hasContent(path, f) }) {
			tr.Errorf("%s exists and is not a whole version of the served file", name)
		}
	}
}

// markMet records that the hazard was met. It must be called if the fault is not one of
// the server's, because then the server does not count it.
func (tr *testRun) markMet() { tr.markedMet = true }

// putFile serves f as name from now on, and returns f.
func (tr *testRun) putFile(name string, f faultserver.File) faultserver.File {
	tr.served[name] = append(tr.served[name], f)
	tr.fileSize = f.Size
	tr.srv.Put(name, f)
	return f
}

// serveFile serves size random bytes as f.bin, other bytes with each call.
func (tr *testRun) serveFile(size int64) faultserver.File {
	return tr.putFile("f.bin", faultserver.NewFile(size, tr.rand.Uint64N(1<<40)))
}

// fileURL returns the URL of f.bin.
func (tr *testRun) fileURL() string { return tr.srv.URL + "/f.bin" }

// testWaits are options that make retries come soon, and keep pawl from taking a pause of
// the machine for a silence of the server. Hazards of silent servers shorten
// --stall-timeout.
var testWaits = []string{"--retry-wait", "20ms", "--retry-max-wait", "200ms", "--stall-timeout", "1m", "--connect-timeout", "1m"}

// pawlCmd returns the command that runs pawl with testWaits and args. Without arguments it
// downloads f.bin.
func (tr *testRun) pawlCmd(args []string) *exec.Cmd {
	switch {
	case len(args) == 0:
		args = append(slices.Clone(testWaits), tr.fileURL())
	case slices.Contains([]string{"list", "remove", "report"}, args[0]):
	case slices.Contains([]string{"resume", "mirror", "info", "verify"}, args[0]):
		args = append([]string{args[0]}, append(slices.Clone(testWaits), args[1:]...)...)
	default:
		args = append(slices.Clone(testWaits), args...)
	}
	cmd := pawlCommand(tr.dir, args...)
	cmd.Env = append(cmd.Env, tr.env...)
	return cmd
}

// runPawl runs pawl to its end. After hangLimit it kills pawl and the test fails.
func (tr *testRun) runPawl(args ...string) runResult {
	tr.Helper()
	return tr.startPawl(args...).wait()
}

// A pawlProcess is a running pawl. wait must be called exactly once.
type pawlProcess struct {
	tr        *testRun
	cmd       *exec.Cmd
	out       [2]bytes.Buffer // stdout and stderr; may be read after exited is closed
	started   time.Time
	killTimer *time.Timer   // kills pawl after hangLimit
	exited    chan struct{} // closed by wait
}

// startPawl starts pawl with the arguments of pawlCmd.
func (tr *testRun) startPawl(args ...string) *pawlProcess {
	tr.Helper()
	return tr.startCommand(tr.pawlCmd(args))
}

// startCommand starts a command that the caller has made with pawlCmd and changed. It
// captures stdout and stderr unless the command has writers for them.
func (tr *testRun) startCommand(cmd *exec.Cmd) *pawlProcess {
	tr.Helper()
	r := &pawlProcess{tr: tr, cmd: cmd, started: time.Now(), exited: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &r.out[0]
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &r.out[1]
	}
	tr.started.Add(1)
	if err := cmd.Start(); err != nil {
		tr.Fatal(err)
	}
	r.killTimer = time.AfterFunc(hangLimit, func() { cmd.Process.Kill() })
	return r
}

// wait waits for the end of pawl, and records and returns its result.
func (r *pawlProcess) wait() runResult {
	r.tr.Helper()
	err := r.cmd.Wait()
	close(r.exited)
	if !r.killTimer.Stop() {
		r.tr.Errorf("pawl %q did not end within %v", r.cmd.Args[1:], hangLimit)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.tr.Fatal(err)
	}
	state := r.cmd.ProcessState
	o := runResult{r.tr, r.cmd.Args[1:], state.ExitCode(), r.out[0].String(), r.out[1].String(), time.Since(r.started), state.UserTime() + state.SystemTime()}
	r.tr.Logf("pawl %q: exit %d after %v\n%s", o.args, o.code, o.elapsed.Round(time.Millisecond), o.stderr)
	r.tr.results, r.tr.cpu = append(r.tr.results, o), r.tr.cpu+o.cpu
	return o
}

// signalAt runs pawl and sends it a signal when the server has sent n more bytes. The
// server sends nothing more until pawl has ended.
func (tr *testRun) signalAt(n int64, sig syscall.Signal, args ...string) runResult {
	tr.Helper()
	return tr.runAndDoPaused(n, func(r *pawlProcess) { r.signalAndWait(sig) }, args...)
}

// signalAndWait sends pawl a signal and waits until another goroutine's wait has returned.
func (r *pawlProcess) signalAndWait(sig syscall.Signal) {
	r.cmd.Process.Signal(sig)
	<-r.exited
}

// killHalfway downloads f.bin and kills pawl when between a half and three quarters of the
// file are recorded. Afterwards no fault is set.
func (tr *testRun) killHalfway(args ...string) {
	tr.Helper()
	tr.srv.Set(faultserver.Rate(32 << 20))
	tr.killOnceRecorded(tr.halfway(), args...)
	tr.srv.Set()
}

// halfway returns a random number of bytes between a half and three quarters of the file.
func (tr *testRun) halfway() int64 { return tr.fileSize/2 + tr.rand.Int64N(tr.fileSize/4) }

// maxUnrecorded is how many of the sent bytes may be unrecorded when killOnceRecorded kills
// pawl: 512 KiB that are not worth a commit yet, and bytes that were sent in vain when a range
// was divided.
const maxUnrecorded = 1 << 20

// killOnceRecorded runs pawl and kills it when n bytes of unfinished files are recorded. The
// server has sent maxUnrecorded more then, so a kill costs as few bytes on a slow machine as
// on a fast one.
func (tr *testRun) killOnceRecorded(n int64, args ...string) {
	tr.Helper()
	o := tr.runBeside(func(r *pawlProcess, more int64) {
		holdUntil(tr.srv, more, r.exited, func() bool { return tr.recordedBytes() >= n })
		r.signalAndWait(syscall.SIGKILL)
		tr.srv.Open()
	}, n+maxUnrecorded-tr.recordedBytes(), args)
	if got := tr.recordedBytes(); o.code != -1 || got < n {
		tr.Fatalf("got exit %d and %d recorded bytes, want a kill and at least %d", o.code, got, n)
	}
}

// holdUntil holds the server at n bytes in all and waits until ready returns true or exited is
// closed. It lets the server send a little more every three seconds, because more bytes than
// expected may have been sent in vain. The server is still held when holdUntil returns.
func holdUntil(srv *faultserver.Server, n int64, exited <-chan struct{}, ready func() bool) {
	for ; srv.HoldAt(n, exited); n += maxUnrecorded {
		for range 150 {
			if ready() {
				return
			}
			select {
			case <-exited:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

// sleep sleeps for d. It reports false if pawl ends meanwhile.
func (r *pawlProcess) sleep(d time.Duration) bool {
	select {
	case <-r.exited:
		return false
	case <-time.After(d):
		return true
	}
}

// recordedBytes returns how many bytes of unfinished files pawl has recorded. It does not
// create a state file.
func (tr *testRun) recordedBytes() (n int64) {
	tr.Helper()
	for _, r := range tr.unfinished() {
		n += r.Held.Len()
	}
	return n
}

// unfinished returns the records of all unfinished files.
func (tr *testRun) unfinished() []store.Record {
	return unfinishedRecords(filepath.Dir(tr.statePath()))
}

// unfinishedRecords returns the records of all unfinished files in a state directory. Without
// a readable state file, for example while pawl creates it, it returns none.
func unfinishedRecords(dir string) []store.Record {
	if !exists(filepath.Join(dir, "pawl.db")) {
		return nil // store.Open would create it
	}
	st, err := store.Open(dir, store.Options{})
	if err != nil {
		return nil
	}
	records, _ := st.Unfinished()
	return records
}

// hasContent reports whether the file at path has exactly the bytes of f.
func hasContent(path string, f faultserver.File) bool {
	got, err := os.Open(path)
	if err != nil {
		return false
	}
	defer got.Close()
	return f.Check(got) == nil
}

// wantDownloaded checks that pawl succeeded, that the file has the bytes of f, and that
// no part file is left.
func (o runResult) wantDownloaded(name string, f faultserver.File) {
	tr := o.tr
	tr.Helper()
	if o.code != 0 {
		tr.Errorf("exit %d, want 0", o.code)
	}
	path := filepath.Join(tr.dir, name)
	if !hasContent(path, f) {
		tr.Errorf("%s does not have the served bytes", name)
	} else if runs := tr.started.Load(); int(runs) == len(tr.results) && slices.Contains(tr.served[name], f) {
		tr.checked[name] = runs
	}
	if _, err := os.Lstat(path + ".part"); err == nil {
		tr.Errorf("%s.part is left over", name)
	}
}

// wantFailure checks the exit code, that pawl printed an error, and that nothing has the
// final name f.bin.
func (o runResult) wantFailure(code int) {
	tr := o.tr
	tr.Helper()
	if o.code != code {
		tr.Errorf("exit %d, want %d", o.code, code)
	}
	if !strings.Contains(o.stderr, "pawl: error: ") {
		tr.Errorf("pawl printed no error")
	}
	if _, err := os.Lstat(filepath.Join(tr.dir, "f.bin")); err == nil {
		tr.Errorf("f.bin exists")
	}
}

// wantPartKept checks that the part file of f.bin has bytes and that the download is recorded as
// unfinished.
func (tr *testRun) wantPartKept() {
	tr.Helper()
	if info, err := os.Lstat(filepath.Join(tr.dir, "f.bin.part")); err != nil || info.Size() == 0 {
		tr.Errorf("the part file was not kept: %v", err)
	}
	isKept := func(r store.Record) bool { return filepath.Base(r.Target) == "f.bin" && r.Held.Len() > 0 }
	if records := tr.unfinished(); !slices.ContainsFunc(records, isKept) {
		tr.Errorf("f.bin is not recorded: %+v", records)
	}
}

// wantSentRatio checks that the server has sent at most maxRatio times the size of the file. A
// download that starts over after half of the file has 1.5. It need not pass at the first
// attempt; see reportExcess.
func (tr *testRun) wantSentRatio(maxRatio float64) {
	tr.Helper()
	if got := float64(tr.srv.Sent()) / float64(tr.fileSize); got > maxRatio {
		tr.reportExcess("bytes sent / size: got %.3f, want at most %.3f", got, maxRatio)
	}
}

// reportExcess reports an amount above its limit that a busy machine can raise: sent bytes. If
// pawl divides a range, the server has already sent some of the second part into the buffers of
// the connection, in vain. The slower pawl reads, the more. A fault of pawl makes each attempt
// exceed the limit, so TestHazards repeats the hazard, and only the last attempt fails.
func (tr *testRun) reportExcess(format string, args ...any) {
	tr.Helper()
	if tr.attemptsLeft == 0 {
		tr.Errorf(format, args...)
		return
	}
	tr.exceeded = true
	tr.Logf("to be repeated: "+format, args...)
}

// printTable prints the table of results: all rows with -v, otherwise the failed rows and
// the ones that were not met.
func printTable(t *testing.T, runs []*testRun) {
	runs = slices.DeleteFunc(slices.Clone(runs), func(tr *testRun) bool { return !tr.ran })
	slices.SortFunc(runs, func(a, b *testRun) int { return cmp.Compare(a.name, b.name) })
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "hazard\tresult\tmet\texit codes\tsent/size\ttime\tpawl's cpu")
	passed, skipped, unmet := 0, 0, 0
	for _, tr := range runs {
		verdict, met := "ok", "yes"
		switch {
		case tr.failed:
			verdict = "FAILED"
		case tr.skipped:
			verdict = "skipped"
			skipped++
		default:
			passed++
		}
		if tr.srv.FaultCount() == 0 && !tr.markedMet && !tr.skipped {
			met = "NO"
			unmet++
		}
		if verdict == "ok" && met == "yes" && !testing.Verbose() {
			continue
		}
		var codes []string
		for _, o := range tr.results {
			codes = append(codes, fmt.Sprint(o.code))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.3f\t%s\t%s\n", tr.name, verdict, met, strings.Join(codes, " "),
			float64(tr.srv.Sent())/float64(max(tr.fileSize, 1)), tr.elapsed.Round(10*time.Millisecond), tr.cpu.Round(10*time.Millisecond))
	}
	w.Flush()
	t.Logf("%d hazards, %d ok, %d skipped, %d not met\n%s", len(runs), passed, skipped, unmet, b.String())
}
