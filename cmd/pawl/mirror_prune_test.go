package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pawl/downloader/faultserver"
)

// listUntil writes a list of the first n files.
func (s *site) listUntil(name string, n int) {
	s.Helper()
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("f%04d", i))
	}
	s.list(name, s.urls(names...)...)
}

// TestPruneLimit: a run that would delete more than --max-delete allows deletes
// nothing, and says how many it would be.
func TestPruneLimit(t *testing.T) {
	for _, tt := range []struct {
		made, left int
		args       []string
		refused    string // "" if the files are deleted
	}{
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
	} {
		t.Run(fmt.Sprint(tt.made, tt.left, tt.args), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.addMany(tt.made, each(10))
			s.listUntil("list", tt.made)
			s.mirror(append(tt.args, "-q", "--prune", "list")...).exits(0)
			s.listUntil("list", tt.left)
			args := append(tt.args, "--prune", "list")
			if tt.refused == "" {
				s.mirror(append(args, "--dry-run")...).exits(0)
				s.only(tt.made)
				s.mirror(args...).exits(0)
				s.only(tt.left)
				return
			}
			for _, more := range []string{"--dry-run", "-q"} {
				s.mirror(append(args, more)...).exits(1).says(tt.refused, "pawl: hint: ", fmt.Sprintf("--max-delete %d\n", tt.made-tt.left))
				s.only(tt.made)
			}
			s.mirror("-q", "--prune", "--max-delete", fmt.Sprint(tt.made-tt.left), "list").exits(0)
			s.only(tt.left)
		})
	}
}

// TestPruneLimitOfNew: files that the run itself has fetched do not raise the limit;
// those that it has fetched anew count.
func TestPruneLimitOfNew(t *testing.T) {
	s := newSite(t)
	names := s.addMany(64, each(10))
	s.listUntil("list", 24)
	s.mirror("-q", "list").exits(0)
	s.list("list", s.urls(append(names[24:], names[:11]...)...)...) // without 13, with 40 new ones
	s.mirror("-q", "--prune", "list").exits(1).says("pruning would delete 13 of the 24 files that earlier runs made, and the limit is 12")
	s.only(64)
	for i := range 24 {
		s.add(names[i], 20)
	}
	s.mirror("-q", "-N", "--prune", "list").exits(0) // now earlier runs have made 64
	s.only(51)
	s.here(append(names[24:], names[:11]...)...)
}

// TestPruneLimitOfShared: a file that another list claims is not deleted, so it does
// not count.
func TestPruneLimitOfShared(t *testing.T) {
	s := newSite(t)
	s.addMany(30, each(10))
	s.listUntil("a", 30)
	s.listUntil("b", 20)
	s.mirror("-q", "a").exits(0)
	s.mirror("-q", "b").exits(0)
	s.listUntil("a", 5)
	s.mirror("-q", "--prune", "a").exits(0)
	s.only(20)
	s.listUntil("b", 4)
	s.mirror("-q", "--prune", "b").exits(1).says("pruning would delete 15 of the 20 files that earlier runs made, and the limit is 10")
	s.only(20)
}

// TestPruneUnframed: a list from a URL that has neither a length nor chunks may have
// been cut, and prunes nothing, even if the server says later that it has not changed.
func TestPruneUnframed(t *testing.T) {
	s := newSite(t)
	names := s.addMany(3, each(10))
	publish := func(n int, faults ...faultserver.Fault) {
		text := strings.Join(s.urls(names[:n]...), "\n") + "\n"
		s.srv.Set(append(faults, publishing(map[string]string{"list": text}))...)
	}
	list := s.srv.URL + "/list"
	publish(3)
	s.mirror("-q", "--prune", list).exits(0)
	publish(2, faultserver.HTTP10, faultserver.NoLength)
	const warning = "came without a length, so it may have been cut; it prunes nothing"
	s.mirror("-q", "--prune", list).exits(0).says(warning)
	s.only(3)
	publish(2)
	s.mirror("-q", "--prune", list).exits(0).says(warning)
	s.only(3)
	publish(1, faultserver.NoLength)
	s.mirror("-q", "--prune", list).exits(0)
	s.only(1)
}

// TestPruneKills kills -9 a prune while it deletes. Each time the next runs go on: no
// file has lost its record, and in the end there are the files that the list names.
func TestPruneKills(t *testing.T) {
	s := newSite(t)
	s.addMany(600, each(10))
	for round := range 5 {
		s.listUntil("list", 600)
		s.mirror("-q", "list").exits(0)
		s.listUntil("list", 20)
		r := s.startMirror("-q", "--prune", "--max-delete", "inf", "list")
		file := s.path(fmt.Sprintf("f%04d", 20+s.rand.IntN(580)))
		for begun := time.Now(); exists(file) && time.Since(begun) < 10*time.Second; {
			time.Sleep(10 * time.Microsecond)
		}
		r.cmd.Process.Kill()
		r.wait()
		s.listUntil("list", 300)
		s.mirror("-q", "list").exits(0) // would find foreign files, if records were lost
		s.listUntil("list", 20)
		s.mirror("-q", "--prune", "--max-delete", "inf", "list").exits(0)
		s.only(20)
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
}
