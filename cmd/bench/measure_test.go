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

// TestMain lets the test binary also be a program to measure: what it does is
// said by $BENCH_TEST_TOOL.
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

// self is a contender that is the test binary in one of its modes.
func selfContender(t *testing.T, mode string) contender {
	t.Helper()
	t.Setenv("BENCH_TEST_TOOL", mode)
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return contender{command{tool: "self", maxConns: 1, line: "self {url} {out}"}, tool{Name: "self", Path: own}}
}

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

// small is a work of a tenth of a second.
var tinyWorkload = workload{Name: "small", Kind: oneFile, Shape: Shape{LinkRate: 10 * mega}, Quick: one(mega)}

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

// TestKilled: the program that knows nothing of resuming fetches a half again.
func TestRefetchedBytesAfterKill(t *testing.T) {
	w := tinyWorkload
	w.Kind, w.Shape.LinkRate, w.Quick = killedHalfway, 40*mega, one(8*mega)
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
		{"spoil", "result: f00000.bin has other bytes than were served"},
		{"nothing", "result: open "},
	}
	for _, test := range tests {
		_, err := newBench(t).runOnceOn(t, tinyWorkload, selfContender(t, test.mode))
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.mode, err, test.want)
		}
	}
	if _, err := newBench(t).runOnceOn(t, workload{Kind: killedHalfway, Shape: tinyWorkload.Shape, Quick: one(mega)}, selfContender(t, "nothing")); err == nil {
		t.Error("one that ends before it can be killed: no error")
	}
}

// TestGivenUp: one that failed is shown, with its output, and does not run again.
func TestFailedContenderRunsOnce(t *testing.T) {
	b := newBench(t)
	s, err := b.setUp(tinyWorkload, tinyWorkload.Quick, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.tearDown()
	var told bytes.Buffer
	b.stderr = &told
	r := &workloadResult{Rows: []*row{{Tool: "self", contender: selfContender(t, "fail")}}}
	b.runRounds(context.Background(), s, r, time.Time{})
	got := r.Rows[0]
	if got.Failed == "" || got.Runs != nil || !strings.Contains(got.Output, "first\n") || strings.Count(told.String(), "\n") != 1 {
		t.Errorf("got %+v, told %q", got, told.String())
	}
}

// TestUntil: the first round is done whatever the time is, the second is not.
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
			t.Errorf("until %v: got %d rounds and %q, want %d", until, len(got.Runs), got.Failed, want)
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
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("killed after %v", d)
	}
}

// TestMemory: a child's peak is its own, also where this program had more.
func TestPeakMemoryExcludesParent(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere the peak is that of rusage")
	}
	c := selfContender(t, "memory")
	big := bytes.Repeat([]byte{1}, 200*mib)
	u, err := runChild(context.Background(), []string{c.tool.Path}, os.Environ(), t.TempDir())
	runtime.KeepAlive(big)
	if err != nil || u.RSS < 16*mib || u.RSS > 150*mib {
		t.Errorf("got %d MiB and %v, want 16 and somewhat more", u.RSS/mib, err)
	}
}

func TestTailKeepsEndOfOutput(t *testing.T) {
	var out tail
	for i := range 5000 {
		fmt.Fprintf(&out, "%d\n", i)
	}
	if len(out.b) > maxOutput || lastLine(string(out.b)) != "4999" {
		t.Errorf("got %d bytes that end in %q", len(out.b), lastLine(string(out.b)))
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
	c := selfContender(t, "fail") // whose help has nothing of the kind
	c.requiredHelp = "--mirror="
	if got := c.whyUnable(context.Background(), twoMirrors); got != "self has no --mirror yet" {
		t.Errorf("got %q", got)
	}
	c.requiredHelp = "luck"
	if got := c.whyUnable(context.Background(), twoMirrors); got != "" {
		t.Errorf("got %q, want nothing", got)
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

// TestInterrupted: nothing is left behind, and the exit code says so.
func TestInterruptRemovesFiles(t *testing.T) {
	c, dir := selfContender(t, "hang"), t.TempDir()
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { // stops when a child is at work, or nothing comes of it
		defer stop()
		for range 1000 {
			if at, _ := filepath.Glob(filepath.Join(dir, "*/*/run-*/state/list")); at != nil {
				time.Sleep(50 * time.Millisecond)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Error("no child was started")
	})
	code := run(ctx, []string{"--quick", "--only", "throttle", "--pawl", c.tool.Path, "--dir", dir}, io.Discard, io.Discard)
	all.Wait()
	left, _ := os.ReadDir(dir)
	if code != 130 || len(left) != 0 {
		t.Errorf("got exit code %d, %v left; want 130 and nothing", code, left)
	}
}
