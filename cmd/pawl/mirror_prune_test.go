package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pawl/downloader/faultserver"
)

// writeListOfFirst writes a list of the first n files.
func (s *site) writeListOfFirst(name string, n int) {
	s.Helper()
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("f%04d", i))
	}
	s.writeList(name, s.urls(names...)...)
}

// TestPruneLimit checks that a run that would delete more files than --max-delete allows
// deletes nothing and reports the number.
func TestPruneLimit(t *testing.T) {
	sampled(t, 8)
	skipUnderRace(t)
	type row struct {
		made, left int
		args       []string
		refused    string // part of the error; "" if the files are deleted
	}
	for _, tt := range sample(4, []row{
		{30, 15, nil, ""},
		{30, 14, nil, "nothing is deleted: pruning would delete 16 of the 30 files that earlier runs made, and the limit is 15"},
		{12, 2, nil, ""},
		{12, 1, nil, "pruning would delete 11 of the 12 files that earlier runs made, and the limit is 10"},
		{5, 1, []string{"--max-delete", "4"}, ""},
		{5, 1, []string{"--max-delete", "3"}, "pruning would delete 4 of the 5 files that earlier runs made, and the limit is 3"},
		{5, 4, []string{"--max-delete", "0"}, "pruning would delete 1 of the 5 files that earlier runs made, and the limit is 0"},
		{5, 5, []string{"--max-delete", "0"}, ""},
		{40, 30, []string{"--max-delete", "25%"}, ""},
		{40, 30, []string{"--max-delete", "24.9%"}, "pruning would delete 10 of the 40 files that earlier runs made, and the limit is 9"},
		{5, 4, []string{"--max-delete", "0%"}, "and the limit is 0"},
		{30, 1, []string{"--max-delete", "100%"}, ""},
		{30, 1, []string{"--max-delete", "inf"}, ""},
	}) {
		t.Run(fmt.Sprint(tt.made, tt.left, tt.args), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.addMany(tt.made, sameSize(10))
			s.writeListOfFirst("list", tt.made)
			s.runMirror(append(tt.args, "-q", "--prune", "list")...).wantExit(0)
			s.writeListOfFirst("list", tt.left)
			args := append(tt.args, "--prune", "list")
			if tt.refused == "" {
				s.runMirror(append(args, "--dry-run")...).wantExit(0)
				s.wantFileCount(tt.made)
				s.runMirror(args...).wantExit(0)
				s.wantFileCount(tt.left)
				return
			}
			for _, more := range []string{"--dry-run", "-q"} {
				s.runMirror(append(args, more)...).wantExit(1).wantStderr(tt.refused, "pawl: hint: ", fmt.Sprintf("--max-delete %d\n", tt.made-tt.left))
				s.wantFileCount(tt.made)
			}
			s.runMirror("-q", "--prune", "--max-delete", fmt.Sprint(tt.made-tt.left), "list").wantExit(0)
			s.wantFileCount(tt.left)
		})
	}
}

// TestPruneLimitIgnoresNewFiles checks that new files of the run do not raise the limit, and
// that files that it has only updated do count.
func TestPruneLimitIgnoresNewFiles(t *testing.T) {
	s := newSite(t)
	names := s.addMany(64, sameSize(10))
	s.writeListOfFirst("list", 24)
	s.runMirror("-q", "list").wantExit(0)
	s.writeList("list", s.urls(append(names[24:], names[:11]...)...)...) // drops 13 files and adds 40
	s.runMirror("-q", "--prune", "list").wantExit(1).wantStderr("pruning would delete 13 of the 24 files that earlier runs made, and the limit is 12")
	s.wantFileCount(64)
	for i := range 24 {
		s.add(names[i], 20)
	}
	s.runMirror("-q", "-N", "--prune", "list").wantExit(0) // now earlier runs have made 64 files
	s.wantFileCount(51)
	s.wantFiles(append(names[24:], names[:11]...)...)
}

// TestPruneLimitIgnoresSharedFiles checks that a file that another list names does not count
// for the limit, because it is not deleted.
func TestPruneLimitIgnoresSharedFiles(t *testing.T) {
	s := newSite(t)
	s.addMany(30, sameSize(10))
	s.writeListOfFirst("a", 30)
	s.writeListOfFirst("b", 20)
	s.runMirror("-q", "a").wantExit(0)
	s.runMirror("-q", "b").wantExit(0)
	s.writeListOfFirst("a", 5)
	s.runMirror("-q", "--prune", "a").wantExit(0)
	s.wantFileCount(20)
	s.writeListOfFirst("b", 4)
	s.runMirror("-q", "--prune", "b").wantExit(1).wantStderr("pruning would delete 15 of the 20 files that earlier runs made, and the limit is 10")
	s.wantFileCount(20)
}

// TestPruneNotByUnframedList checks that a list from a URL without Content-Length and
// chunked coding prunes nothing, because it may have been cut. This must also hold when the
// server later responds that the list has not changed.
func TestPruneNotByUnframedList(t *testing.T) {
	s := newSite(t)
	names := s.addMany(3, sameSize(10))
	publish := func(n int, faults ...faultserver.Fault) {
		text := strings.Join(s.urls(names[:n]...), "\n") + "\n"
		s.srv.Set(append(faults, serveTexts(map[string]string{"list": text}))...)
	}
	list := s.srv.URL + "/list"
	publish(3)
	s.runMirror("-q", "--prune", list).wantExit(0)
	publish(2, faultserver.HTTP10, faultserver.NoLength)
	const warning = "came without a length, so it may be truncated; it prunes nothing"
	s.runMirror("-q", "--prune", list).wantExit(0).wantStderr(warning)
	s.wantFileCount(3)
	publish(2)
	s.runMirror("-q", "--prune", list).wantExit(0).wantStderr(warning)
	s.wantFileCount(3)
	publish(1, faultserver.NoLength)
	s.runMirror("-q", "--prune", list).wantExit(0)
	s.wantFileCount(1)
}

// TestPruneKills kills pawl while --prune deletes files. No remaining file may have lost its
// record, and after the next run exactly the files of the list must remain.
func TestPruneKills(t *testing.T) {
	sampled(t, 8)
	skipUnderRace(t)
	t.Parallel()
	s := newSite(t)
	s.addMany(600, sameSize(10))
	rounds := 1
	if allTests() {
		rounds = 5
	}
	for round := range rounds {
		s.writeListOfFirst("list", 600)
		s.runMirror("-q", "list").wantExit(0)
		s.writeListOfFirst("list", 20)
		r := s.startMirror("-q", "--prune", "--max-delete", "inf", "list")
		file := s.path(fmt.Sprintf("f%04d", 20+s.rand.IntN(580)))
		for begun := time.Now(); exists(file) && time.Since(begun) < hangLimit; {
			time.Sleep(100 * time.Microsecond)
		}
		r.cmd.Process.Kill()
		r.wait()
		s.writeListOfFirst("list", 300)
		s.runMirror("-q", "list").wantExit(0) // fails because of foreign files if records were lost
		s.writeListOfFirst("list", 20)
		s.runMirror("-q", "--prune", "--max-delete", "inf", "list").wantExit(0)
		s.wantFileCount(20)
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
}
