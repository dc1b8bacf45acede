package main

import (
	"math"
	"os"
	"syscall"
	"testing"

	"pawl/downloader/faultserver"
)

// maxUnfinished is how many of the sent bytes may be neither in finished files nor recorded
// when killMirror kills a run: the small files under way are fetched again.
const maxUnfinished = 4 << 20

// TestMirrorKills kills a run over many files of mixed sizes at random points with SIGKILL. In
// the end all files must be right, no finished file may be requested again, and each kill may
// cost maxUnfinished bytes. There are 250 files and 3 kills, twice as many with PAWL_TEST_ALL=1, and
// with PAWL_TEST_LONG=1 1,000 files of about 490 MiB and 10 kills.
func TestMirrorKills(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	files, kills, largest := 250, int64(3), int64(320<<10)
	switch {
	case longTests():
		files, kills, largest = 1000, 10, 4<<20
	case allTests():
		files, kills = 500, 5
	}
	s := newSite(t)
	s.addMany(files, func(int) int64 { return s.logUniform(1<<10, largest) })
	s.add("f0000", 4<<20)
	s.add("f0001", 1<<10)
	s.writeListOfAll("list")
	s.srv.Set(faultserver.Rate(24 << 20))
	finished, size := make(map[string]bool), s.total()
	for i := range kills {
		part := (size - maxUnfinished) / (kills + 1)
		s.killMirror(part*i+s.rand.Int64N(part), finished)
		t.Logf("kill %d after %d of %d bytes: %d finished files", i, s.srv.Sent(), size, len(finished))
	}
	before := len(s.srv.Requests())
	s.runMirror("-q", "list").wantExit(0)
	s.wantNoRequestsFor(before, finished)
	s.wantFiles()
	s.wantFileCount(files)
	if sent, most := s.srv.Sent(), size+(kills+1)*maxUnfinished; sent > most {
		t.Errorf("%d bytes were sent, want at most %d", sent, most)
	}
	s.srv.Reset()
	s.runMirror("-q", "list").wantExit(0)
	if n := len(s.srv.Requests()); n > 0 {
		t.Errorf("another run: %d requests, want none", n)
	}
}

// killMirror runs the mirror and kills it when n bytes are in finished files or recorded. The
// run must not request finished files. Each file that has its final name afterwards must be
// whole; killMirror adds it to finished.
func (s *site) killMirror(n int64, finished map[string]bool) {
	s.Helper()
	before := len(s.srv.Requests())
	o := s.runBeside(func(r *pawlProcess, more int64) {
		holdUntil(s.srv, more, r.exited, func() bool { return s.keptBytes() >= n })
		r.signalAndWait(syscall.SIGKILL)
		s.srv.Open()
	}, max(n+maxUnfinished-s.keptBytes(), 1), []string{"mirror", "-q", "-d", "out", "list"})
	if o.code != -1 {
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

// keptBytes returns how many bytes the next run need not fetch: the ones of finished files and
// the recorded ones of unfinished files.
func (s *site) keptBytes() int64 {
	s.Helper()
	n := s.recordedBytes()
	for name := range s.files {
		if info, err := os.Lstat(s.path(name)); err == nil {
			n += info.Size()
		}
	}
	return n
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
