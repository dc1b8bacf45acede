package main

import (
	"math"
	"os"
	"syscall"
	"testing"

	"pawl/downloader/faultserver"
)

// TestMirrorKills kills -9 a run over 1,000 files of mixed sizes at ten random
// points. The end state is right, nothing that was finished is asked for again,
// and little is sent twice.
//
// What a kill costs is what has arrived and is not yet on record, so it grows with
// the rate and not with the files: some 100 ms of it. With PAWL_TEST_LONG=1 the
// files have some 490 MiB, which come at 8 MiB/s, and 2 % may be sent twice. The
// short run has so much less that the same ten kills cost a larger part; it holds
// them to 300 ms each.
func TestMirrorKills(t *testing.T) {
	const kills = 10
	largest, rate := int64(320<<10), int64(12<<20)
	most := func(size int64) int64 { return size + kills*rate*3/10 }
	if os.Getenv("PAWL_TEST_LONG") != "" {
		largest, rate = 4<<20, 8<<20
		most = func(size int64) int64 { return size + size/50 }
	}
	s := newSite(t)
	s.addMany(1000, func(int) int64 { return s.logUniform(1<<10, largest) })
	s.add("f0000", 4<<20)
	s.add("f0001", 1<<10)
	s.writeListOfAll("list")
	s.srv.Set(faultserver.Rate(rate))
	finished, size := make(map[string]bool), s.total()
	for i := range int64(kills) {
		part := size / (kills + 1)
		s.killMirror(max(part*i+s.rand.Int64N(part), s.srv.Sent()+1), finished)
		t.Logf("kill %d after %d of %d bytes: %d files are finished", i, s.srv.Sent(), size, len(finished))
	}
	before := len(s.srv.Requests())
	s.runMirror("-q", "list").wantExit(0)
	s.wantNoRequestsFor(before, finished)
	s.wantFiles()
	s.wantFileCount(1000)
	t.Logf("sent/size: %d/%d = %.4f", s.srv.Sent(), size, float64(s.srv.Sent())/float64(size))
	if s.srv.Sent() > most(size) && !raceEnabled {
		t.Errorf("%d bytes were sent, want %d at most", s.srv.Sent(), most(size))
	}
	s.srv.Reset()
	s.runMirror("-q", "list").wantExit(0)
	if n := len(s.srv.Requests()); n > 0 {
		t.Errorf("another run: %d requests, want none", n)
	}
}

// killMirror kills a run when the server has sent so many bytes in all. None of
// the finished files may be asked for in it; those that have their name then must
// be whole, and are finished.
func (s *site) killMirror(at int64, finished map[string]bool) {
	s.Helper()
	before := len(s.srv.Requests())
	if o := s.signalAt(at-s.srv.Sent(), syscall.SIGKILL, "mirror", "-q", "-d", "out", "list"); o.code != -1 {
		s.Fatalf("exit %d before it was killed", o.code)
	}
	s.srv.WaitIdle()
	s.wantNoRequestsFor(before, finished)
	for name, f := range s.files {
		if finished[name] {
			continue
		}
		if hasContent(s.path(name), f) {
			finished[name] = true
		} else if _, err := os.Lstat(s.path(name)); err == nil {
			s.Errorf("%s has its name and is not the file", name)
		}
	}
}

// logUniform returns a random size, as often in one power of two as in another.
func (s *site) logUniform(least, most int64) int64 {
	return int64(float64(least) * math.Exp(s.rand.Float64()*math.Log(float64(most)/float64(least))))
}

// noneAsked checks that none of these files was asked for since so many requests.
func (s *site) wantNoRequestsFor(since int, finished map[string]bool) {
	s.Helper()
	for _, r := range s.srv.Requests()[since:] {
		if finished[r.Path[1:]] {
			s.Errorf("%s was finished, and is asked for again (%s)", r.Path, r.Range)
		}
	}
}
