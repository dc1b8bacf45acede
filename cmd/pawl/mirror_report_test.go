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

// TestMirrorReport checks that a report has the outcome of each file and each bad line, and
// that --failed writes a list of the missing files.
func TestMirrorReport(t *testing.T) {
	s := newSite(t)
	s.addMany(3, sameSize(1000))
	s.add("late1", 3000)
	s.add("late2", 2000)
	host := strings.TrimPrefix(s.srv.URL, "http://")
	s.writeList("list", s.srv.URL+"/f0000", "http://me:secret@"+host+"/f0001", "\tout=sub/one", s.srv.URL+"/f0002", "nonsense",
		s.srv.URL+"/none1", "  out=late1", "  header=X-Test: yes", s.srv.URL+"/none2", "  dir=deep", "  size=2000")
	s.runMirror("-q", "--report", "first", s.dir+"/list").wantExit(8)
	s.runMirror("--report", "report", "--failed", "failed", "list").wantExit(8).wantStderr(
		"3 of 5 files are here: 3 already here\n", " 2 failed: HTTP error\n", " 1 line of the lists cannot be used\n")
	r := s.report("report")
	s.checkHeader(r.reportHeader, r.Ended)
	s.checkEntries(r)
	for _, f := range s.report("first").Files {
		if f.Outcome == outcomeFetched && (f.Fetched != 1000 || f.Rounds != 1 || f.FinalURL == "" || f.Seconds <= 0 || f.CRC32C == "" || f.Size != 1000) {
			t.Errorf("entry of a fetched file: got %+v", f)
		}
	}
	s.mirrorFailedList()
	s.runMirror("list").wantExit(2).wantStderr("all 5 files are here: 5 already here", "1 line of the lists cannot be used")
}

// checkHeader checks the part of TestMirrorReport's report that describes the run.
func (s *site) checkHeader(h reportHeader, ended time.Time) {
	s.Helper()
	if h.V != 1 || !strings.HasPrefix(h.Pawl, "pawl ") || len(h.Lists) != 1 || h.Lists[0] != "list" || h.Dir != filepath.Join(s.dir, "out") {
		s.Errorf("header: got %+v", h)
	}
	if h.Started.IsZero() || ended.Before(h.Started) || time.Since(h.Started) > time.Minute {
		s.Errorf("report: got start %v and end %v, want both within the last minute", h.Started, ended)
	}
}

// checkEntries checks the files, the problems and the summary of TestMirrorReport's report.
func (s *site) checkEntries(r readReport) {
	s.Helper()
	want := map[string]string{ // by path: outcome, size, line, exit code
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
		s.Errorf("report: no entries for %v", want)
	}
	if len(r.Problems) != 1 || r.Problems[0].Line != 5 || r.Problems[0].List != "list" || !strings.Contains(r.Problems[0].Error, "nonsense") {
		s.Errorf("problems: got %+v", r.Problems)
	}
	if g := r.Summary; g.Files != 5 || g.Current != 3 || g.Failed != 2 || g.Problems != 1 || g.Exit != 8 || g.Fetched+g.Unchanged+g.Pending != 0 {
		s.Errorf("summary: got %+v", g)
	}
}

// mirrorFailedList makes the server serve the missing files and mirrors the list of
// --failed. The files must arrive with the options of the first list.
func (s *site) mirrorFailedList() {
	s.Helper()
	s.srv.Put("none1", s.files["late1"])
	s.srv.Put("none2", s.files["late2"])
	s.srv.Reset()
	s.runMirror("--failed", "failed2", "failed").wantExit(0).wantStderr("all 2 files are here: 2 fetched")
	if !hasContent(s.path("late1"), s.files["late1"]) || !hasContent(s.path("deep/none2"), s.files["late2"]) {
		s.Errorf("the files of the list of --failed do not have the served bytes")
	}
	if asked := s.requestCounts(); len(s.srv.Requests()) != 2 || asked["none1"] != 1 || asked["none2"] != 1 {
		s.Errorf("the list of --failed: got requests %v", asked)
	}
	for _, r := range s.srv.Requests() {
		if r.Path == "/none1" && r.Header.Get("X-Test") != "yes" {
			s.Errorf("the header of the list was not sent")
		}
	}
	if lines := s.lines("failed2"); len(lines) > 0 {
		s.Errorf("no file failed, and --failed wrote %q", lines)
	}
}

// TestMirrorDeadlineReport checks that a run that --deadline interrupts writes its missing
// files to --failed, and reports them as pending.
func TestMirrorDeadlineReport(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.addMany(40, sameSize(200<<10))
	s.writeListOfAll("list")
	s.srv.Set(faultserver.ConnRate(200 << 10)) // four connections fetch four files a second
	s.runMirror("-x", "4", "--deadline", "4s", "--report", "report", "--failed", "failed", "list").wantExit(75).wantStderr("deadline")
	r := s.report("report")
	ends := r.outcomeCounts()
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
	s.runMirror("-q", "list").wantExit(0)
	s.wantFiles()
	s.wantFileCount(40)
}

// TestMirrorStderr checks stderr if it is not a terminal: lines with timestamps, and with -q
// only errors and hints.
func TestMirrorStderr(t *testing.T) {
	s := newSite(t)
	s.addMany(5, sameSize(1000))
	s.writeListOfAll("good")
	s.writeList("bad", append(s.urls("f0000", "none"), "nonsense")...)
	o := s.runMirror("good").wantExit(0)
	timed := regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d pawl: \S`)
	lines := strings.Split(strings.TrimSuffix(o.stderr, "\n"), "\n")
	for _, line := range lines {
		if !timed.MatchString(line) || strings.ContainsAny(line, "\r\x1b") {
			t.Errorf("got line %q, want a line with a timestamp", line)
		}
	}
	if len(lines) > 5+5 || o.stdout != "" {
		t.Errorf("got %d lines, and %q on stdout", len(lines), o.stdout)
	}
	if o := s.runMirror("-q", "good").wantExit(0); o.stderr+o.stdout != "" {
		t.Errorf("-q: got %q, want nothing", o.stderr)
	}
	o = s.runMirror("-q", "bad").wantExit(8)
	for line := range strings.Lines(o.stderr) {
		if !strings.Contains(line, " pawl: error: ") && !strings.Contains(line, " pawl: hint: ") {
			t.Errorf("-q: got %q, want errors only", line)
		}
	}
	o.wantStderr(`"`+s.srv.URL+`/none"`, "404", "bad:3: ")
}

// TestMirrorJSON checks that each line on stdout is a JSON object, and that the events
// report the end of each file and a summary.
func TestMirrorJSON(t *testing.T) {
	s := newSite(t)
	s.addMany(20, sameSize(1000))
	s.writeListOfAll("list")
	s.writeList("bad", s.urls("none")...)
	o := s.runMirror("--json", "list", "bad").wantExit(8)
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
		t.Errorf("events: got %v, and last %v, want 20 finished, 1 stopped, and a summary at the end", events, last)
	}
	sum, _ := last["summary"].(map[string]any)
	if sum["files"] != 21.0 || sum["fetched"] != 20.0 || sum["failed"] != 1.0 || sum["exit"] != 8.0 {
		t.Errorf("summary: got %v", sum)
	}
}
