package main

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pawl/downloader/faultserver"
	"pawl/store"
)

// insideEnv is set in the process of a test that runs in a network namespace of its own.
const insideEnv = "PAWL_TEST_NETWORK"

// inOwnNetwork runs the current test again as a process in a network namespace of its own.
// It returns true in that process, and false in the original one, which must then return.
// The test is skipped if namespaces are not available.
func inOwnNetwork(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideEnv) != "" {
		return true
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("ip(8) is not installed")
	}
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	probe := exec.Command("true")
	probe.SysProcAttr = attr
	if err := probe.Run(); err != nil {
		t.Skipf("cannot create a network namespace, which needs root: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout", "5m")
	cmd.SysProcAttr = attr
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	out, err := cmd.CombinedOutput()
	if t.Logf("%s", out); err != nil {
		t.Errorf("the test in its own network: %v", err)
	}
	return false
}

// siteAddress is the address of the site within inOwnNetwork.
const siteAddress = "10.77.0.1"

// setNetwork gives the network namespace an address and a default route, or removes them.
func setNetwork(t *testing.T, up bool) {
	t.Helper()
	script := "ip route del default && ip addr del " + siteAddress + "/24 dev lo"
	if up {
		script = "ip link set lo up && ip addr add " + siteAddress + "/24 dev lo && ip route add default via 10.77.0.2 dev lo"
	}
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
}

// listenAtAddress makes the site's server listen at siteAddress, too, and changes its URL.
func (s *site) listenAtAddress() {
	s.Helper()
	l, err := net.Listen("tcp", "0.0.0.0:0")
	must(s.testRun, err)
	srv := &http.Server{Handler: s.srv}
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.Serve(l)
	}()
	s.Cleanup(func() {
		srv.Close()
		<-done
	})
	_, port, _ := net.SplitHostPort(l.Addr().String())
	s.srv.URL = "http://" + net.JoinHostPort(siteAddress, port)
}

// TestMirrorOffline checks that pawl waits while there is no network at all, without using
// up tries and rounds, and continues when there is one.
func TestMirrorOffline(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	if !inOwnNetwork(t) {
		return
	}
	setNetwork(t, true)
	s := newSite(t)
	s.listenAtAddress()
	s.addMany(20, sameSize(1000))
	s.writeListOfAll("list")
	s.srv.Set(serveTexts(map[string]string{"list": strings.Join(s.lines("list"), "\n")}))
	setNetwork(t, false)
	r := s.startFollowed("--tries", "1", "--rounds", "1", "--report", "report", "list")
	far := s.startFollowed("--tries", "1", "--rounds", "1", "-d", "far", s.srv.URL+"/list") // the list itself cannot be downloaded
	awaitText(t, r.stderr, "no network")
	r.wantRunningFor(time.Second) // long enough for several tries
	if !strings.Contains(far.stderr.String(), "no network") {
		t.Errorf("pawl did not report that the list waits for a network: %q", far.stderr)
	}
	setNetwork(t, true)
	r.wait()
	far.wait()
	s.wantFiles()
	for name, f := range s.files {
		if !hasContent(filepath.Join(s.dir, "far", name), f) {
			t.Errorf("%s in the other directory does not have the served bytes", name)
		}
	}
	if n := strings.Count(r.stderr.String(), "no network"); n != 1 {
		t.Errorf("pawl reported %d times that there is no network, want once", n)
	}
	for _, f := range s.report("report").Files {
		if f.Rounds != 1 {
			t.Errorf("%s: got round %d, want 1", f.Path, f.Rounds)
		}
	}
}

// TestMirrorOutage is TestMirrorOffline with a network that fails during the run. It needs
// PAWL_TEST_LONG=1.
func TestMirrorOutage(t *testing.T) {
	if !longTests() {
		t.Skip("PAWL_TEST_LONG is not set")
	}
	t.Parallel()
	if !inOwnNetwork(t) {
		return
	}
	setNetwork(t, true)
	s := newSite(t)
	s.listenAtAddress()
	s.addMany(20, sameSize(100<<10))
	s.add("large", 4<<20)
	s.writeListOfAll("list")
	s.srv.Set(faultserver.Rate(3 << 20))
	r := s.startFollowed("--tries", "2", "--rounds", "1", "--stall-timeout", "2s", "--connect-timeout", "2s", "list")
	waitFor(t, func() bool { return s.srv.Sent() > s.total()/3 })
	setNetwork(t, false)
	awaitText(t, r.stderr, "no network")
	setNetwork(t, true)
	r.wait()
	s.wantFiles()
	s.wantFileCount(21)
}

// startFollowed starts pawl mirror into out, with a stderr that can be read meanwhile.
func (s *site) startFollowed(args ...string) *followedRun {
	s.Helper()
	return s.follow(s.pawlCmd(append([]string{"mirror", "-d", "out"}, args...)))
}

// wait waits for the end of the run, which must succeed.
func (r *followedRun) wait() {
	r.Helper()
	if err := <-r.ended; err != nil {
		r.Errorf("%v\n%s", err, r.stderr)
	}
	r.Logf("%s", r.stderr)
}

// TestGetOffline checks that pawl waits while there is no network at all, without using up
// tries, and continues when there is one: a new download, a running one and a resumed one.
func TestGetOffline(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	if !inOwnNetwork(t) {
		return
	}
	setNetwork(t, true)
	s := newSite(t)
	s.listenAtAddress()
	for _, name := range []string{"early", "middle", "resumed"} {
		s.add(name, 24<<20) // which takes longer than the steps until the network is down
	}
	s.srv.Set(faultserver.Rate(2 << 20))
	get := func(args ...string) *followedRun {
		return s.follow(s.pawlCmd(append([]string{"--tries", "2", "--stall-timeout", "500ms", "--connect-timeout", "500ms"}, args...)))
	}
	middle := get(s.urls("middle")...)
	waitFor(t, func() bool { return s.srv.Sent() > 1<<20 })
	begun := get(s.urls("resumed")...)
	waitFor(t, func() bool { // until some bytes are recorded
		return slices.ContainsFunc(s.unfinished(), func(r store.Record) bool { return filepath.Base(r.Target) == "resumed" && r.Held.Len() > 0 })
	})
	begun.cmd.Process.Kill()
	<-begun.ended
	setNetwork(t, false)
	early := get(s.urls("early")...)
	resumed := s.follow(s.pawlCmd([]string{"resume", "--tries", "2", "resumed"}))
	for _, r := range []*followedRun{early, middle, resumed} {
		awaitText(t, r.stderr, "no network")
	}
	early.wantRunningFor(time.Second) // long enough for more than two tries
	s.srv.Set()
	setNetwork(t, true)
	for _, r := range []*followedRun{early, middle, resumed} {
		r.wait()
		if n := strings.Count(r.stderr.String(), "no network"); n != 1 {
			t.Errorf("pawl reported %d times that there is no network, want once:\n%s", n, r.stderr)
		}
	}
	for name, f := range s.files {
		if !hasContent(s.dir+"/"+name, f) {
			t.Errorf("%s does not have the served bytes", name)
		}
	}
}
