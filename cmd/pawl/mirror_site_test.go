package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pawl/downloader/faultserver"
)

// This file has the helpers of the tests of pawl mirror, in which the real program mirrors
// lists from a fault server.

// A site is a testRun whose server has many files. Lists are in the working directory, and
// are mirrored into the directory out below it.
type site struct {
	*testRun
	files map[string]faultserver.File // served files, by name
}

// newSite returns a site without files.
func newSite(t *testing.T) *site {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	s := &site{testRun: &testRun{hazard: hazard{name: t.Name()}}, files: make(map[string]faultserver.File)}
	s.setUp(t, seed)
	return s
}

// add serves size random bytes as name, other bytes with each call.
func (s *site) add(name string, size int64) {
	s.files[name] = s.putFile(name, faultserver.NewFile(size, s.rand.Uint64N(1<<40)))
}

// addMany serves n files f0000, f0001 and so on, the i-th of size(i) bytes, and returns their
// names.
func (s *site) addMany(n int, size func(i int) int64) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("f%04d", i))
		s.add(names[i], size(i))
	}
	return names
}

// sameSize returns a function for addMany that gives all files the same size.
func sameSize(size int64) func(int) int64 { return func(int) int64 { return size } }

// total returns the size of all files together.
func (s *site) total() (n int64) {
	for _, f := range s.files {
		n += f.Size
	}
	return n
}

// writeListOfAll writes a list of all files.
func (s *site) writeListOfAll(name string) {
	s.Helper()
	s.writeList(name, s.urls(slices.Sorted(maps.Keys(s.files))...)...)
}

// urls returns the URLs of files.
func (s *site) urls(names ...string) (urls []string) {
	for _, name := range names {
		urls = append(urls, s.srv.URL+"/"+name)
	}
	return urls
}

// runMirror runs pawl mirror into out to its end.
func (s *site) runMirror(args ...string) runResult {
	s.Helper()
	return s.runPawl(append([]string{"mirror", "-d", "out"}, args...)...)
}

// startMirror starts pawl mirror into out.
func (s *site) startMirror(args ...string) *pawlProcess {
	s.Helper()
	return s.startPawl(append([]string{"mirror", "-d", "out"}, args...)...)
}

// path returns the path of a mirrored file.
func (s *site) path(name string) string { return filepath.Join(s.dir, "out", name) }

// wantExit checks the exit code and returns o.
func (o runResult) wantExit(code int) runResult {
	o.tr.Helper()
	if o.code != code {
		o.tr.Errorf("exit %d, want %d\n%s", o.code, code, o.stderr)
	}
	return o
}

// wantStderr checks that stderr contains each of these texts.
func (o runResult) wantStderr(texts ...string) {
	o.tr.Helper()
	for _, text := range texts {
		if !strings.Contains(o.stderr, text) {
			o.tr.Errorf("stderr does not contain %q", text)
		}
	}
}

// wantFiles checks that mirrored files have the served bytes, all files if none is named.
func (s *site) wantFiles(names ...string) {
	s.Helper()
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(s.files))
	}
	for _, name := range names {
		if !hasContent(s.path(name), s.files[name]) {
			s.Errorf("%s does not have the served bytes", name)
		}
	}
}

// exists reports whether a file of any kind, also a dangling link, exists at path.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// wantFileCount checks that out contains n files, and no part files or temporary files.
func (s *site) wantFileCount(n int) {
	s.Helper()
	var names []string
	filepath.WalkDir(filepath.Join(s.dir, "out"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, d.Name())
		}
		return nil
	})
	if len(names) != n {
		s.Errorf("out contains %d files, want %d", len(names), n)
	}
	for _, name := range names {
		if strings.Contains(name, ".part") || strings.HasSuffix(name, ".tmp") {
			s.Errorf("left over: %s", name)
		}
	}
}

// requestCounts returns the number of requests for each file since the last reset.
func (s *site) requestCounts() map[string]int {
	n := make(map[string]int)
	for _, r := range s.srv.Requests() {
		n[strings.TrimPrefix(r.Path, "/")]++
	}
	return n
}

// A readReport is the parsed file of --report.
type readReport struct {
	reportHeader
	Files    []reportFile    `json:"files"`
	Problems []reportProblem `json:"problems"`
	Summary  summary         `json:"summary"`
	Ended    time.Time       `json:"ended"`
}

// report reads the file of --report, which must not contain unknown fields.
func (s *site) report(name string) (r readReport) {
	s.Helper()
	f, err := os.Open(filepath.Join(s.dir, name))
	must(s.testRun, err)
	defer f.Close()
	dec := json.NewDecoder(f)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		s.Fatalf("report: %v", err)
	}
	if dec.More() {
		s.Errorf("report: data follows the JSON object")
	}
	return r
}

// outcomeCounts returns the number of files with each outcome.
func (r readReport) outcomeCounts() map[reportOutcome]int {
	n := make(map[reportOutcome]int)
	for _, f := range r.Files {
		n[f.Outcome]++
	}
	return n
}

// lines returns the lines of a file, without a final empty line.
func (s *site) lines(name string) []string {
	s.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, name))
	must(s.testRun, err)
	if len(text) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}
