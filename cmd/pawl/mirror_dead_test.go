package main

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A silentHost accepts connections and never says anything.
type silentHost struct {
	url      string
	accepted atomic.Int64
}

func newSilentHost(t *testing.T) *silentHost {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &silentHost{url: "http://" + l.Addr().String()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			h.accepted.Add(1)
			defer c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return h
}

// refusing returns the URL of a host that refuses connections.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// TestMirrorDead: 10 files of 200 are on hosts that say no, refuse, are silent or
// do not exist. The others arrive, and nobody waits for one host after another.
func TestMirrorDead(t *testing.T) {
	t.Parallel()
	const (
		stall  = 200 * time.Millisecond
		tries  = 2
		rounds = 2
		silent = 6
	)
	s := newSite(t)
	s.addMany(190, func(i int) int64 { return int64(i * 97) })
	mute := newSilentHost(t)
	dead := s.urls("none1", "none2")
	dead = append(dead, refusing(t)+"/c1", "http://pawl-test.invalid/i1")
	for i := range silent {
		dead = append(dead, fmt.Sprintf("%s/s%d", mute.url, i))
	}
	s.listAll("good")
	good := s.lines("good")
	var mixed []string
	for i, u := range good { // the dead ones among the first
		if i < len(dead) {
			mixed = append(mixed, dead[i])
		}
		mixed = append(mixed, u)
	}
	s.list("list", mixed...)
	args := []string{"--stall-timeout", stall.String(), "--connect-timeout", stall.String(), "--tries", fmt.Sprint(tries), "--rounds", fmt.Sprint(rounds),
		"--round-wait", "100ms", "--report", "report", "--failed", "failed", "list"}

	o := s.mirror(args...).exits(8) // the server's no comes before the network's
	s.here()
	s.only(190)
	added := silent * tries * rounds * stall
	if o.elapsed > added {
		t.Errorf("it took %v, want less than the %v of all timeouts of the silent host added up", o.elapsed, added)
	}
	if r := s.report("report"); r.ends()[outcomeFetched] != 190 || r.ends()[outcomeFailed] != 10 || r.Summary.Failed != 10 || r.Summary.Exit != 8 {
		t.Errorf("report: got %v, %+v", r.ends(), r.Summary)
	}
	s.failedAre("failed", dead)

	s.srv.Reset()
	mute.accepted.Store(0)
	s.mirror(args...).exits(8).says("190 of 200 files are here: 190 already here", "10 failed: 8 network, 2 HTTP error")
	asked := s.asked()
	if len(asked) != 2 || asked["none1"] != 2 || asked["none2"] != 2 { // with Range and without, as no range has worked in this run
		t.Errorf("a second run: got requests %v, want two for each file that is not there", asked)
	}
	if mute.accepted.Load() == 0 {
		t.Errorf("a second run did not try the silent host")
	}
	s.failedAre("failed", dead)
}

// failedAre checks the URLs of a list that --failed wrote.
func (s *site) failedAre(name string, want []string) {
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
			s.Errorf("%s has %q, which it should not, or twice", name, line)
		}
		delete(left, line)
	}
	for u := range left {
		s.Errorf("%s does not have %s", name, u)
	}
}
