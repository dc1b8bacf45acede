package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestReportSchema compares a report with the documented schema.
func TestReportSchema(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.json")
	r, err := newReport(path, reportHeader{
		Pawl: "1", Started: time.Unix(0, 0).UTC(), Lists: []string{"a@b", "https://u:p@h/l"}, Dir: "/d",
	})
	if err != nil {
		t.Fatal(err)
	}
	r.addProblem(reportProblem{List: "https://u:p@h/l", Line: 7, Error: "no"})
	r.addFile(reportFile{
		Path: "/d/a", URL: "https://u:p@h/a?b&c", FinalURL: "https://x:y@i/a", Outcome: outcomeFetched, Fetched: 3, Seconds: 0.5,
		Retries: 1, Rounds: 2, Sum: "sha256:00", CRC32C: "01", List: "a@b", Line: 2,
	})
	r.addFile(reportFile{URL: "http://h/<b>?\xe9", Outcome: outcomeFailed, Path: "/d/caf\xe9", List: "l\xe9", Size: -1, Error: "4\xff", Exit: 8})
	if err := r.close(summary{Files: 2, Fetched: 1, Failed: 1, Bytes: 3, Seconds: 1.5, Exit: 8, Problems: 1, Failures: map[int]int{8: 1}}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text, ended, _ := strings.Cut(string(got), `,`+"\n"+`"ended":"`)
	want := `{"v":1,"pawl":"1","started":"1970-01-01T00:00:00Z","lists":["a@b","https://h/l"],"dir":"/d",
"files":[
{"path":"/d/a","url":"https://h/a?b&c","final_url":"https://i/a","outcome":"fetched","size":0,"fetched":3,"seconds":0.5,"retries":1,"rounds":2,"sum":"sha256:00","crc32c":"01","list":"a@b","line":2},
{"path":"/d/caf\\xe9","url":"http://h/<b>?\\xe9","outcome":"failed","list":"l\\xe9","error":"4\\xff","exit":8}],
"problems":[
{"list":"https://h/l","line":7,"error":"no"}],
"summary":{"files":2,"fetched":1,"current":0,"unchanged":0,"failed":1,"pending":0,"problems":1,"bytes":3,"seconds":1.5,"exit":8}`
	if text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	at, err := time.Parse(time.RFC3339, strings.TrimSuffix(ended, "\"}\n"))
	if err != nil || time.Since(at) > time.Minute {
		t.Errorf("ended %q, %v", ended, err)
	}
}

// A parsedReport is a report as other programs parse it.
type parsedReport struct {
	V        int
	Files    []reportFile
	Problems []reportProblem
	Summary  summary
}

func parseReport(t *testing.T, path string) (p parsedReport) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatalf("%v in %.200q", err, text)
	}
	return p
}

// TestReportConcurrent checks that a report has every file and problem that several
// goroutines add, whatever their texts, and that a report without entries is valid.
func TestReportConcurrent(t *testing.T) {
	for _, n := range []int{0, 1, 5000} {
		dir := t.TempDir()
		path := filepath.Join(dir, "r.json")
		r, err := newReport(path, reportHeader{})
		if err != nil {
			t.Fatal(err)
		}
		var group sync.WaitGroup
		for w := range 4 {
			group.Go(func() {
				for i := range n {
					r.addFile(reportFile{Path: "a\n\"\xff\x00\u2028" + strings.Repeat("x", i%100), Outcome: outcomeFetched, Line: w*n + i + 1})
					r.addProblem(reportProblem{Line: w*n + i + 1, Error: "]}\n"})
				}
			})
		}
		group.Wait()
		if err := r.close(summary{Files: 4 * n}); err != nil {
			t.Fatal(err)
		}
		p := parseReport(t, path)
		files, problems := make(map[int]bool), make(map[int]bool)
		for _, f := range p.Files {
			files[f.Line] = true
		}
		for _, f := range p.Problems {
			problems[f.Line] = true
		}
		if len(p.Files) != 4*n || len(files) != 4*n || len(problems) != 4*n || p.Summary.Files != 4*n || p.V != 1 {
			t.Errorf("%d each: got %d (%d) files, %d problems, %+v", 4*n, len(p.Files), len(files), len(problems), p.Summary)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 1 {
			t.Errorf("got %d files, want only the report", len(entries))
		}
	}
}

// TestFailedReportLeavesNoFile checks that a report that cannot be completed leaves no file.
func TestFailedReportLeavesNoFile(t *testing.T) {
	tests := map[string]func(r *report){
		"disk":     func(r *report) { r.out.tmp.Close() },
		"problems": func(r *report) { r.problems.tmp.Close() },
		"rename":   func(r *report) { os.Mkdir(r.out.path, 0o777) },
		"value":    func(r *report) { r.addFile(reportFile{Seconds: math.NaN()}) },
	}
	for name, harm := range tests {
		dir := t.TempDir()
		path := filepath.Join(dir, "r.json")
		r, err := newReport(path, reportHeader{})
		if err != nil {
			t.Fatal(err)
		}
		r.addProblem(reportProblem{})
		harm(r)
		r.addFile(reportFile{})
		r.addProblem(reportProblem{})
		if err := r.close(summary{}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", path)) {
			t.Errorf("%s: got %v", name, err)
		}
		os.Remove(path) // the directory of the case "rename"
		wantDirFiles(t, dir, nil)
	}
}

// TestAbortedReportLeavesNoFile checks that an aborted report leaves no file, and that a nil
// report does nothing.
func TestAbortedReportLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	r, err := newReport(filepath.Join(dir, "r"), reportHeader{})
	if err != nil {
		t.Fatal(err)
	}
	r.addFile(reportFile{})
	r.addProblem(reportProblem{})
	r.abort()
	wantDirFiles(t, dir, nil)
	r = nil
	r.addFile(reportFile{})
	r.addProblem(reportProblem{})
	r.abort()
	if err := r.close(summary{}); err != nil {
		t.Errorf("nil: got %v", err)
	}
	if _, err := newReport(dir, reportHeader{}); err == nil {
		t.Error("a directory: no error")
	}
}
