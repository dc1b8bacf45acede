package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pawl/downloader/faultserver"
)

// TestTerabyte checks that starting, resuming and recording a file of 1 TiB costs no more
// than a small file. It mounts a tmpfs that claims to have 2 TiB, which needs root.
func TestTerabyte(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("pawl-test", dir, "tmpfs", 0, "size=2T"); err != nil {
		if os.Getenv("PAWL_TEST_SERVERS") == "required" {
			t.Fatalf("mount: %v", err)
		}
		t.Skipf("cannot mount a file system of 2 TiB: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, 0) })
	srv := faultserver.New()
	defer srv.Close()
	srv.Put("huge", faultserver.NewFile(1<<40, 1))
	srv.Set(faultserver.Rate(100 << 20))

	for run := range 2 {
		first, rss := terabyteRun(t, srv, dir, int64(run+1)*150<<20)
		t.Logf("run %d: first byte after %v, peak RSS %d KiB", run, first, rss)
		if first > 300*time.Millisecond && !raceEnabled {
			t.Errorf("run %d: first byte after %v, want at most 300ms", run, first)
		}
		if rss > 40<<10 && !raceEnabled {
			t.Errorf("run %d: peak RSS %d KiB, want at most 40 MiB", run, rss)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "state", "pawl", "pawl.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("state file: %d KiB", info.Size()>>10)
	if info.Size() > 1<<20 {
		t.Errorf("state file: got %d bytes, want at most 1 MiB", info.Size())
	}
	if r := float64(srv.Sent()) / float64(300<<20); r > 1.1 {
		t.Errorf("the server sent %.3f times the wanted bytes, want at most 1.1", r)
	}
}

// terabyteRun runs pawl until the server has sent until bytes in all, and kills it. It
// returns the time to the first byte of a body, and the peak resident memory in KiB.
func terabyteRun(t *testing.T, srv *faultserver.Server, dir string, until int64) (first time.Duration, rss int64) {
	t.Helper()
	cmd := pawlCommand(dir, "-q", srv.URL+"/huge")
	cmd.Env = append(cmd.Env, "XDG_STATE_HOME="+filepath.Join(dir, "state"))
	cmd.Stderr = os.Stderr
	srv.WaitIdle()
	before, begun := srv.Sent(), time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
	defer stop.Stop()
	never := make(chan struct{})
	srv.WaitSent(before+1, never)
	first = time.Since(begun)
	srv.WaitSent(until, never)
	rss = peakRSS(t, cmd.Process.Pid)
	cmd.Process.Kill()
	cmd.Wait()
	return first, rss
}

// peakRSS returns the peak resident memory of a running process in KiB. It reads /proc,
// because the maximum in rusage includes the test's own process before the exec.
func peakRSS(t *testing.T, pid int) (kib int64) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if n, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 && err == nil {
			return kib
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
