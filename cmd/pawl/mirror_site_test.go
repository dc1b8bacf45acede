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

// This file is what the tests of pawl mirror have in common: the real program
// mirrors lists from a fault server.

// A site is a server with files, and a working directory with lists of them,
// which are mirrored into out below it.
type site struct {
	*trial
	files map[string]faultserver.File // by name
}

func newSite(t *testing.T) *site {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	s := &site{trial: &trial{hazard: hazard{name: t.Name()}}, files: make(map[string]faultserver.File)}
	s.begin(t, seed)
	return s
}

// add serves a file of so many bytes, and another one each time.
func (s *site) add(name string, size int64) {
	s.files[name] = s.put(name, faultserver.NewFile(size, s.rand.Uint64N(1<<40)))
}

// addMany serves n files f0000, f0001 and so on, and returns their names.
func (s *site) addMany(n int, size func(i int) int64) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("f%04d", i))
		s.add(names[i], size(i))
	}
	return names
}

// each is the size of each of many files.
func each(size int64) func(int) int64 { return func(int) int64 { return size } }

// total is the size of all files.
func (s *site) total() (n int64) {
	for _, f := range s.files {
		n += f.Size
	}
	return n
}

// list writes a list of these lines.
func (s *site) list(name string, lines ...string) {
	s.Helper()
	must(s.trial, os.WriteFile(filepath.Join(s.dir, name), []byte(strings.Join(lines, "\n")+"\n"), 0o644))
}

// listAll writes a list of all files.
func (s *site) listAll(name string) {
	s.Helper()
	s.list(name, s.urls(slices.Sorted(maps.Keys(s.files))...)...)
}

// urls returns the addresses of files.
func (s *site) urls(names ...string) (urls []string) {
	for _, name := range names {
		urls = append(urls, s.srv.URL+"/"+name)
	}
	return urls
}

// mirror runs pawl mirror into out.
func (s *site) mirror(args ...string) outcome {
	s.Helper()
	return s.run(append([]string{"mirror", "-d", "out"}, args...)...)
}

// startMirror starts it.
func (s *site) startMirror(args ...string) *running {
	s.Helper()
	return s.start(append([]string{"mirror", "-d", "out"}, args...)...)
}

// path is that of a mirrored file.
func (s *site) path(name string) string { return filepath.Join(s.dir, "out", name) }

// exits checks the exit code.
func (o outcome) exits(code int) outcome {
	o.tr.Helper()
	if o.code != code {
		o.tr.Errorf("exit %d, want %d\n%s", o.code, code, o.stderr)
	}
	return o
}

// says checks that stderr has each of these.
func (o outcome) says(texts ...string) {
	o.tr.Helper()
	for _, text := range texts {
		if !strings.Contains(o.stderr, text) {
			o.tr.Errorf("no %q on stderr", text)
		}
	}
}

// here checks that files are what is served, all of them if none is named.
func (s *site) here(names ...string) {
	s.Helper()
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(s.files))
	}
	for _, name := range names {
		if !isFile(s.path(name), s.files[name]) {
			s.Errorf("%s is not what is served", name)
		}
	}
}

// exists reports whether there is anything at path.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// only checks that out holds so many files, and no litter.
func (s *site) only(n int) {
	s.Helper()
	var names []string
	filepath.WalkDir(filepath.Join(s.dir, "out"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, d.Name())
		}
		return nil
	})
	if len(names) != n {
		s.Errorf("out holds %d files, want %d", len(names), n)
	}
	for _, name := range names {
		if strings.Contains(name, ".part") || strings.HasSuffix(name, ".tmp") {
			s.Errorf("left: %s", name)
		}
	}
}

// asked returns how often each file was asked for since the last reset.
func (s *site) asked() map[string]int {
	n := make(map[string]int)
	for _, r := range s.srv.Requests() {
		n[strings.TrimPrefix(r.Path, "/")]++
	}
	return n
}

// A readReport is a report as its reader has it.
type readReport struct {
	reportHeader
	Files    []reportFile    `json:"files"`
	Problems []reportProblem `json:"problems"`
	Summary  summary         `json:"summary"`
	Ended    time.Time       `json:"ended"`
}

// report reads one, in which nothing may be that its schema does not have.
func (s *site) report(name string) (r readReport) {
	s.Helper()
	f, err := os.Open(filepath.Join(s.dir, name))
	must(s.trial, err)
	defer f.Close()
	dec := json.NewDecoder(f)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		s.Fatalf("report: %v", err)
	}
	if dec.More() {
		s.Errorf("report: something follows the object")
	}
	return r
}

// ends counts the outcomes of a report.
func (r readReport) ends() map[reportOutcome]int {
	n := make(map[reportOutcome]int)
	for _, f := range r.Files {
		n[f.Outcome]++
	}
	return n
}

// lines returns those of a file, without the last one's end.
func (s *site) lines(name string) []string {
	s.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, name))
	must(s.trial, err)
	if len(text) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}
