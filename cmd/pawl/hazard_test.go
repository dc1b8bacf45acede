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
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"pawl/downloader/faultserver"
)

// A hazard is one thing that goes wrong, in steps, and the one outcome that is
// right then. Its steps drive the real program against a fault server of its own.
//
//	go test ./cmd/pawl -run Hazards -v -count=1              prints the table
//	go test ./cmd/pawl -run Hazards -v -count=1 -seed 7      in the order, and with the choices, of seed 7
//	go test ./cmd/pawl -run Hazards/NAME -v                  tries one
//	go test ./cmd/pawl -run Hazards -update                  writes testdata/errors.golden anew
type hazard struct {
	name  string // group: what goes wrong
	alone bool   // it measures time, so nothing else may run
	try   func(*trial)
}

// hazards is the table. Each group has a file of its own.
func hazards() []hazard {
	return slices.Concat(lies, breaks, limits, changes, links, names, disks, states, signalHazards, codings, rangesRefused, silences, digests, evidence, origins, trickles, partNames, owners, space, treeLinks, sizes)
}

var (
	seedFlag   = flag.Uint64("seed", 0, "seed of the order and the choices of the hazards; 0 for any")
	updateFlag = flag.Bool("update", false, "write testdata/errors.golden anew")
)

// atOnce is how many hazards are tried at once. Most of them only wait, but not
// under the race detector.
func atOnce() int {
	if raceEnabled {
		return 3
	}
	return 6
}

// TestHazards tries them all, in random order.
func TestHazards(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	all := hazards()
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	slices.SortStableFunc(all, func(a, b hazard) int { // those first that measure time
		if a.alone == b.alone {
			return 0
		} else if a.alone {
			return -1
		}
		return 1
	})
	trials := make([]*trial, len(all))
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce())
	for i, hz := range all {
		slots <- struct{}{}
		if hz.alone {
			trials[i] = tryHazard(t, hz, seed)
			<-slots
			continue
		}
		wg.Go(func() {
			trials[i] = tryHazard(t, hz, seed)
			<-slots
		})
	}
	wg.Wait()
	printTrials(t, trials)
	checkGolden(t, trials)
}

// tryHazard tries one.
func tryHazard(t *testing.T, hz hazard, seed uint64) *trial {
	tr := &trial{hazard: hz}
	begun := time.Now()
	t.Run(hz.name, func(t *testing.T) {
		tr.ran = true
		tr.begin(t, seed)
		defer func() {
			tr.failed, tr.skipped = t.Failed(), t.Skipped()
			tr.elapsed = time.Since(begun)
		}()
		hz.try(tr)
		tr.end()
	})
	return tr
}

// A trial is one hazard under way: a server, a directory to download into and
// a state of its own. One goroutine uses it.
type trial struct {
	hazard
	*testing.T
	srv  *faultserver.Server
	dir  string // the program's working directory
	rand *rand.Rand
	env  []string // in addition

	versions map[string][]faultserver.File // what was ever served, by name
	size     int64                         // of the last one, the measure of overhead
	metOther bool                          // met in another way than by a fault of the server
	outcomes []outcome

	ran, failed, skipped bool
	elapsed              time.Duration
}

// An outcome is how one run of the program ended.
type outcome struct {
	tr             *trial
	args           []string
	code           int // exit code; -1 if a signal ended it
	stdout, stderr string
	elapsed        time.Duration
}

func (tr *trial) begin(t *testing.T, seed uint64) {
	tr.T = t
	tr.srv = faultserver.New()
	t.Cleanup(tr.srv.Close)
	tr.dir = t.TempDir()
	tr.rand = rand.New(rand.NewPCG(seed, uint64(crc32.ChecksumIEEE([]byte(tr.name)))))
	tr.versions = make(map[string][]faultserver.File)
}

// end checks what must hold after every hazard: it was met, and whatever has
// a final name is a version of it, whole.
func (tr *trial) end() {
	tr.Helper()
	if tr.srv.FaultCount() == 0 && !tr.metOther {
		tr.Errorf("the hazard was not met")
	}
	for name, versions := range tr.versions {
		path := filepath.Join(tr.dir, name)
		if _, err := os.Lstat(path); err == nil && !slices.ContainsFunc(versions, func(f faultserver.File) bool { return isFile(path, f) }) {
			tr.Errorf("%s is no version of the file", name)
		}
	}
}

// met says that the hazard was met, where no fault of the server tells so.
func (tr *trial) met() { tr.metOther = true }

// put serves f as name.
func (tr *trial) put(name string, f faultserver.File) faultserver.File {
	tr.versions[name] = append(tr.versions[name], f)
	tr.size = f.Size
	tr.srv.Put(name, f)
	return f
}

// serve serves a file of so many bytes as f.bin, of new content each time.
func (tr *trial) serve(size int64) faultserver.File {
	return tr.put("f.bin", faultserver.NewFile(size, tr.rand.Uint64N(1<<40)))
}

// url is that of f.bin.
func (tr *trial) url() string { return tr.srv.URL + "/f.bin" }

// impatient are options that let a test end soon.
var impatient = []string{"--retry-wait", "20ms", "--retry-max-wait", "200ms", "--stall-timeout", "2s", "--connect-timeout", "5s"}

// command is the program with impatient and args. Without any argument it gets f.bin.
func (tr *trial) command(args []string) *exec.Cmd {
	switch {
	case len(args) == 0:
		args = append(slices.Clone(impatient), tr.url())
	case slices.Contains([]string{"list", "remove"}, args[0]):
	case args[0] == "resume" || args[0] == "mirror":
		args = append([]string{args[0]}, append(slices.Clone(impatient), args[1:]...)...)
	default:
		args = append(slices.Clone(impatient), args...)
	}
	cmd := pawlCommand(tr.dir, args...)
	cmd.Env = append(cmd.Env, tr.env...)
	return cmd
}

// run runs the program to its end; a minute is too long.
func (tr *trial) run(args ...string) outcome {
	tr.Helper()
	return tr.start(args...).wait()
}

// A running program.
type running struct {
	tr     *trial
	cmd    *exec.Cmd
	out    [2]bytes.Buffer
	begun  time.Time
	kill   *time.Timer
	exited chan struct{}
}

// start starts the program.
func (tr *trial) start(args ...string) *running {
	tr.Helper()
	r := &running{tr: tr, cmd: tr.command(args), begun: time.Now(), exited: make(chan struct{})}
	r.cmd.Stdout, r.cmd.Stderr = &r.out[0], &r.out[1]
	if err := r.cmd.Start(); err != nil {
		tr.Fatal(err)
	}
	r.kill = time.AfterFunc(time.Minute, func() { r.cmd.Process.Kill() })
	return r
}

// wait returns how the program ended.
func (r *running) wait() outcome {
	r.tr.Helper()
	err := r.cmd.Wait()
	close(r.exited)
	if !r.kill.Stop() {
		r.tr.Errorf("pawl %q did not end", r.cmd.Args[1:])
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.tr.Fatal(err)
	}
	o := outcome{r.tr, r.cmd.Args[1:], r.cmd.ProcessState.ExitCode(), r.out[0].String(), r.out[1].String(), time.Since(r.begun)}
	r.tr.Logf("pawl %q: exit %d after %v\n%s", o.args, o.code, o.elapsed.Round(time.Millisecond), o.stderr)
	r.tr.outcomes = append(r.tr.outcomes, o)
	return o
}

// signalAt runs the program and signals it when the server has sent n more bytes,
// which sends no others before it has ended.
func (tr *trial) signalAt(n int64, sig syscall.Signal, args ...string) outcome {
	tr.Helper()
	return tr.at(n, func(r *running) { r.end(sig) }, args...)
}

// end signals the program, and waits for its end.
func (r *running) end(sig syscall.Signal) {
	r.cmd.Process.Signal(sig)
	<-r.exited
}

// interrupt gets f.bin at a moderate rate, and kills the program about halfway.
// The faults of the server are none afterwards.
func (tr *trial) interrupt(args ...string) {
	tr.Helper()
	tr.srv.Set(faultserver.Rate(32 << 20))
	if o := tr.signalAt(tr.size/4+tr.rand.Int64N(tr.size/2), syscall.SIGKILL, args...); o.code != -1 {
		tr.Fatalf("exit %d before it was killed", o.code)
	}
	tr.srv.Set()
}

// isFile reports whether path has the bytes of f.
func isFile(path string, f faultserver.File) bool {
	got, err := os.Open(path)
	if err != nil {
		return false
	}
	defer got.Close()
	return f.Check(got) == nil
}

// good checks that the run succeeded, and that name is f, with no part left.
func (o outcome) good(name string, f faultserver.File) {
	tr := o.tr
	tr.Helper()
	if o.code != 0 {
		tr.Errorf("exit %d, want 0", o.code)
	}
	path := filepath.Join(tr.dir, name)
	if !isFile(path, f) {
		tr.Errorf("%s is not what is served", name)
	}
	if _, err := os.Lstat(path + ".part"); err == nil {
		tr.Errorf("%s.part is left", name)
	}
}

// fails checks the exit code, that the error and its hint were told, and that
// nothing has the final name f.bin.
func (o outcome) fails(code int) {
	tr := o.tr
	tr.Helper()
	if o.code != code {
		tr.Errorf("exit %d, want %d", o.code, code)
	}
	if !strings.Contains(o.stderr, "pawl: error: ") {
		tr.Errorf("no error was told")
	}
	if _, err := os.Lstat(filepath.Join(tr.dir, "f.bin")); err == nil {
		tr.Errorf("f.bin is there")
	}
}

// kept checks that the part file of f.bin is there, and pawl list knows it.
func (tr *trial) kept() {
	tr.Helper()
	if info, err := os.Lstat(filepath.Join(tr.dir, "f.bin.part")); err != nil || info.Size() == 0 {
		tr.Errorf("the part file was not kept: %v", err)
	}
	if out, err := tr.command([]string{"list"}).Output(); err != nil || !strings.Contains(string(out), "f.bin") {
		tr.Errorf("pawl list does not have it: %v\n%s", err, out)
	}
}

// overhead checks how many bytes were sent for each byte of the file. Under the
// race detector the program reads so slowly that more is under way.
func (tr *trial) overhead(most float64) {
	tr.Helper()
	if raceEnabled {
		most += 0.25
	}
	if got := float64(tr.srv.Sent()) / float64(tr.size); got > most {
		tr.Errorf("bytes sent / size: got %.3f, want at most %.3f", got, most)
	}
}

// printTrials prints the table: of all with -v, else of those that went wrong.
func printTrials(t *testing.T, trials []*trial) {
	trials = slices.DeleteFunc(slices.Clone(trials), func(tr *trial) bool { return !tr.ran })
	slices.SortFunc(trials, func(a, b *trial) int { return cmp.Compare(a.name, b.name) })
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "hazard\toutcome\tmet\texit codes\tsent/size\ttime")
	right, skipped, unmet := 0, 0, 0
	for _, tr := range trials {
		verdict, met := "right", "yes"
		switch {
		case tr.failed:
			verdict = "WRONG"
		case tr.skipped:
			verdict = "skipped"
			skipped++
		default:
			right++
		}
		if tr.srv.FaultCount() == 0 && !tr.metOther && !tr.skipped {
			met = "NO"
			unmet++
		}
		if verdict == "right" && met == "yes" && !testing.Verbose() {
			continue
		}
		var codes []string
		for _, o := range tr.outcomes {
			codes = append(codes, fmt.Sprint(o.code))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.3f\t%s\n", tr.name, verdict, met, strings.Join(codes, " "),
			float64(tr.srv.Sent())/float64(max(tr.size, 1)), tr.elapsed.Round(10*time.Millisecond))
	}
	w.Flush()
	t.Logf("%d hazards, %d right, %d skipped, %d not met\n%s", len(trials), right, skipped, unmet, b.String())
}
