package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pawl/store"

	"golang.org/x/sync/errgroup"
)

// TestMirrorKnownFiles mirrors a list of 10,000 lines, of which all but 500 are recorded
// and on disk. pawl must request only the missing files and use little memory. With
// PAWL_TEST_LONG=1 there are lists of 200,000 and 2,000,000 lines, too. The known files are
// empty, and in /dev/shm if it exists, because creating them takes most of the time.
func TestMirrorKnownFiles(t *testing.T) {
	sampled(t, 8)
	skipUnderRace(t)
	const ramDisk = "/dev/shm"
	if exists(ramDisk) {
		t.Setenv("TMPDIR", ramDisk)
	}
	sizes := []int{10_000}
	if longTests() {
		sizes = []int{10_000, 200_000, 2_000_000}
	}
	const missing = 500
	for _, n := range sizes {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := newSite(t)
			s.addMany(missing, sameSize(1000))
			seeded := time.Now()
			s.writeLongList("list", n)
			t.Logf("the records were made in %v", time.Since(seeded).Round(time.Millisecond))
			for range 2 { // the second run finds nothing missing
				before := len(s.srv.Requests())
				elapsed, rss := s.runMeasured("mirror", "-q", "-d", "out", "list")
				asked := len(s.srv.Requests()) - before
				t.Logf("%d lines: %v, %d requests, peak RSS %d KiB", n, elapsed.Round(time.Millisecond), asked, rss)
				if rss > 100<<10 && !raceEnabled {
					t.Errorf("%d lines: peak RSS %d KiB, want at most 100 MiB", n, rss)
				}
				if want := map[bool]int{true: missing}[before == 0]; asked != want {
					t.Errorf("%d lines: %d requests, want %d", n, asked, want)
				}
			}
			s.wantFiles()
		})
	}
}

// writeLongList writes a list of n lines. The files of the site are spread evenly over it;
// for all other lines it creates records and finished files.
func (s *site) writeLongList(name string, n int) {
	s.Helper()
	f, err := os.Create(filepath.Join(s.dir, name))
	must(s.testRun, err)
	defer f.Close()
	w := bufio.NewWriter(f)
	st, err := store.Open(filepath.Join(s.dir, "state", "pawl"), store.Options{})
	must(s.testRun, err)
	var group []*store.TempFile
	place := func() {
		var g errgroup.Group
		for _, u := range group {
			g.Go(func() error { return st.Publish(u) })
		}
		must(s.testRun, g.Wait())
		group = group[:0]
	}
	for i, every := 0, n/len(s.files); i < n; i++ {
		if i%every == 0 && i/every < len(s.files) {
			fmt.Fprintf(w, "%s/f%04d\n", s.srv.URL, i/every)
			continue
		}
		path := fmt.Sprintf("known/%03d/%07d.dat", i/1000, i)
		url := s.srv.URL + "/" + path
		fmt.Fprintf(w, "%s\n  out=%s\n", url, path)
		u, err := st.CreateTemp(store.Record{URL: url, Target: s.path(path), Named: true, ETag: fmt.Sprintf("%q", path)})
		must(s.testRun, err)
		if group = append(group, u); len(group) == 256 {
			place()
		}
	}
	place()
	must(s.testRun, st.FlushPublished())
	must(s.testRun, w.Flush())
}

// runMeasured runs pawl, which must succeed, and returns how long it took and its peak
// resident memory in KiB.
func (s *site) runMeasured(args ...string) (elapsed time.Duration, rss int64) {
	s.Helper()
	r := s.startPawl(args...)
	if longTests() { // millions of files
		r.killTimer.Reset(10 * hangLimit)
	}
	stop, polled := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(polled)
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-tick.C:
				rss = max(rss, readPeakRSS(r.cmd.Process.Pid))
			case <-stop:
				return
			}
		}
	}()
	o := r.wait().wantExit(0)
	close(stop)
	<-polled
	return o.elapsed, rss
}

// readPeakRSS is peakRSS for a process that may have ended; it returns 0 then.
func readPeakRSS(pid int) (kib int64) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if n, err := fmt.Sscanf(lines.Text(), "VmHWM: %d kB", &kib); n == 1 && err == nil {
			return kib
		}
	}
	return 0
}
