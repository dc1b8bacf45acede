package main

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// mirrorInto mirrors all files of the list into a directory and returns how long it took.
func (s *site) mirrorInto(dir string, args ...string) time.Duration {
	s.Helper()
	o := s.runPawl(append([]string{"mirror", "-q", "-d", dir, "list"}, args...)...).wantExit(0)
	for name, f := range s.files {
		s.wantFile(filepath.Join(dir, name), f)
	}
	return o.elapsed
}

// wantLimited checks that the limit in args makes a run take want: never less, because a busy
// machine can only delay it, and in one of three tries little more than a run without a limit
// in addition.
func (s *site) wantLimited(want time.Duration, args ...string) {
	s.Helper()
	const burst = 100 * time.Millisecond
	var base, took time.Duration
	for try := range 3 {
		base = s.mirrorInto(fmt.Sprint("base", try))
		if took = s.mirrorInto(fmt.Sprint("out", try), args...); took < want-burst {
			s.Errorf("%q: took %v, want at least %v", args, took, want)
		}
		if took < want*5/4+base {
			return
		}
	}
	s.Errorf("%q: took %v, and %v without a limit, want about %v", args, took, base, want)
}

// TestMirrorRate checks that --limit-rate applies to many small files together.
func TestMirrorRate(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	s := newSite(t)
	s.addMany(150, sameSize(20<<10))
	s.writeListOfAll("list")
	s.wantLimited(2930*time.Millisecond, "--limit-rate", "1M")
}

// TestMirrorRequestRate checks that --max-request-rate applies to all files of a host
// together.
func TestMirrorRequestRate(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	s := newSite(t)
	s.addMany(51, sameSize(1000))
	s.writeListOfAll("list")
	s.wantLimited(2*time.Second, "--max-request-rate", "25/s") // the first request need not wait
}
