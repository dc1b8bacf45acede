//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pawl/downloader/faultserver"
)

// TestStartAtSignals checks that a signal ends the wait of --start-at with its exit code, before any
// request and without --on-end, and that SIGHUP lets mirror begin.
func TestStartAtSignals(t *testing.T) {
	t.Parallel()
	for sig, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143} {
		s := newSite(t)
		s.add("a", 1000)
		s.writeListOfAll("list")
		for _, args := range [][]string{{"mirror", "--start-at", "tomorrow 2:00", "list"}, {"get", "--start-at", "+5h", s.srv.URL + "/a"}} {
			r := s.follow(pawlCommand(s.dir, append(args, "--on-end", "echo hook")...))
			awaitText(t, r.stderr, "waiting until 2")
			r.cmd.Process.Signal(sig)
			<-r.ended
			if got := r.cmd.ProcessState.ExitCode(); got != code || strings.Contains(r.stderr.String(), "hook") {
				t.Errorf("%q: exit %d, want %d\n%s", args, got, code, r.stderr)
			}
		}
		if n := len(s.srv.Requests()); n > 0 {
			t.Errorf("%d requests were sent", n)
		}
	}
	s := newSite(t)
	s.add("a", 1000)
	s.writeListOfAll("list")
	r := s.follow(pawlCommand(s.dir, "mirror", "-d", "out", "--start-at", "+5h", "list"))
	awaitText(t, r.stderr, "waiting until 2")
	r.cmd.Process.Signal(syscall.SIGHUP)
	<-r.ended
	s.wantFiles()
}

// TestOnEndAfterSignal checks that --on-end runs after a signal, and that it cannot hold up pawl for
// long.
func TestOnEndAfterSignal(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.add("a", 12<<20)
	s.writeListOfAll("list")
	s.srv.Set(faultserver.Stall(1 << 20))
	for _, args := range [][]string{{"mirror", "-d", "out", "list"}, {"get", "-d", "got", s.srv.URL + "/a"}} {
		r := s.follow(pawlCommand(s.dir, append(args, "--stall-timeout", "10m", "--report", "report", "--hook-timeout", "500ms",
			"--on-end", `echo "end $PAWL_END_EXIT $(grep -c pending "$1") $PAWL_END_ERROR"; sleep 1000; echo never`)...))
		part := filepath.Join(s.dir, args[2], "a.part")
		waitFor(t, func() bool { return exists(part) })
		r.cmd.Process.Signal(syscall.SIGINT)
		<-r.ended
		out := r.stderr.String()
		if code := r.cmd.ProcessState.ExitCode(); code != 130 || !strings.Contains(out, "pawl: hook: end 130 2 interrupted") || !strings.Contains(out, "stopped, because") || strings.Contains(out, "hook: never") {
			t.Errorf("%s: exit %d\n%s", args[0], code, out)
		}
	}
}

// TestOnEndEvery checks that --on-end runs at the end of each run of --every.
func TestOnEndEvery(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.add("a", 1000)
	s.writeListOfAll("list")
	r := s.follow(pawlCommand(s.dir, "mirror", "-d", "out", "--every", "1h", "--report", "report", "--on-end", `echo "end $PAWL_END_EXIT $#"; cp "$1" copy`, "list"))
	for n := range 2 {
		waitFor(t, func() bool {
			return strings.Count(r.stderr.String(), "hook: end 0 1") == n+1 && strings.Count(r.stderr.String(), "next run at") == n+1
		})
		r.cmd.Process.Signal(syscall.SIGHUP)
	}
	waitFor(t, func() bool { return strings.Count(r.stderr.String(), "next run at") == 3 })
	r.cmd.Process.Signal(syscall.SIGINT)
	<-r.ended
	if n := strings.Count(r.stderr.String(), "hook: end"); n != 3 || r.cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("%d hooks have run, want 3; exit %d\n%s", n, r.cmd.ProcessState.ExitCode(), r.stderr)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "copy")); err != nil {
		t.Error(err)
	}
}
