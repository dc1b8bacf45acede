package main

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"pawl/downloader/faultserver"
)

// failing answers the first requests for a file with 500, as many as fails says.
func failing(fails map[string]int) faultserver.Fault {
	var mu sync.Mutex
	left := func(name string) bool {
		mu.Lock()
		defer mu.Unlock()
		fails[name]--
		return fails[name] >= 0
	}
	return func(next http.Handler) http.Handler {
		refuse := faultserver.Status(http.StatusBadGateway, -1)(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if left(r.URL.Path[1:]) {
				refuse.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// TestMirrorRounds: what fails at first goes to the end of the queue and comes in
// a later round, after a growing wait.
func TestMirrorRounds(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	names := s.addMany(30, each(1000))
	s.listAll("list")
	s.srv.Set(failing(map[string]int{"f0000": 1, "f0001": 1, "f0002": 2, "f0003": 1000}))
	args := []string{"--tries", "1", "--rounds", "3", "--round-wait", "200ms", "--report", "report", "--failed", "failed", "list"}
	o := s.mirror(args...).exits(8)
	o.says("4 files failed; retrying in 0.2s (round 2 of 3)", "2 files failed; retrying in 0.6s (round 3 of 3)")
	if o.elapsed < 800*time.Millisecond {
		t.Errorf("it took %v, and the waits alone are 800ms", o.elapsed)
	}
	want := map[string]int{"f0000": 2, "f0001": 2, "f0002": 3, "f0003": 3}
	for _, f := range s.report("report").Files {
		name := f.URL[len(s.srv.URL)+1:]
		if f.Rounds != max(want[name], 1) || (f.Outcome == outcomeFailed) != (name == "f0003") {
			t.Errorf("report: %s %s in round %d", name, f.Outcome, f.Rounds)
		}
	}
	s.failedAre("failed", s.urls("f0003"))
	asked := s.asked()
	for _, name := range names {
		if asked[name] != max(want[name], 1) {
			t.Errorf("%s was asked for %d times, want %d", name, asked[name], max(want[name], 1))
		}
	}
	for i, r := range s.srv.Requests() {
		if i >= len(names) && want[r.Path[1:]] == 0 {
			t.Errorf("%s came after a second round had begun", r.Path)
		}
	}
	if s.here(names[:3]...); exists(s.path("f0003")) {
		t.Errorf("f0003 is there")
	}
	s.srv.Set()
	s.mirror(args...).exits(0)
	s.here()
	s.only(30)
}
