package main

import (
	"net/http"
	"slices"
	"testing"
)

// TestMirrorUpdate: -N asks for each file once, and fetches those 7 of 1,000 that
// have changed.
func TestMirrorUpdate(t *testing.T) {
	s := newSite(t)
	names := s.addMany(1000, func(i int) int64 { return 500 + int64(i) })
	s.listAll("list")
	s.mirror("-q", "list").exits(0)
	s.here()

	changed := make(map[string]bool)
	for _, i := range s.rand.Perm(len(names))[:7] {
		changed[names[i]] = true
		s.add(names[i], 700+s.rand.Int64N(900))
	}
	s.srv.Reset()
	s.mirror("-q", "list").exits(0)
	if n := len(s.srv.Requests()); n != 0 {
		t.Errorf("without -N: %d requests, want none", n)
	}
	s.mirror("-N", "--report", "report", "list").exits(0).says("all 1000 files are here: 7 fetched, 993 checked and unchanged")
	s.here()
	s.only(1000)
	s.eachAskedOnce(names, changed)
	for _, f := range s.report("report").Files {
		want := outcomeUnchanged
		if changed[f.URL[len(s.srv.URL)+1:]] {
			want = outcomeFetched
		}
		if f.Outcome != want {
			t.Errorf("report: %s %s, want %s", f.URL, f.Outcome, want)
		}
	}
	size := int64(0)
	for name := range changed {
		size += s.files[name].Size
	}
	if sent := s.srv.Sent(); sent > size+int64(len(changed)) {
		t.Errorf("%d bytes were sent, want the %d of the changed files", sent, size)
	}
	s.srv.Reset()
	s.mirror("-q", "-N", "list").exits(0)
	s.eachAskedOnce(names, nil)
}

// eachAskedOnce checks that each file was asked for once, conditionally, and that
// the answer was 304. Of a changed one a first byte may come before the fetch.
func (s *site) eachAskedOnce(names []string, changed map[string]bool) {
	s.Helper()
	for name, n := range s.asked() {
		if n != 1 && !(changed[name] && n == 2) || !slices.Contains(names, name) {
			s.Errorf("%s was asked for %d times", name, n)
		}
	}
	statuses := make(map[int]int)
	for _, r := range s.srv.Requests() {
		statuses[r.Status]++
		want := http.StatusNotModified
		if changed[r.Path[1:]] {
			want = http.StatusOK
		}
		if r.Status != want && !(want == http.StatusOK && r.Status == http.StatusPartialContent) {
			s.Errorf("%s was answered %d, want %d", r.Path, r.Status, want)
		}
		if !changed[r.Path[1:]] && r.Header.Get("If-None-Match") == "" && r.Header.Get("If-Modified-Since") == "" {
			s.Errorf("%s was asked for without a condition", r.Path)
		}
	}
	if statuses[http.StatusNotModified] != len(names)-len(changed) {
		s.Errorf("got answers %v, want %d times 304", statuses, len(names)-len(changed))
	}
}
