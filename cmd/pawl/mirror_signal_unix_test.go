//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pawl/downloader/faultserver"
)

// TestMirrorSignals checks that a signal ends a run with its exit code, although the server
// sends nothing, and that the next run continues.
func TestMirrorSignals(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	for _, tt := range []struct {
		sig  syscall.Signal
		code int
		word string
	}{{syscall.SIGINT, 130, "interrupted"}, {syscall.SIGTERM, 143, "terminated"}} {
		t.Run(tt.word, func(t *testing.T) {
			s := newSite(t)
			s.addMany(100, sameSize(100<<10))
			s.add("large", 12<<20)
			s.writeListOfAll("list")
			s.srv.Set(faultserver.Rate(16 << 20))
			r := s.startMirror("--stall-timeout", "10m", "--report", "report", "--failed", "failed", "list")
			s.srv.HoldAt(s.total()/2, r.exited)
			r.cmd.Process.Signal(tt.sig)
			o := r.wait().wantExit(tt.code)
			s.srv.Open()
			o.wantStderr("pawl: error: "+tt.word, "pawl: hint: ", "left for another run")
			rep := s.report("report")
			if len(rep.Files) != 101 || rep.Summary.Exit != tt.code || rep.outcomeCounts()[outcomeFetched] == 0 || rep.outcomeCounts()[outcomeFailed] > 0 {
				t.Errorf("report: got %d files, %v, %+v", len(rep.Files), rep.outcomeCounts(), rep.Summary)
			}
			s.srv.WaitIdle()
			done, before := rep.outcomeCounts()[outcomeFetched], len(s.srv.Requests())
			s.srv.Set()
			s.runMirror("list").wantExit(0).wantStderr(fmt.Sprintf("%d already here", done))
			s.wantFiles()
			s.wantFileCount(101)
			for _, r := range s.srv.Requests()[before:] {
				for _, f := range rep.Files {
					if f.Outcome == outcomeFetched && strings.HasSuffix(f.URL, r.Path) {
						t.Errorf("%s was finished and is requested again", r.Path)
					}
				}
			}
			if s.srv.Sent() > s.total()*3/2 {
				t.Errorf("%d bytes were sent for files of %d bytes, want at most 1.5 times as many", s.srv.Sent(), s.total())
			}
		})
	}
}

// TestSignalDoesNotWaitForHook checks that a signal ends a run although a hook hangs.
func TestSignalDoesNotWaitForHook(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.addMany(5, sameSize(1000))
	s.writeListOfAll("list")
	started := filepath.Join(s.dir, "started")
	r := s.startMirror("--on-complete", "trap '' TERM; echo >>'"+started+"'; sleep 600; :", "list")
	waitFor(t, func() bool { return exists(started) })
	for name, f := range s.files {
		waitFor(t, func() bool { return hasContent(s.path(name), f) })
	}
	r.cmd.Process.Signal(syscall.SIGTERM)
	r.wait().wantExit(143)
	s.wantFiles()
}

// TestMirrorEvery checks that --every repeats the run, that SIGHUP repeats it at once, that
// SIGHUP during a run reads the lists again, and that SIGTERM ends pawl.
func TestMirrorEvery(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.add("a", 1000)
	s.writeListOfAll("list")
	r := s.startMirror("--every", "1h", "--report", "report", "list")
	report := filepath.Join(s.dir, "report")
	await := func(name string) { // waits for the file and for the end of that run
		t.Helper()
		waitFor(t, func() bool { return hasContent(s.path(name), s.files[name]) && exists(report) })
		os.Remove(report)
	}
	await("a")
	s.add("b", 2000)
	s.writeListOfAll("list")
	r.cmd.Process.Signal(syscall.SIGHUP)
	await("b")

	// SIGHUP during a run, while the server is slow.
	s.srv.Set(faultserver.ConnRate(200 << 10))
	s.add("slow", 200<<10)
	s.writeListOfAll("list")
	sent := s.srv.Sent()
	r.cmd.Process.Signal(syscall.SIGHUP)
	s.srv.WaitSent(sent+1, r.exited)
	s.add("c", 3000)
	s.writeListOfAll("list")
	r.cmd.Process.Signal(syscall.SIGHUP)
	await("c")
	r.cmd.Process.Signal(syscall.SIGTERM)
	o := r.wait().wantExit(143)
	o.wantStderr("next run at 20", "SIGHUP: running now", "SIGHUP: rereading the lists")
	for name, n := range s.requestCounts() {
		if n != 1 {
			t.Errorf("%s: got %d requests, want 1", name, n)
		}
	}
}

// TestMirrorEveryFails checks that --every continues after a failed run and reports each
// failure.
func TestMirrorEveryFails(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.writeList("list", s.urls("late")...)
	r := s.startMirror("--every", "200ms", "--report", "report", "list")
	waitFor(t, func() bool { return s.requestCounts()["late"] >= 2 })
	s.add("late", 1000)
	waitFor(t, func() bool { return hasContent(s.path("late"), s.files["late"]) })
	waitFor(t, func() bool { return s.report("report").Summary.Current == 1 }) // one more run, which sends no request
	r.cmd.Process.Signal(syscall.SIGTERM)
	o := r.wait().wantExit(143)
	if n := strings.Count(o.stderr, "404 Not Found"); 2*n+1 != s.requestCounts()["late"] { // each failure takes a request with Range and one without
		t.Errorf("%d failures were reported after %d requests, want half of all requests but the last", n, s.requestCounts()["late"])
	}
}

// TestMirrorLock checks that a second run of the same lists into the same directory fails
// while the first one waits, and that other lists and other directories are not locked.
func TestMirrorLock(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	s := newSite(t)
	s.add("a", 2<<20)
	s.writeListOfAll("list")
	s.srv.Set(faultserver.Rate(2 << 20))
	r := s.startMirror("-q", "list")
	s.srv.HoldAt(1, r.exited)
	o := s.runMirror("list").wantExit(75)
	o.wantStderr(fmt.Sprintf("process %d, since 20", r.cmd.Process.Pid), "pawl: hint: ")
	s.runMirror(filepath.Join(s.dir, "list")).wantExit(75) // the same list by its absolute path
	s.srv.Open()
	s.writeList("none")
	s.runMirror("--allow-empty", "none").wantExit(0)
	s.runPawl("mirror", "-q", "-d", "elsewhere", "list").wantExit(0)
	r.wait().wantExit(0)
	s.wantFiles()
	s.runMirror("-q", "list").wantExit(0)
}

// TestSignalEndsEveryWait checks that SIGTERM ends a run, whatever the run waits for.
func TestSignalEndsEveryWait(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"for the next round":   {"--round-wait", "1h", "failing"},
		"for standard input":   {"-"},
		"for a list":           {"MUTE/list"},
		"for checksums":        {"--checksums", "MUTE/sums", "failing"},
		"for a silent host":    {"silent"},
		"for the next request": {"--max-request-rate", "0.1/m", "many"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, mute := newSite(t), newSilentHost(t)
			s.add("here", 1000)
			s.add("there", 1000)
			s.writeList("failing", append(s.urls("here"), refusing(t)+"/none")...)
			s.writeList("silent", append(s.urls("here"), mute.url+"/f")...)
			s.writeListOfAll("many")
			for i := range args {
				args[i] = strings.Replace(args[i], "MUTE", mute.url, 1)
			}
			cmd := s.pawlCmd(append([]string{"mirror", "-d", "out", "--tries", "1", "--stall-timeout", "10m"}, args...))
			in, err := cmd.StdinPipe() // stays open, so reading standard input blocks
			must(s.testRun, err)
			defer in.Close()
			r := s.follow(cmd)
			switch name {
			case "for the next round":
				awaitText(t, r.stderr, "retrying in")
			case "for the next request":
				waitFor(t, func() bool { return len(s.srv.Requests()) > 0 })
			case "for standard input":
				waitFor(t, func() bool { // the state is opened shortly before the wait
					_, err := os.Stat(filepath.Join(s.dir, "state", "pawl"))
					return err == nil
				})
			default:
				waitFor(t, func() bool { return mute.accepted.Load() > 0 })
			}
			cmd.Process.Signal(syscall.SIGTERM)
			<-r.ended
			if code := cmd.ProcessState.ExitCode(); code != 143 {
				t.Errorf("exit %d, want 143\n%s", code, r.stderr)
			}
		})
	}
}

// TestHangupWhileReadingStdin checks that SIGHUP ends a run over standard input in an orderly
// way, because that list cannot be read again.
func TestHangupWhileReadingStdin(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	names := s.addMany(60, sameSize(50<<10))
	s.srv.Set(faultserver.Rate(1 << 20))
	cmd := s.pawlCmd([]string{"mirror", "-d", "out", "--report", "report", "-"})
	cmd.Stdin = strings.NewReader(strings.Join(s.urls(names...), "\n"))
	r := s.follow(cmd)
	waitFor(t, func() bool { return s.srv.Sent() > s.total()/3 })
	cmd.Process.Signal(syscall.SIGHUP)
	<-r.ended
	rep := s.report("report")
	if code := cmd.ProcessState.ExitCode(); code != 129 || len(rep.Files) != 60 || rep.outcomeCounts()[outcomePending] == 0 {
		t.Errorf("exit %d, want 129, and got %v of 60 files\n%s", code, rep.outcomeCounts(), r.stderr)
	}
}

// A followedRun is a running pawl whose stderr can be read meanwhile.
type followedRun struct {
	*site
	cmd    *exec.Cmd
	stderr *lockedText
	ended  chan error // gets the result of Wait
}

// follow starts cmd, and kills it after hangLimit.
func (s *site) follow(cmd *exec.Cmd) *followedRun {
	s.Helper()
	r := &followedRun{s, cmd, new(lockedText), make(chan error, 1)}
	r.cmd.Stderr = r.stderr
	must(s.testRun, r.cmd.Start())
	timer := time.AfterFunc(hangLimit, func() { r.cmd.Process.Kill() })
	go func() { // ends with the process
		r.ended <- r.cmd.Wait()
		timer.Stop()
	}()
	return r
}

// wantRunningFor checks that the run does not end within d.
func (r *followedRun) wantRunningFor(d time.Duration) {
	r.Helper()
	select {
	case err := <-r.ended:
		r.Fatalf("pawl ended: %v\n%s", err, r.stderr)
	case <-time.After(d):
	}
}
