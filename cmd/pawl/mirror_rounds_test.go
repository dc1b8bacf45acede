package main

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"pawl/downloader/faultserver"
)

// failFirst responds with 502 to the first fails[NAME] requests for each file.
func failFirst(fails map[string]int) faultserver.Fault {
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

// TestMirrorRounds checks that a file that fails is tried again in a later round, after all
// other files and after a growing wait.
func TestMirrorRounds(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	names := s.addMany(30, sameSize(1000))
	s.writeListOfAll("list")
	s.srv.Set(failFirst(map[string]int{"f0000": 1, "f0001": 1, "f0002": 2, "f0003": 1000}))
	args := []string{"--tries", "1", "--rounds", "3", "--round-wait", "200ms", "--report", "report", "--failed", "failed", "list"}
	o := s.runMirror(args...).wantExit(8)
	o.wantStderr("4 files failed; retrying in 0.2s (round 2 of 3)", "2 files failed; retrying in 0.6s (round 3 of 3)")
	if o.elapsed < 800*time.Millisecond {
		t.Errorf("took %v, want at least the 800ms of the waits", o.elapsed)
	}
	want := map[string]int{"f0000": 2, "f0001": 2, "f0002": 3, "f0003": 3}
	for _, f := range s.report("report").Files {
		name := f.URL[len(s.srv.URL)+1:]
		if f.Rounds != max(want[name], 1) || (f.Outcome == outcomeFailed) != (name == "f0003") {
			t.Errorf("report: %s %s in round %d", name, f.Outcome, f.Rounds)
		}
	}
	s.wantFailedList("failed", s.urls("f0003"))
	asked := s.requestCounts()
	for _, name := range names {
		if asked[name] != max(want[name], 1) {
			t.Errorf("%s: got %d requests, want %d", name, asked[name], max(want[name], 1))
		}
	}
	for i, r := range s.srv.Requests() {
		if i >= len(names) && want[r.Path[1:]] == 0 {
			t.Errorf("%s was first requested after the second round had begun", r.Path)
		}
	}
	if s.wantFiles(names[:3]...); exists(s.path("f0003")) {
		t.Errorf("f0003 exists")
	}
	s.srv.Set()
	s.runMirror(args...).wantExit(0)
	s.wantFiles()
	s.wantFileCount(30)
}
