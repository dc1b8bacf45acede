package main

import (
	"math"
	"os"
	"syscall"
	"testing"

	"pawl/downloader/faultserver"
)

// TestMirrorKills kills a run over 1,000 files of mixed sizes at ten random points with
// SIGKILL. In the end all files must be right, no finished file may be requested again, and
// few bytes may be sent twice.
//
// A kill costs the bytes that have arrived and are not yet recorded: about 100 ms at the
// current rate, whatever the size of the files. With PAWL_TEST_LONG=1 there are about
// 490 MiB at 8 MiB/s, and 2 % may be sent twice. The short run has so few bytes that the
// same kills cost a larger part of them; it allows 300 ms per kill.
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
		t.Logf("kill %d after %d of %d bytes: %d finished files", i, s.srv.Sent(), size, len(finished))
	}
	before := len(s.srv.Requests())
	s.runMirror("-q", "list").wantExit(0)
	s.wantNoRequestsFor(before, finished)
	s.wantFiles()
	s.wantFileCount(1000)
	t.Logf("sent/size: %d/%d = %.4f", s.srv.Sent(), size, float64(s.srv.Sent())/float64(size))
	if s.srv.Sent() > most(size) && !raceEnabled {
		t.Errorf("%d bytes were sent, want at most %d", s.srv.Sent(), most(size))
	}
	s.srv.Reset()
	s.runMirror("-q", "list").wantExit(0)
	if n := len(s.srv.Requests()); n > 0 {
		t.Errorf("another run: %d requests, want none", n)
	}
}

// killMirror runs the mirror and kills it when the server has sent at bytes in all. The run
// must not request finished files. Each file that has its final name afterwards must be
// whole; killMirror adds it to finished.
func (s *site) killMirror(at int64, finished map[string]bool) {
	s.Helper()
	before := len(s.srv.Requests())
	if o := s.signalAt(at-s.srv.Sent(), syscall.SIGKILL, "mirror", "-q", "-d", "out", "list"); o.code != -1 {
		s.Fatalf("exit %d before the kill", o.code)
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
			s.Errorf("%s has its final name and not the served bytes", name)
		}
	}
}

// logUniform returns a random size between least and most whose logarithm is uniformly
// distributed.
func (s *site) logUniform(least, most int64) int64 {
	return int64(float64(least) * math.Exp(s.rand.Float64()*math.Log(float64(most)/float64(least))))
}

// wantNoRequestsFor checks that no finished file was requested after the first since requests.
func (s *site) wantNoRequestsFor(since int, finished map[string]bool) {
	s.Helper()
	for _, r := range s.srv.Requests()[since:] {
		if finished[r.Path[1:]] {
			s.Errorf("%s was finished and is requested again (%s)", r.Path, r.Range)
		}
	}
}
