package main

import (
	"net/http"
	"slices"
	"testing"
	"time"
)

// TestMirrorUpdate checks that -N sends one conditional request per file, and downloads the
// 7 of 1,000 files that have changed.
func TestMirrorUpdate(t *testing.T) {
	skipUnderRace(t)
	t.Parallel()
	s := newSite(t)
	names := s.addMany(1000, func(i int) int64 { return 500 + int64(i) })
	s.writeListOfAll("list")
	s.runMirror("-q", "list").wantExit(0)
	s.wantFiles()

	changed := make(map[string]bool)
	for _, i := range s.rand.Perm(len(names))[:7] {
		changed[names[i]] = true
		before := s.files[names[i]].Modified
		s.add(names[i], 700+s.rand.Int64N(900))
		f := s.files[names[i]]
		f.Modified = before.Add(time.Hour) // so that the first response decides
		s.files[names[i]] = f
		s.srv.Put(names[i], f)
	}
	s.srv.Reset()
	s.runMirror("-q", "list").wantExit(0)
	if n := len(s.srv.Requests()); n != 0 {
		t.Errorf("without -N: %d requests, want none", n)
	}
	s.runMirror("-N", "--report", "report", "list").wantExit(0).wantStderr("all 1000 files are here: 7 fetched, 993 checked and unchanged")
	s.wantFiles()
	s.wantFileCount(1000)
	s.wantOneRequestEach(names, changed)
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
	s.runMirror("-q", "-N", "list").wantExit(0)
	s.wantOneRequestEach(names, nil)
}

// wantOneRequestEach checks that each file was requested once, with a condition, and that
// the response was 304. A changed file may take a second request, after one for its first
// byte.
func (s *site) wantOneRequestEach(names []string, changed map[string]bool) {
	s.Helper()
	for name, n := range s.requestCounts() {
		if n != 1 && !(changed[name] && n == 2) || !slices.Contains(names, name) {
			s.Errorf("%s: got %d requests, want 1", name, n)
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
			s.Errorf("%s: got status %d, want %d", r.Path, r.Status, want)
		}
		if !changed[r.Path[1:]] && r.Header.Get("If-None-Match") == "" && r.Header.Get("If-Modified-Since") == "" {
			s.Errorf("%s was requested without a condition", r.Path)
		}
	}
	if statuses[http.StatusNotModified] != len(names)-len(changed) {
		s.Errorf("got statuses %v, want %d times 304", statuses, len(names)-len(changed))
	}
}
