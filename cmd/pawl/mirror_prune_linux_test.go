package main

import (
	"os"
	"testing"
)

// TestPruneReportsUndeletableFile checks that a file that --prune cannot delete is an error
// and stays recorded, and that the other files are deleted.
func TestPruneReportsUndeletableFile(t *testing.T) {
	s := newSite(t)
	s.addMany(3, sameSize(10))
	urls := s.urls("f0000", "f0001", "f0002")
	s.writeList("list", urls[0], urls[1], "  out=sub/f0001", urls[2])
	s.runMirror("-q", "list").wantExit(0)
	s.writeList("list", urls[0])
	must(s.testRun, os.Chmod(s.path("sub"), 0o555))
	cmd := s.unprivilegedCommand("mirror", "-q", "-d", "out", "--prune", "list")
	s.startCommand(cmd).wait().wantExit(3).wantStderr("pawl: error: cannot delete files that no list names: 1 failed", "permission denied", "pawl: hint: check their directories")
	if exists(s.path("f0002")) || !exists(s.path("sub/f0001")) {
		t.Errorf("f0002 was not deleted, or sub/f0001 was")
	}
	must(s.testRun, os.Chmod(s.path("sub"), 0o755))
	s.runMirror("-q", "--prune", "list").wantExit(0)
	s.wantFileCount(1)
}
