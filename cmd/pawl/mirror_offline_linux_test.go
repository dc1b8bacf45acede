package main

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pawl/downloader/faultserver"
)

// insideEnv says that a test runs in a network of its own.
const insideEnv = "PAWL_TEST_NETWORK"

// ownNetwork runs the test in a network namespace, in a process of its own, and
// reports whether it is there. Without the means for one the test is skipped.
func ownNetwork(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideEnv) != "" {
		return true
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("there is no ip(8) to take a network down with")
	}
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	probe := exec.Command("true")
	probe.SysProcAttr = attr
	if err := probe.Run(); err != nil {
		t.Skipf("no network of its own to be had, which needs root: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout", "50s")
	cmd.SysProcAttr = attr
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	out, err := cmd.CombinedOutput()
	if t.Logf("%s", out); err != nil {
		t.Errorf("in its own network: %v", err)
	}
	return false
}

// address is that of the site in a network of its own.
const address = "10.77.0.1"

// network gives the test's network its one address and a way to the world, or
// takes them away.
func network(t *testing.T, up bool) {
	t.Helper()
	script := "ip route del default && ip addr del " + address + "/24 dev lo"
	if up {
		script = "ip link set lo up && ip addr add " + address + "/24 dev lo && ip route add default via 10.77.0.2 dev lo"
	}
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
}

// listenThere has the site's server at address, too.
func (s *site) listenThere() {
	s.Helper()
	l, err := net.Listen("tcp", "0.0.0.0:0")
	must(s.trial, err)
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
	s.srv.URL = "http://" + net.JoinHostPort(address, port)
}

// TestMirrorOffline: without any network pawl waits, which costs no tries and no
// rounds, and goes on when there is one.
func TestMirrorOffline(t *testing.T) {
	t.Parallel()
	if !ownNetwork(t) {
		return
	}
	network(t, true)
	s := newSite(t)
	s.listenThere()
	s.addMany(20, each(1000))
	s.listAll("list")
	s.srv.Set(publishing(map[string]string{"list": strings.Join(s.lines("list"), "\n")}))
	network(t, false)
	r := s.startSaying("--tries", "1", "--rounds", "1", "--report", "report", "list")
	far := s.startSaying("--tries", "1", "--rounds", "1", "-d", "far", s.srv.URL+"/list") // the list itself is not to be had
	awaitText(t, r.said, "no network")
	r.stays(4 * time.Second) // some tries
	if !strings.Contains(far.said.String(), "no network") {
		t.Errorf("nobody was told that the list waits for a network: %q", far.said)
	}
	network(t, true)
	r.wait()
	far.wait()
	s.here()
	for name, f := range s.files {
		if !isFile(filepath.Join(s.dir, "far", name), f) {
			t.Errorf("%s is not in the other directory", name)
		}
	}
	if n := strings.Count(r.said.String(), "no network"); n != 1 {
		t.Errorf("it was told %d times that there is no network", n)
	}
	for _, f := range s.report("report").Files {
		if f.Rounds != 1 {
			t.Errorf("%s: round %d", f.Path, f.Rounds)
		}
	}
}

// TestMirrorOutage: the same when the network goes in mid-run. It is of the long tests.
func TestMirrorOutage(t *testing.T) {
	if os.Getenv("PAWL_TEST_LONG") == "" {
		t.Skip("PAWL_TEST_LONG is not set")
	}
	t.Parallel()
	if !ownNetwork(t) {
		return
	}
	network(t, true)
	s := newSite(t)
	s.listenThere()
	s.addMany(20, each(100<<10))
	s.add("large", 4<<20)
	s.listAll("list")
	s.srv.Set(faultserver.Rate(3 << 20))
	r := s.startSaying("--tries", "2", "--rounds", "1", "--stall-timeout", "500ms", "--connect-timeout", "500ms", "list")
	waitFor(t, func() bool { return s.srv.Sent() > s.total()/3 })
	network(t, false)
	awaitText(t, r.said, "no network")
	network(t, true)
	r.wait()
	s.here()
	s.only(21)
}

// startSaying starts pawl mirror into out.
func (s *site) startSaying(args ...string) *saying {
	s.Helper()
	return s.follow(s.command(append([]string{"mirror", "-d", "out"}, args...)))
}

// wait waits for its end, which is to be a good one.
func (r *saying) wait() {
	r.Helper()
	if err := <-r.ended; err != nil {
		r.Errorf("%v\n%s", err, r.said)
	}
	r.Logf("%s", r.said)
}

// stays checks that it does not end for so long.
func (r *saying) stays(d time.Duration) {
	r.Helper()
	select {
	case err := <-r.ended:
		r.Fatalf("it ended: %v\n%s", err, r.said)
	case <-time.After(d):
	}
}
