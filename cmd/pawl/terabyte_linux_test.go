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
// than a file of 1 GiB: memory, state, sent bytes, and the time to the first byte of a body,
// which a busy machine may lengthen, and so may be longer in two of three tries. It mounts a
// tmpfs that claims to have 2 TiB, which needs root.
func TestTerabyte(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
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
	srv.Put("large", faultserver.NewFile(1<<30, 1))
	srv.Put("huge", faultserver.NewFile(1<<40, 1))
	srv.Set(faultserver.Rate(60 << 20))

	const runs, step = 3, 20 << 20
	soonest := make(map[string]time.Duration)
	for run := range runs {
		for _, name := range []string{"large", "huge"} {
			first, rss := terabyteRun(t, srv, dir, name, step)
			t.Logf("%s, run %d: first byte after %v, peak RSS %d KiB without the program's code", name, run, first, rss)
			if rss > 22<<10 && !raceEnabled {
				t.Errorf("%s, run %d: peak RSS %d KiB without the program's code, want at most 22 MiB", name, run, rss)
			}
			if run == 0 || first < soonest[name] {
				soonest[name] = first
			}
		}
	}
	if soonest["huge"] > 2*soonest["large"]+100*time.Millisecond {
		t.Errorf("first byte after %v, want about as soon as the %v of a small file", soonest["huge"], soonest["large"])
	}
	info, err := os.Stat(filepath.Join(dir, "state", "pawl", "pawl.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("state file: %d KiB", info.Size()>>10)
	if info.Size() > 1<<20 {
		t.Errorf("state file: got %d bytes, want at most 1 MiB", info.Size())
	}
	if r := float64(srv.Sent()) / float64(2*runs*step); r > 1.3 {
		t.Errorf("the server sent %.3f times the wanted bytes, want at most 1.3", r)
	}
}

// terabyteRun runs pawl until the server has sent n more bytes, and kills it. It returns the
// time to the first byte of a body, and the peak resident memory in KiB.
func terabyteRun(t *testing.T, srv *faultserver.Server, dir, name string, n int64) (first time.Duration, rss int64) {
	t.Helper()
	cmd := pawlCommand(dir, "-q", srv.URL+"/"+name)
	cmd.Env = append(cmd.Env, "XDG_STATE_HOME="+filepath.Join(dir, "state"))
	cmd.Stderr = os.Stderr
	srv.WaitIdle()
	before, begun := srv.Sent(), time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop := time.AfterFunc(hangLimit, func() { cmd.Process.Kill() })
	defer stop.Stop()
	never := make(chan struct{})
	srv.WaitSent(before+1, never)
	first = time.Since(begun)
	srv.WaitSent(before+n, never)
	rss = statusField(t, cmd.Process.Pid, "VmHWM") - statusField(t, cmd.Process.Pid, "RssFile") // the program of the tests has more code
	cmd.Process.Kill()
	cmd.Wait()
	return first, rss
}

// statusField returns a field of /proc/PID/status of a running process in KiB. Its VmHWM is the peak
// resident memory, which in rusage includes the test's own process before the exec.
func statusField(t *testing.T, pid int, field string) (kib int64) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if n, err := fmt.Sscanf(line, field+": %d kB", &kib); n == 1 && err == nil {
			return kib
		}
	}
	t.Fatal("no " + field)
	return 0
}
