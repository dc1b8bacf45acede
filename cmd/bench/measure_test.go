package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain lets the test binary play a program to measure if $BENCH_TEST_TOOL is set:
// "fetch" downloads, "spoil" downloads and truncates the file, "fail" exits with code 3,
// "hang" sleeps, "memory" uses 16 MiB, and any other value does nothing.
func TestMain(m *testing.M) {
	mode := os.Getenv("BENCH_TEST_TOOL")
	if mode == "" {
		os.Exit(m.Run())
	}
	if len(os.Args) > 1 && os.Args[1] == "--version" {
		mode = ""
	}
	switch mode {
	case "fail":
		fmt.Print("first\nno luck today\n\n")
		os.Exit(3)
	case "hang":
		time.Sleep(time.Hour)
	case "memory":
		touched := bytes.Repeat([]byte{1}, 16*mib)
		time.Sleep(50 * time.Millisecond)
		os.Exit(int(touched[1] - 1))
	case "fetch", "spoil":
		out := os.Args[len(os.Args)-1]
		if code := runBare([]string{"1", "none", os.Args[len(os.Args)-2], out}); code != 0 {
			os.Exit(code)
		}
		if mode == "spoil" {
			os.Truncate(out, 5)
		}
	}
	os.Exit(0)
}

// selfContender returns a contender whose program is the test binary in the mode that
// TestMain describes.
func selfContender(t *testing.T, mode string) contender {
	t.Helper()
	t.Setenv("BENCH_TEST_TOOL", mode)
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return contender{command{tool: "self", maxConns: 1, line: "self {url} {out}"}, tool{Name: "self", Path: own}}
}

// newBench returns a bench with a directory and a certificate of its own.
func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{options: options{quick: true, rounds: 2}, dir: t.TempDir(), noise: noise(), stderr: io.Discard}
	b.ca = filepath.Join(b.dir, "ca.pem")
	var err error
	if b.cert, err = newCert(b.ca); err != nil {
		t.Fatal(err)
	}
	return b
}

// tinyWorkload takes a tenth of a second.
var tinyWorkload = workload{Name: "small", Kind: oneFile, Shape: Shape{LinkRate: 10 * mega}, Quick: singleFile(mega)}

// runOnceOn runs one attempt on a new testbed, and checks that its directories are removed.
func (b *bench) runOnceOn(t *testing.T, w workload, c contender) (result, error) {
	t.Helper()
	dir := t.TempDir()
	s, err := b.setUp(w, w.Quick, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.tearDown()
	r, err := b.runOnce(context.Background(), s, c)
	if left, _ := filepath.Glob(filepath.Join(dir, "run-*")); left != nil {
		t.Errorf("left behind: %v", left)
	}
	return r, err
}

func TestRunOnce(t *testing.T) {
	for _, disk := range []bool{false, true} {
		b := newBench(t)
		b.includeSync = disk
		r, err := b.runOnceOn(t, tinyWorkload, selfContender(t, "fetch"))
		if err != nil {
			t.Fatal(err)
		}
		if r.Wall < 0.1 || r.Wall > 5 || r.CPU <= 0 || r.Conns != 1 || r.Refetched != 0 {
			t.Errorf("got %+v, want a tenth of a second, some CPU and one connection", r)
		}
	}
}

// TestRefetchedBytesAfterKill uses a program that cannot resume, so it fetches the first
// half of the file again.
func TestRefetchedBytesAfterKill(t *testing.T) {
	w := tinyWorkload
	w.Kind, w.Shape.LinkRate, w.Quick = killedHalfway, 40*mega, singleFile(8*mega)
	r, err := newBench(t).runOnceOn(t, w, selfContender(t, "fetch"))
	if err != nil || r.Conns != 2 || r.Refetched < 4*mega || r.Refetched > 5*mega {
		t.Errorf("got %+v and %v, want a little over 4 MB again, over two connections", r, err)
	}
}

func TestFailedRunsAreReported(t *testing.T) {
	tests := []struct {
		mode string
		want string
	}{
		{"fail", "exit status 3: no luck today"},
		{"spoil", "verifying: f00000.bin differs from the served file"},
		{"nothing", "verifying: open "},
	}
	for _, test := range tests {
		_, err := newBench(t).runOnceOn(t, tinyWorkload, selfContender(t, test.mode))
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.mode, err, test.want)
		}
	}
	if _, err := newBench(t).runOnceOn(t, workload{Kind: killedHalfway, Shape: tinyWorkload.Shape, Quick: singleFile(mega)}, selfContender(t, "nothing")); err == nil {
		t.Error("a program that ends before it can be killed: got no error")
	}
}

// TestFailedContenderRunsOnce checks that a failure is reported once and recorded with
// the program's output, and that the contender does not run in the second round.
func TestFailedContenderRunsOnce(t *testing.T) {
	b := newBench(t)
	s, err := b.setUp(tinyWorkload, tinyWorkload.Quick, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.tearDown()
	var stderr bytes.Buffer
	b.stderr = &stderr
	r := &workloadResult{Rows: []*row{{Tool: "self", contender: selfContender(t, "fail")}}}
	b.runRounds(context.Background(), s, r, time.Time{})
	got := r.Rows[0]
	if got.Failed == "" || got.Runs != nil || !strings.Contains(got.Output, "first\n") || strings.Count(stderr.String(), "\n") != 1 {
		t.Errorf("got %+v and stderr %q, want an error with output, no runs, and one line on stderr", got, stderr.String())
	}
}

// TestDeadlineSkipsFurtherRounds checks that the first round runs even if the deadline
// has passed, and that the second one does not.
func TestDeadlineSkipsFurtherRounds(t *testing.T) {
	b := newBench(t)
	s, err := b.setUp(tinyWorkload, tinyWorkload.Quick, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.tearDown()
	for until, want := range map[time.Time]int{{}: 2, time.Now(): 1} {
		r := &workloadResult{Rows: []*row{{Tool: "self", contender: selfContender(t, "fetch")}}}
		b.runRounds(context.Background(), s, r, until)
		if got := r.Rows[0]; len(got.Runs) != want || got.Failed != "" {
			t.Errorf("until %v: got %d rounds and error %q, want %d", until, len(got.Runs), got.Failed, want)
		}
	}
}

func TestTimeout(t *testing.T) {
	c := selfContender(t, "hang")
	ctx, stop := context.WithTimeoutCause(context.Background(), 100*time.Millisecond, errTimeout)
	defer stop()
	begin := time.Now()
	if _, err := runChild(ctx, []string{c.tool.Path}, os.Environ(), t.TempDir()); !errors.Is(err, errTimeout) {
		t.Errorf("got %v, want %v", err, errTimeout)
	}
	if d := time.Since(begin); d > time.Minute {
		t.Errorf("killed after %v, want long before the child ends by itself", d)
	}
}

// TestPeakMemoryExcludesParent checks that the child's peak memory does not include the
// memory of bench, although bench has more.
func TestPeakMemoryExcludesParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems have only rusage, which includes the parent's memory")
	}
	c := selfContender(t, "memory")
	big := bytes.Repeat([]byte{1}, 200*mib)
	var u resourceUsage
	for range 3 { // on a busy machine, bench may look at the child too late
		var err error
		if u, err = runChild(context.Background(), []string{c.tool.Path}, os.Environ(), t.TempDir()); err != nil {
			t.Fatal(err)
		}
		if u.RSS >= 16*mib {
			break
		}
	}
	runtime.KeepAlive(big)
	if u.RSS < 16*mib || u.RSS > 150*mib {
		t.Errorf("got %d MiB, want between 16 and 150", u.RSS/mib)
	}
}

func TestTailKeepsEndOfOutput(t *testing.T) {
	var out tail
	for i := range 5000 {
		fmt.Fprintf(&out, "%d\n", i)
	}
	if len(out.b) > maxOutput || lastLine(string(out.b)) != "4999" {
		t.Errorf("got %d bytes whose last line is %q, want at most maxOutput bytes and 4999", len(out.b), lastLine(string(out.b)))
	}
	if got := lastLine("a\rbar 50%\r\n \n"); got != "bar 50%" {
		t.Errorf("last line: got %q", got)
	}
}

func TestChildEnv(t *testing.T) {
	got := childEnv([]string{"PATH=/bin", "HTTPS_PROXY=x", "no_proxy=y", "PAWL_JOBS=3", "SSL_CERT_FILE=old"}, "/ca")
	if s := strings.Join(got, " "); s != "PATH=/bin SSL_CERT_FILE=/ca" {
		t.Errorf("got %q", s)
	}
}

func TestRequiredHelp(t *testing.T) {
	c := selfContender(t, "fail") // prints "no luck today" for get --help
	c.requiredHelp = "--mirror="
	if got := c.whyUnable(context.Background(), twoMirrors); got != "self does not support --mirror" {
		t.Errorf("got %q", got)
	}
	c.requiredHelp = "luck"
	if got := c.whyUnable(context.Background(), twoMirrors); got != "" {
		t.Errorf("got %q, want no reason", got)
	}
}

func TestParseArguments(t *testing.T) {
	for _, args := range [][]string{{"x"}, {"--rounds", "-1"}, {"--only", "("}, {"--also", "x"}, {"--nonsense"}} {
		if code := run(context.Background(), args, io.Discard, io.Discard); code != 2 {
			t.Errorf("%q: got exit code %d, want 2", args, code)
		}
	}
	o, err := parse([]string{"--quick", "--also", "old=/p", "--only", "wan"}, io.Discard)
	if err != nil || o.rounds != 2 || o.otherPawls[0].Name != "old" || o.only.String() != regexp.MustCompile("wan").String() {
		t.Errorf("got %+v and %v", o, err)
	}
}

// TestInterruptRemovesFiles checks the exit code of an interrupted run, and that it
// leaves no files.
func TestInterruptRemovesFiles(t *testing.T) {
	c, dir := selfContender(t, "hang"), t.TempDir()
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { // cancels ctx once a child runs, or after a minute
		defer stop()
		for range 6000 {
			if at, _ := filepath.Glob(filepath.Join(dir, "*/*/run-*/state/list")); at != nil {
				time.Sleep(50 * time.Millisecond)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Error("no child was started within a minute")
	})
	code := run(ctx, []string{"--quick", "--only", "throttle", "--pawl", c.tool.Path, "--dir", dir}, io.Discard, io.Discard)
	all.Wait()
	left, _ := os.ReadDir(dir)
	if code != 130 || len(left) != 0 {
		t.Errorf("got exit code %d and files %v, want 130 and none", code, left)
	}
}
