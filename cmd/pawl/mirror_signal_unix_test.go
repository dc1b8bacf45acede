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

// TestMirrorSignals: a signal in mid-run ends it within two seconds, with the
// code that it has, and the next run goes on.
func TestMirrorSignals(t *testing.T) {
	for _, tt := range []struct {
		sig  syscall.Signal
		code int
		word string
	}{{syscall.SIGINT, 130, "interrupted"}, {syscall.SIGTERM, 143, "terminated"}} {
		t.Run(tt.word, func(t *testing.T) {
			s := newSite(t)
			s.addMany(100, each(100<<10))
			s.add("large", 12<<20)
			s.listAll("list")
			s.srv.Set(faultserver.Rate(16 << 20))
			r := s.startMirror("--report", "report", "--failed", "failed", "list")
			s.srv.HoldAt(s.total()/2, r.exited)
			signalled := time.Now()
			r.cmd.Process.Signal(tt.sig)
			o := r.wait().exits(tt.code)
			s.srv.Open()
			if d := time.Since(signalled); d > soon(2*time.Second) {
				t.Errorf("it ended %v after the signal", d)
			}
			o.says("pawl: error: "+tt.word, "pawl: hint: ", "left for another run")
			rep := s.report("report")
			if len(rep.Files) != 101 || rep.Summary.Exit != tt.code || rep.ends()[outcomeFetched] == 0 || rep.ends()[outcomeFailed] > 0 {
				t.Errorf("report: got %d files, %v, %+v", len(rep.Files), rep.ends(), rep.Summary)
			}
			s.srv.WaitIdle()
			done, before := rep.ends()[outcomeFetched], len(s.srv.Requests())
			s.srv.Set()
			s.mirror("list").exits(0).says(fmt.Sprintf("%d already here", done))
			s.here()
			s.only(101)
			for _, r := range s.srv.Requests()[before:] {
				for _, f := range rep.Files {
					if f.Outcome == outcomeFetched && strings.HasSuffix(f.URL, r.Path) {
						t.Errorf("%s was fetched, and is asked for again", r.Path)
					}
				}
			}
			if s.srv.Sent() > s.total()*3/2 {
				t.Errorf("%d bytes were sent, of %d", s.srv.Sent(), s.total())
			}
		})
	}
}

// TestMirrorHooksEnd: a signal does not wait for a hook that hangs.
func TestMirrorHooksEnd(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.addMany(5, each(1000))
	s.listAll("list")
	started := filepath.Join(s.dir, "started")
	r := s.startMirror("--on-complete", "trap '' TERM; echo >>'"+started+"'; sleep 30; :", "list")
	waitFor(t, func() bool { return exists(started) })
	for name, f := range s.files {
		waitFor(t, func() bool { return isFile(s.path(name), f) })
	}
	signalled := time.Now()
	r.cmd.Process.Signal(syscall.SIGTERM)
	r.wait().exits(143)
	if d := time.Since(signalled); d > soon(4*time.Second) { // the hook has two seconds of its own
		t.Errorf("it ended %v after the signal", d)
	}
	s.here()
}

// TestMirrorEvery: --every repeats, SIGHUP repeats at once, one in mid-run reads
// the list anew, and SIGTERM ends it all.
func TestMirrorEvery(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.add("a", 1000)
	s.listAll("list")
	r := s.startMirror("--every", "1h", "--report", "report", "list")
	report := filepath.Join(s.dir, "report")
	await := func(name string) { // and the end of that repetition
		t.Helper()
		waitFor(t, func() bool { return isFile(s.path(name), s.files[name]) && exists(report) })
		os.Remove(report)
	}
	await("a")
	s.add("b", 2000)
	s.listAll("list")
	r.cmd.Process.Signal(syscall.SIGHUP)
	await("b")

	// In mid-run, while the server is slow.
	s.srv.Set(faultserver.ConnRate(200 << 10))
	s.add("slow", 200<<10)
	s.listAll("list")
	sent := s.srv.Sent()
	r.cmd.Process.Signal(syscall.SIGHUP)
	s.srv.WaitSent(sent+1, r.exited)
	s.add("c", 3000)
	s.listAll("list")
	r.cmd.Process.Signal(syscall.SIGHUP)
	await("c")
	signalled := time.Now()
	r.cmd.Process.Signal(syscall.SIGTERM)
	o := r.wait().exits(143)
	if d := time.Since(signalled); d > soon(2*time.Second) {
		t.Errorf("it ended %v after the signal", d)
	}
	o.says("next run at 20", "SIGHUP: running now", "SIGHUP: rereading the lists")
	for name, n := range s.asked() {
		if n != 1 {
			t.Errorf("%s was asked for %d times", name, n)
		}
	}
}

// TestMirrorEveryFails: --every goes on after a run that failed, and says so
// each time.
func TestMirrorEveryFails(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.list("list", s.urls("late")...)
	r := s.startMirror("--every", "200ms", "--report", "report", "list")
	waitFor(t, func() bool { return s.asked()["late"] >= 2 })
	s.add("late", 1000)
	waitFor(t, func() bool { return isFile(s.path("late"), s.files["late"]) })
	waitFor(t, func() bool { return s.report("report").Summary.Current == 1 }) // a further run, which asks nobody
	r.cmd.Process.Signal(syscall.SIGTERM)
	o := r.wait().exits(143)
	if n := strings.Count(o.stderr, "404 Not Found"); 2*n+1 != s.asked()["late"] { // each time without Range, too
		t.Errorf("%d failures were told, and there were %d requests of which the last went well", n, s.asked()["late"])
	}
}

// TestMirrorLock: of two runs of the same lists into the same directory the second
// ends at once; other lists, and other directories, are free.
func TestMirrorLock(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.add("a", 2<<20)
	s.listAll("list")
	s.srv.Set(faultserver.Rate(2 << 20))
	r := s.startMirror("-q", "list")
	s.srv.HoldAt(1, r.exited)
	begun := time.Now()
	o := s.mirror("list").exits(75)
	o.says(fmt.Sprintf("process %d, since 20", r.cmd.Process.Pid), "pawl: hint: ")
	s.mirror(filepath.Join(s.dir, "list")).exits(75) // by another name
	if d := time.Since(begun); d > soon(2*time.Second) {
		t.Errorf("they took %v to say so", d)
	}
	s.srv.Open()
	s.list("none")
	s.mirror("none").exits(0)
	s.run("mirror", "-q", "-d", "elsewhere", "list").exits(0)
	r.wait().exits(0)
	s.here()
	s.mirror("-q", "list").exits(0)
}

// TestMirrorWaiting: a run that waits for something ends as soon as any other.
func TestMirrorWaiting(t *testing.T) {
	t.Parallel()
	mute := newSilentHost(t)
	for name, args := range map[string][]string{
		"for the next round":   {"--round-wait", "1m", "failing"},
		"for standard input":   {"-"},
		"for a list":           {"--stall-timeout", "1m", mute.url + "/list"},
		"for checksums":        {"--stall-timeout", "1m", "--checksums", mute.url + "/sums", "failing"},
		"for a silent host":    {"--stall-timeout", "1m", "silent"},
		"for the next request": {"--max-request-rate", "1/m", "many"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.add("here", 1000)
			s.add("there", 1000)
			s.list("failing", append(s.urls("here"), refusing(t)+"/none")...)
			s.list("silent", append(s.urls("here"), mute.url+"/f")...)
			s.listAll("many")
			cmd := s.command(append([]string{"mirror", "-d", "out", "--tries", "1"}, args...))
			in, err := cmd.StdinPipe() // which stays open
			must(s.trial, err)
			defer in.Close()
			r := s.follow(cmd)
			time.Sleep(700 * time.Millisecond) // whatever it does then, it has come to its wait
			signalled := time.Now()
			cmd.Process.Signal(syscall.SIGTERM)
			<-r.ended
			if code := cmd.ProcessState.ExitCode(); code != 143 {
				t.Errorf("exit %d, want 143\n%s", code, r.said)
			}
			if d := time.Since(signalled); d > soon(2*time.Second) {
				t.Errorf("it ended %v after the signal, want 2s at most\n%s", d, r.said)
			}
		})
	}
}

// TestMirrorHangup: a list from standard input cannot be read anew, so that
// SIGHUP ends the run in order.
func TestMirrorHangup(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	names := s.addMany(60, each(50<<10))
	s.srv.Set(faultserver.Rate(1 << 20))
	cmd := s.command([]string{"mirror", "-d", "out", "--report", "report", "-"})
	cmd.Stdin = strings.NewReader(strings.Join(s.urls(names...), "\n"))
	r := s.follow(cmd)
	waitFor(t, func() bool { return s.srv.Sent() > s.total()/3 })
	cmd.Process.Signal(syscall.SIGHUP)
	<-r.ended
	rep := s.report("report")
	if code := cmd.ProcessState.ExitCode(); code != 129 || len(rep.Files) != 60 || rep.ends()[outcomePending] == 0 {
		t.Errorf("exit %d, want 129, and got %v of 60 files\n%s", code, rep.ends(), r.said)
	}
}

// A saying is a run whose words can be read meanwhile.
type saying struct {
	*site
	cmd   *exec.Cmd
	said  *lockedText
	ended chan error // what Wait returned
}

// follow starts a run, which is killed after 40 seconds.
func (s *site) follow(cmd *exec.Cmd) *saying {
	s.Helper()
	r := &saying{s, cmd, new(lockedText), make(chan error, 1)}
	r.cmd.Stderr = r.said
	must(s.trial, r.cmd.Start())
	timer := time.AfterFunc(40*time.Second, func() { r.cmd.Process.Kill() })
	go func() { // ends with the process
		r.ended <- r.cmd.Wait()
		timer.Stop()
	}()
	return r
}
