package main

import (
	"os"
	"testing"
)

// TestPruneUndeleted: a file that cannot be deleted is an error, and stays on record;
// the others go.
func TestPruneUndeleted(t *testing.T) {
	s := newSite(t)
	s.addMany(3, each(10))
	urls := s.urls("f0000", "f0001", "f0002")
	s.list("list", urls[0], urls[1], "  out=sub/f0001", urls[2])
	s.mirror("-q", "list").exits(0)
	s.list("list", urls[0])
	must(s.trial, os.Chmod(s.path("sub"), 0o555))
	cmd := s.powerless("mirror", "-q", "-d", "out", "--prune", "list")
	s.launch(cmd).wait().exits(3).says("pawl: error: cannot delete files that no list names: 1 failed", "permission denied", "pawl: hint: see to their directories")
	if exists(s.path("f0002")) || !exists(s.path("sub/f0001")) {
		t.Errorf("the file that can be deleted is there, or the other one is gone")
	}
	must(s.trial, os.Chmod(s.path("sub"), 0o755))
	s.mirror("-q", "--prune", "list").exits(0)
	s.only(1)
}
