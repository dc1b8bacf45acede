package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"pawl/downloader/faultserver"
)

func TestMain(m *testing.M) {
	flag.Set("test.parallel", "8") // most tests wait for other processes; -parallel on the command line wins
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if filepath.Base(os.Args[0]) != "pawl" && signal.Ignored(s) { // nohup go test &: the programs under test must not inherit that
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	pawl := func() {
		refuseTempFiles()
		main()
	}
	testscript.Main(m, map[string]func(){"pawl": pawl, "pawl-aria2c": pawl, "pawl-curl": pawl, "pawl-wget": pawl, "pawl-axel": pawl})
}

// TestScripts runs a tenth of testdata/*.txtar, another tenth each time, or all with PAWL_TEST_ALL=1
// and those that -run chooses. A script is the real program against a fault server of the
// script's own. Besides the commands of testscript the scripts have these:
//
//	serve NAME SIZE [SEED]     serves SIZE random bytes (K, M, G) as NAME
//	faults [FAULT...]          sets the faults of the server; without arguments removes them
//	same PATH NAME             fails unless the file PATH has the bytes served as NAME
//	[!] requests N             fails unless there were N requests since the last reset
//	sent LIMIT                 fails if the server sent more than LIMIT times the size of its files
//	reset                      sets the server's counters to zero
//	killat BYTES SIGNAL CMD... runs CMD, sends it SIGNAL when BYTES bytes were sent, which must
//	                           end it, and sets $code to its exit code
//	killmany N CMD...          runs CMD and kills it (SIGKILL) N times, each time when another part of
//	                           the served bytes is recorded, then runs it to its end
//	during BYTES CMD... -- CMD...  runs the second CMD when the first was sent BYTES bytes
//	exits CODE CMD...          runs CMD and fails unless it exits with CODE
//	publish NAME FILE          serves a file of the script as NAME
//	fill FILE...               replaces $VARIABLES in files of the script
//	digest VAR NAME            sets VAR to the SHA-256 of the file served as NAME
//	asked NAME N               fails unless there were N requests for NAME since the last reset
//	answered STATUS N          fails unless N responses had STATUS since the last reset
//	flip PATH OFFSET...        flips a bit of each of these bytes of the file PATH
//	received NAME FIELD VALUE  fails unless the last request for NAME had this header field
//
// The faults are noranges, nolength, rate=BYTES, cut=BYTES, conns=N, stall=BYTES,
// status=CODE and disposition=VALUE; see cmdFaults.
func TestScripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d scripts, %v", len(files), err)
	}
	testscript.Run(t, testscript.Params{
		Files: sample(10, files),
		Setup: func(e *testscript.Env) error {
			srv := faultserver.New()
			e.Defer(srv.Close)
			e.Values["rig"] = &scriptRig{Server: srv, files: make(map[string]faultserver.File), texts: make(map[string]string)}
			e.Setenv("URL", srv.URL)
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_STATE_HOME", filepath.Join(e.WorkDir, "state"))
			e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "config"))
			e.Setenv("GORACE", noRaceWait)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": cmdServe, "faults": cmdFaults, "same": cmdSame, "requests": cmdRequests, "sent": cmdSent,
			"reset": cmdReset, "killat": cmdKillAt, "killmany": cmdKillMany, "during": cmdDuring,
			"exits": cmdExits, "publish": cmdPublish, "fill": cmdFill, "digest": cmdDigest, "asked": cmdAsked, "answered": cmdAnswered, "received": cmdReceived, "flip": cmdFlip,
		},
	})
}

// noRaceWait is the value of GORACE for child processes. It keeps programs under the race
// detector from sleeping for a second before they exit. They still report races and exit
// with code 66.
const noRaceWait = "atexit_sleep_ms=0"

// A scriptRig is the server of one script and its files.
type scriptRig struct {
	*faultserver.Server
	files map[string]faultserver.File
	texts map[string]string // texts served by publish, by name
}

// rigOf returns the rig that Setup has stored.
func rigOf(ts *testscript.TestScript) *scriptRig { return ts.Value("rig").(*scriptRig) }

// parseSizeArg parses a number of bytes such as "8M", or ends the script.
func parseSizeArg(ts *testscript.TestScript, s string) int64 {
	var r byteRate
	ts.Check(r.UnmarshalText([]byte(s)))
	return int64(r)
}

func cmdServe(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: serve NAME SIZE [SEED]")
	}
	seed := uint64(1)
	if len(args) > 2 {
		var err error
		seed, err = strconv.ParseUint(args[2], 10, 64)
		ts.Check(err)
	}
	r := rigOf(ts)
	r.files[args[0]] = faultserver.NewFile(parseSizeArg(ts, args[1]), seed)
	r.Put(args[0], r.files[args[0]])
}

func cmdFlip(ts *testscript.TestScript, _ bool, args []string) {
	data := []byte(ts.ReadFile(args[0]))
	for _, offset := range args[1:] {
		at, err := strconv.Atoi(offset)
		ts.Check(err)
		data[at] ^= 4
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o666))
}

func cmdFaults(ts *testscript.TestScript, _ bool, args []string) {
	var faults []faultserver.Fault
	for _, a := range args {
		name, value, _ := strings.Cut(a, "=")
		switch name {
		case "noranges":
			faults = append(faults, faultserver.NoRanges)
		case "nolength":
			faults = append(faults, faultserver.NoLength)
		case "rate":
			faults = append(faults, faultserver.Rate(parseSizeArg(ts, value)))
		case "cut":
			faults = append(faults, faultserver.Cut(parseSizeArg(ts, value)))
		case "conns":
			n, err := strconv.Atoi(value)
			ts.Check(err)
			faults = append(faults, faultserver.MoreThan(n, faultserver.Status(503, 1)))
		case "stall":
			faults = append(faults, faultserver.Stall(parseSizeArg(ts, value)))
		case "status":
			code, err := strconv.Atoi(value)
			ts.Check(err)
			faults = append(faults, faultserver.Status(code, -1))
		case "disposition":
			faults = append(faults, faultserver.SetHeader("Content-Disposition", value))
		default:
			ts.Fatalf("no fault %q", a)
		}
	}
	r := rigOf(ts)
	r.Set(append(faults, r.published)...)
}

func cmdSame(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	file, ok := rigOf(ts).files[args[1]]
	if !ok {
		ts.Fatalf("nothing is served as %q", args[1])
	}
	ts.Check(file.Check(f))
}

func cmdRequests(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := len(rigOf(ts).Requests()); (got == want) == neg {
		ts.Fatalf("%d requests", got)
	}
}

func cmdSent(ts *testscript.TestScript, _ bool, args []string) {
	limit, err := strconv.ParseFloat(args[0], 64)
	ts.Check(err)
	r := rigOf(ts)
	var served int64
	for _, f := range r.files {
		served += f.Size
	}
	ratio := float64(r.Sent()) / float64(served)
	ts.Logf("sent / served: %.4f", ratio)
	if ratio > limit {
		ts.Fatalf("sent %d bytes of %d, %.4f times", r.Sent(), served, ratio)
	}
}

func cmdReset(ts *testscript.TestScript, _ bool, _ []string) { rigOf(ts).Reset() }

// startScriptCommand starts a program with the script's environment. Its output is kept in
// Stdout.
func startScriptCommand(ts *testscript.TestScript, args []string) *exec.Cmd {
	path, err := lookPath(ts, args[0])
	ts.Check(err)
	cmd := exec.Command(path, args[1:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "TMPDIR", "GORACE"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	ts.Check(cmd.Start())
	hung := time.AfterFunc(hangLimit, func() { cmd.Process.Kill() })
	ts.Defer(func() {
		hung.Stop()
		cmd.Process.Kill()
	})
	return cmd
}

// lookPath finds a program on the PATH of the script.
func lookPath(ts *testscript.TestScript, name string) (string, error) {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path, nil
		}
	}
	return "", fmt.Errorf("no program %q", name)
}

// signalScriptCommandAt sends cmd a signal when the server has sent about n bytes in all and
// ready returns true, unless cmd ends before. The server is held until cmd has ended.
func signalScriptCommandAt(ts *testscript.TestScript, cmd *exec.Cmd, n int64, sig os.Signal, ready func() bool) {
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		holdUntil(rigOf(ts).Server, n, ended, ready)
		cmd.Process.Signal(sig)
		<-ended
		rigOf(ts).Open()
	}()
	cmd.Wait()
	close(ended)
	<-done
	ts.Logf("%v", cmd.Stdout)
}

// recordedBytes returns how many bytes of unfinished files the script's state file records.
func recordedBytes(ts *testscript.TestScript) (n int64) {
	for _, r := range unfinishedRecords(filepath.Join(ts.Getenv("XDG_STATE_HOME"), "pawl")) {
		n += r.Held.Len()
	}
	return n
}

var signals = map[string]os.Signal{"KILL": syscall.SIGKILL, "INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}

func cmdKillAt(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 3 || signals[args[1]] == nil {
		ts.Fatalf("usage: killat BYTES SIGNAL CMD...")
	}
	cmd := startScriptCommand(ts, args[2:])
	signalScriptCommandAt(ts, cmd, parseSizeArg(ts, args[0]), signals[args[1]], func() bool { return true })
	ts.Setenv("code", strconv.Itoa(cmd.ProcessState.ExitCode()))
}

func cmdKillMany(ts *testscript.TestScript, _ bool, args []string) {
	kills, err := strconv.Atoi(args[0])
	ts.Check(err)
	r := rigOf(ts)
	seed := rand.Uint64()
	ts.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var served int64
	for _, f := range r.files {
		served += f.Size
	}
	for i := range kills {
		part := served / int64(kills+1)
		want := part*int64(i) + random.Int64N(part) + 1
		at := r.Sent() + want + maxUnrecorded - recordedBytes(ts)
		cmd := startScriptCommand(ts, args[1:])
		signalScriptCommandAt(ts, cmd, at, syscall.SIGKILL, func() bool { return recordedBytes(ts) >= want })
		if cmd.ProcessState.ExitCode() != -1 {
			ts.Fatalf("ended before kill %d", i)
		}
	}
	cmd := startScriptCommand(ts, args[1:])
	if err := cmd.Wait(); err != nil {
		ts.Fatalf("the last run: %v\n%v", err, cmd.Stdout)
	}
}

func cmdDuring(ts *testscript.TestScript, neg bool, args []string) {
	i := 1
	for i < len(args) && args[i] != "--" {
		i++
	}
	if i >= len(args)-1 {
		ts.Fatalf("usage: during BYTES CMD... -- CMD...")
	}
	cmd := startScriptCommand(ts, args[1:i])
	ended := make(chan struct{})
	var err error
	if !rigOf(ts).DoAt(parseSizeArg(ts, args[0]), ended, func() { err = ts.Exec(args[i+1], args[i+2:]...) }) {
		ts.Fatalf("the first command ended too early")
	}
	if (err != nil) != neg {
		ts.Fatalf("the second command: %v", err)
	}
	if err := cmd.Wait(); err != nil {
		ts.Fatalf("the first command: %v\n%v", err, cmd.Stdout)
	}
	close(ended)
}

// The first collection is late, and the collector is as usual afterwards, or as setCollector says.
func TestDelayCollector(t *testing.T) {
	t.Setenv("GOGC", "")
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	for _, want := range []int{100, 70} {
		delayCollector()
		if got := debug.SetGCPercent(400); got != 400 {
			t.Fatalf("GC percent is %d before the first collection, want 400", got)
		}
		if want != 100 {
			setCollector(want, 1<<40)
			debug.SetGCPercent(400) // so that the collection is what changes it
		}
		begun := time.Now()
		for runtime.GC(); debug.SetGCPercent(400) != want; runtime.GC() { // the cleanup runs in a goroutine of its own
			if time.Since(begun) > hangLimit {
				t.Fatalf("the first collection did not set the GC percent to %d", want)
			}
		}
	}
}
