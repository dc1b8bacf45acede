package main

import (
	"strings"
	"testing"
	"time"

	"pawl/downloader/faultserver"
)

// TestGetOffline: without any network pawl waits, which costs no tries, and goes on when
// there is one: a download that has not begun, one in the middle, and one that is resumed.
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
	waitFor(t, func() bool { // some of it is recorded
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
	early.wantRunningFor(4 * time.Second) // some tries
	setNetwork(t, true)
	for _, r := range []*followedRun{early, middle, resumed} {
		r.wait()
		if n := strings.Count(r.stderr.String(), "no network"); n != 1 {
			t.Errorf("it was told %d times that there is no network:\n%s", n, r.stderr)
		}
	}
	s.srv.Set()
	for name, f := range s.files {
		if !hasContent(s.dir+"/"+name, f) {
			t.Errorf("%s is not what is served", name)
		}
	}
}
