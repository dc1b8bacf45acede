package main

import (
	"strings"
	"testing"
	"time"

	"pawl/downloader/faultserver"
)

// TestGetOffline checks that pawl waits while there is no network at all, without using up
// tries, and continues when there is one: a new download, a running one and a resumed one.
func TestGetOffline(t *testing.T) {
	t.Parallel()
	if !inOwnNetwork(t) {
		return
	}
	setNetwork(t, true)
	s := newSite(t)
	s.listenAtAddress()
	for _, name := range []string{"early", "middle", "resumed"} {
		s.add(name, 6<<20)
	}
	s.srv.Set(faultserver.Rate(6 << 20))
	get := func(args ...string) *followedRun {
		return s.follow(s.pawlCmd(append([]string{"--tries", "2", "--stall-timeout", "500ms", "--connect-timeout", "500ms"}, args...)))
	}
	middle := get(s.urls("middle")...)
	waitFor(t, func() bool { return s.srv.Sent() > 1<<20 })
	begun := get(s.urls("resumed")...)
	waitFor(t, func() bool { // until some bytes are recorded
		out, _ := s.pawlCmd([]string{"list"}).Output()
		return strings.Contains(string(out), "resumed") && !strings.Contains(string(out), " 0.0%")
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
	setNetwork(t, true)
	for _, r := range []*followedRun{early, middle, resumed} {
		r.wait()
		if n := strings.Count(r.stderr.String(), "no network"); n != 1 {
			t.Errorf("pawl reported %d times that there is no network, want once:\n%s", n, r.stderr)
		}
	}
	s.srv.Set()
	for name, f := range s.files {
		if !hasContent(s.dir+"/"+name, f) {
			t.Errorf("%s does not have the served bytes", name)
		}
	}
}
