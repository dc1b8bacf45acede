package main

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A silentHost accepts connections and never sends a byte.
type silentHost struct {
	url            string
	accepted, open atomic.Int64 // connections so far, and those that the client has not closed
	peak           atomic.Int64 // maximum of open
}

// newSilentHost starts a silent host that ends with the test.
func newSilentHost(t *testing.T) *silentHost {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &silentHost{url: "http://" + l.Addr().String()}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			h.accepted.Add(1)
			h.peak.Store(max(h.peak.Load(), h.open.Add(1)))
			all.Go(func() {
				defer c.Close()
				io.Copy(io.Discard, c)
				h.open.Add(-1)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return h
}

// refusing returns the URL of a host that refuses connections.
func refusing(t *testing.T) string {
	t.Helper()
	return "http://" + freeAddress(t)
}

// TestMirrorDead mirrors 200 files, of which 10 are missing or on hosts that refuse
// connections, stay silent or do not exist. The others must arrive, and pawl must wait for
// several responses of the silent host at once, not for one after another.
func TestMirrorDead(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	s := newSite(t)
	s.addMany(190, func(i int) int64 { return int64(i * 97) })
	mute := newSilentHost(t)
	dead := s.urls("none1", "none2")
	dead = append(dead, refusing(t)+"/c1", "http://pawl-test.invalid/i1")
	for i := range 6 {
		dead = append(dead, fmt.Sprintf("%s/s%d", mute.url, i))
	}
	s.writeListOfAll("good")
	good := s.lines("good")
	var mixed []string
	for i, u := range good { // mixes the dead URLs into the first lines
		if i < len(dead) {
			mixed = append(mixed, dead[i])
		}
		mixed = append(mixed, u)
	}
	s.writeList("list", mixed...)
	args := []string{"--tries", "2", "--rounds", "2", "--round-wait", "100ms", "--report", "report", "--failed", "failed", "list"}

	s.runMirror(append([]string{"--stall-timeout", "2s"}, args...)...).wantExit(8) // an HTTP error is worse than a network error
	s.wantFiles()
	s.wantFileCount(190)
	if n := mute.peak.Load(); n < 2 {
		t.Errorf("%d connections to the silent host at once, want several", n)
	}
	if r := s.report("report"); r.outcomeCounts()[outcomeFetched] != 190 || r.outcomeCounts()[outcomeFailed] != 10 || r.Summary.Failed != 10 || r.Summary.Exit != 8 {
		t.Errorf("report: got %v, %+v", r.outcomeCounts(), r.Summary)
	}
	s.wantFailedList("failed", dead)

	s.srv.Reset()
	mute.accepted.Store(0)
	s.runMirror(append([]string{"--stall-timeout", "1s"}, args...)...).wantExit(8).wantStderr("190 of 200 files are here: 190 already here", "10 failed: 8 network, 2 HTTP error")
	asked := s.requestCounts()
	if len(asked) != 2 || asked["none1"] < 2 || asked["none2"] < 2 { // with Range and without it, because no range request has succeeded in this run; and again if the machine stalls
		t.Errorf("a second run: got requests %v, want at least two for each missing file, and no others", asked)
	}
	if mute.accepted.Load() == 0 {
		t.Errorf("a second run did not try the silent host")
	}
	s.wantFailedList("failed", dead)
}

// wantFailedList checks that the list written by --failed has exactly these URLs.
func (s *site) wantFailedList(name string, want []string) {
	s.Helper()
	left := make(map[string]bool)
	for _, u := range want {
		left[u] = true
	}
	for _, line := range s.lines(name) {
		if strings.HasPrefix(line, " ") {
			continue
		}
		if !left[line] {
			s.Errorf("%s contains %q, which is unexpected or duplicate", name, line)
		}
		delete(left, line)
	}
	for u := range left {
		s.Errorf("%s does not contain %s", name, u)
	}
}
