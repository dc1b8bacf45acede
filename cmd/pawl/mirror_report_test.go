package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pawl/downloader/faultserver"
)

// TestMirrorReport: a report says of each file and each bad line what became of
// it, and --failed is a list of what is not here.
func TestMirrorReport(t *testing.T) {
	s := newSite(t)
	s.addMany(3, each(1000))
	s.add("late1", 3000)
	s.add("late2", 2000)
	host := strings.TrimPrefix(s.srv.URL, "http://")
	s.list("list", s.srv.URL+"/f0000", "http://me:secret@"+host+"/f0001", "\tout=sub/one", s.srv.URL+"/f0002", "nonsense",
		s.srv.URL+"/none1", "  out=late1", "  header=X-Test: yes", s.srv.URL+"/none2", "  dir=deep", "  size=2000")
	s.mirror("-q", "--report", "first", s.dir+"/list").exits(8)
	s.mirror("--report", "report", "--failed", "failed", "list").exits(8).says(
		"3 of 5 files are here: 3 already here\n", " 2 failed: HTTP error\n", " 1 line of the lists cannot be used\n")
	r := s.report("report")
	s.checkHeader(r.reportHeader, r.Ended)
	s.checkEntries(r)
	for _, f := range s.report("first").Files {
		if f.Outcome == outcomeFetched && (f.Fetched != 1000 || f.Rounds != 1 || f.FinalURL == "" || f.Seconds <= 0 || f.CRC32C == "" || f.Size != 1000) {
			t.Errorf("a fetched file: got %+v", f)
		}
	}
	s.passBack()
	s.mirror("list").exits(2).says("all 5 files are here: 5 already here", "1 line of the lists cannot be used")
}

// checkHeader checks what a report of TestMirrorReport says of the run.
func (s *site) checkHeader(h reportHeader, ended time.Time) {
	s.Helper()
	if h.V != 1 || !strings.HasPrefix(h.Pawl, "pawl ") || len(h.Lists) != 1 || h.Lists[0] != "list" || h.Dir != filepath.Join(s.dir, "out") {
		s.Errorf("header: got %+v", h)
	}
	if h.Started.IsZero() || ended.Before(h.Started) || time.Since(h.Started) > time.Minute {
		s.Errorf("it began at %v and ended at %v", h.Started, ended)
	}
}

// checkEntries checks what it says of the files and the lines.
func (s *site) checkEntries(r readReport) {
	s.Helper()
	want := map[string]string{ // path: outcome, size, line, exit, rounds
		"f0000": "current 1000 1 0", "sub/one": "current 1000 2 0", "f0002": "current 1000 4 0",
		"late1": "failed 0 6 8", "deep/none2": "failed 0 9 8",
	}
	for _, f := range r.Files {
		rel, _ := filepath.Rel(r.Dir, f.Path)
		if got := fmt.Sprintf("%s %d %d %d", f.Outcome, f.Size, f.Line, f.Exit); got != want[rel] {
			s.Errorf("%s: got %s, want %s", rel, got, want[rel])
		}
		delete(want, rel)
		if (f.Error != "") != (f.Exit != 0) || f.List != "list" || strings.Contains(f.URL, "secret") || !strings.HasPrefix(f.URL, s.srv.URL+"/") {
			s.Errorf("%s: got %+v", rel, f)
		}
	}
	if len(want) > 0 {
		s.Errorf("report: nothing of %v", want)
	}
	if len(r.Problems) != 1 || r.Problems[0].Line != 5 || r.Problems[0].List != "list" || !strings.Contains(r.Problems[0].Error, "nonsense") {
		s.Errorf("problems: got %+v", r.Problems)
	}
	if g := r.Summary; g.Files != 5 || g.Current != 3 || g.Failed != 2 || g.Problems != 1 || g.Exit != 8 || g.Fetched+g.Unchanged+g.Pending != 0 {
		s.Errorf("summary: got %+v", g)
	}
}

// passBack has the server right what failed: by the list of --failed alone it
// comes, with all that the first list said of it.
func (s *site) passBack() {
	s.Helper()
	s.srv.Put("none1", s.files["late1"])
	s.srv.Put("none2", s.files["late2"])
	s.srv.Reset()
	s.mirror("--failed", "failed2", "failed").exits(0).says("all 2 files are here: 2 fetched")
	if !isFile(s.path("late1"), s.files["late1"]) || !isFile(s.path("deep/none2"), s.files["late2"]) {
		s.Errorf("what --failed listed is not here")
	}
	if asked := s.asked(); len(s.srv.Requests()) != 2 || asked["none1"] != 1 || asked["none2"] != 1 {
		s.Errorf("the list of --failed: got requests %v", asked)
	}
	for _, r := range s.srv.Requests() {
		if r.Path == "/none1" && r.Header.Get("X-Test") != "yes" {
			s.Errorf("the header of the list was not sent")
		}
	}
	if lines := s.lines("failed2"); len(lines) > 0 {
		s.Errorf("all went well, and --failed wrote %q", lines)
	}
}

// TestMirrorPaused: a run that is interrupted lists what it has not fetched as
// failed and as pending.
func TestMirrorPaused(t *testing.T) {
	s := newSite(t)
	s.addMany(40, each(200<<10))
	s.listAll("list")
	s.srv.Set(faultserver.Rate(2 << 20))
	s.mirror("--deadline", "1s", "--report", "report", "--failed", "failed", "list").exits(75).says("deadline")
	r := s.report("report")
	ends := r.ends()
	if ends[outcomeFetched] == 0 || ends[outcomePending] == 0 || len(r.Files) != 40 || ends[outcomeFailed] > 0 || r.Summary.Exit != 75 {
		t.Errorf("report: got %v, %+v", ends, r.Summary)
	}
	left := 0
	for _, line := range s.lines("failed") {
		if !strings.HasPrefix(line, " ") {
			left++
		}
	}
	if left != 40-ends[outcomeFetched] {
		t.Errorf("--failed: got %d files, want the other %d", left, 40-ends[outcomeFetched])
	}
	s.srv.Set()
	s.mirror("-q", "list").exits(0)
	s.here()
	s.only(40)
}

// TestMirrorWords: what stderr has where it is no terminal, and with -q.
func TestMirrorWords(t *testing.T) {
	s := newSite(t)
	s.addMany(5, each(1000))
	s.listAll("good")
	s.list("bad", append(s.urls("f0000", "none"), "nonsense")...)
	o := s.mirror("good").exits(0)
	timed := regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d pawl: \S`)
	lines := strings.Split(strings.TrimSuffix(o.stderr, "\n"), "\n")
	for _, line := range lines {
		if !timed.MatchString(line) || strings.ContainsAny(line, "\r\x1b") {
			t.Errorf("got line %q, want one with its time", line)
		}
	}
	if len(lines) > 5+5 || o.stdout != "" {
		t.Errorf("got %d lines, and %q on stdout", len(lines), o.stdout)
	}
	if o := s.mirror("-q", "good").exits(0); o.stderr+o.stdout != "" {
		t.Errorf("-q: got %q, want nothing", o.stderr)
	}
	o = s.mirror("-q", "bad").exits(8)
	for line := range strings.Lines(o.stderr) {
		if !strings.Contains(line, " pawl: error: ") && !strings.Contains(line, " pawl: hint: ") {
			t.Errorf("-q: got %q, want errors only", line)
		}
	}
	o.says(`"`+s.srv.URL+`/none"`, "404", "bad:3: ")
}

// TestMirrorJSON: each line on stdout is an object, and they tell how each file
// ended and the whole.
func TestMirrorJSON(t *testing.T) {
	s := newSite(t)
	s.addMany(20, each(1000))
	s.listAll("list")
	s.list("bad", s.urls("none")...)
	o := s.mirror("--json", "list", "bad").exits(8)
	events := make(map[string]int)
	var last map[string]any
	for lines := bufio.NewScanner(strings.NewReader(o.stdout)); lines.Scan(); {
		last = nil
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil || last["v"] != 1.0 {
			t.Fatalf("got %q on stdout, want an object of version 1 (%v)", lines.Text(), err)
		}
		name, _ := last["event"].(string)
		events[name]++
	}
	if events["finished"] != 20 || events["stopped"] != 1 || events["summary"] != 1 || last["event"] != "summary" {
		t.Errorf("events: got %v, and the last %v", events, last)
	}
	sum, _ := last["summary"].(map[string]any)
	if sum["files"] != 21.0 || sum["fetched"] != 20.0 || sum["failed"] != 1.0 || sum["exit"] != 8.0 {
		t.Errorf("summary: got %v", sum)
	}
}
