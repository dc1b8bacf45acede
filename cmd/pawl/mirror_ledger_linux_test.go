package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"pawl/store"
)

// TestMirrorLedger: of a list of 20,000 lines all but 1,000 are on record and on
// disk. Only these are asked for, and memory is small. With PAWL_TEST_LONG=1 there
// are lists of 200,000 and 2,000,000 lines, too. The files are empty, and in memory
// where that can be, as making so many is most of the work.
func TestMirrorLedger(t *testing.T) {
	const memory = "/dev/shm"
	if exists(memory) {
		t.Setenv("TMPDIR", memory)
	}
	sizes := []int{20_000}
	if os.Getenv("PAWL_TEST_LONG") != "" {
		sizes = []int{20_000, 200_000, 2_000_000}
	}
	const missing = 1000
	for _, n := range sizes {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := newSite(t)
			s.addMany(missing, each(1000))
			seeded := time.Now()
			s.longList("list", n)
			t.Logf("the ledger was made in %v", time.Since(seeded).Round(time.Millisecond))
			for _, wait := range []time.Duration{5 * time.Minute, time.Minute} { // a second time, when nothing is missing
				before := len(s.srv.Requests())
				elapsed, rss := s.measured(wait, "mirror", "-q", "-d", "out", "list")
				asked := len(s.srv.Requests()) - before
				t.Logf("%d lines: %v, %d requests, peak RSS %d KiB", n, elapsed.Round(time.Millisecond), asked, rss)
				if rss > 100<<10 && !raceEnabled {
					t.Errorf("%d lines: peak RSS %d KiB, want 100 MiB at most", n, rss)
				}
				if want := map[bool]int{true: missing}[before == 0]; asked != want {
					t.Errorf("%d lines: %d requests, want %d", n, asked, want)
				}
			}
			s.here()
		})
	}
}

// longList writes a list of n lines, in which the site's files are spread, and the
// others are on record and here.
func (s *site) longList(name string, n int) {
	s.Helper()
	f, err := os.Create(filepath.Join(s.dir, name))
	must(s.trial, err)
	defer f.Close()
	w := bufio.NewWriter(f)
	st, err := store.Open(filepath.Join(s.dir, "state", "pawl"), store.Options{})
	must(s.trial, err)
	var group []*store.TempFile
	place := func() {
		var g errgroup.Group
		for _, u := range group {
			g.Go(func() error { return st.Publish(u) })
		}
		must(s.trial, g.Wait())
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
		must(s.trial, err)
		if group = append(group, u); len(group) == 256 {
			place()
		}
	}
	place()
	must(s.trial, st.FlushPublished())
	must(s.trial, w.Flush())
}

// measured runs the program, which must succeed within a time, and returns how
// long it took and its peak resident set in KiB.
func (s *site) measured(most time.Duration, args ...string) (elapsed time.Duration, rss int64) {
	s.Helper()
	r := s.start(args...)
	r.kill.Reset(most)
	stop, polled := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(polled)
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-tick.C:
				rss = max(rss, highWater(r.cmd.Process.Pid))
			case <-stop:
				return
			}
		}
	}()
	o := r.wait().exits(0)
	close(stop)
	<-polled
	return o.elapsed, rss
}

// highWater is peakRSS of a process that may have ended, 0 then.
func highWater(pid int) (kib int64) {
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
