package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"pawl/downloader"
	"pawl/downloader/fleet"
	"pawl/downloader/fleet/natstest"
	"pawl/downloader/mirror"
	"pawl/store"
)

// TestMirrorQueueMany submits a list, and lets the next process of the run collect the outcomes. Memory must not grow with the
// number of files by more than what one machine needs. With PAWL_TEST_LONG=1 the list has 200,000 and 2,000,000 lines.
func TestMirrorQueueMany(t *testing.T) {
	skipUnderRace(t)
	sizes := []int{5_000}
	if longTests() {
		sizes = []int{200_000, 2_000_000}
	}
	for _, n := range sizes {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := newQueueSite(t, natstest.Options{})
			f, err := os.Create(filepath.Join(s.dir, "list"))
			must(s.testRun, err)
			w := bufio.NewWriter(f)
			for i := range n {
				fmt.Fprintf(w, "http://data%d.example.org/collection/%03d/%07d.warc.gz\n  out=%03d/%07d.warc.gz\n", i%100, i/1000, i, i/1000, i)
			}
			must(s.testRun, w.Flush())
			must(s.testRun, f.Close())
			elapsed, rss := s.runMeasured(append([]string{"mirror", "-q", "-d", "out"}, s.withQueue("--detach", "list")...)...)
			t.Logf("%d lines are queued in %v, peak RSS %d KiB", n, elapsed.Round(time.Millisecond), rss)
			s.wantBoundedMemory(n, rss)
			begun := time.Now()
			ended := s.endAll(s.run().ID)
			t.Logf("%d files have ended in %v", ended, time.Since(begun).Round(time.Millisecond))
			begun = time.Now()
			status, err := fleet.StatusOf(t.Context(), s.broker, s.run().ID)
			if err != nil || status.Sent != n || status.Ended[mirror.Fetched] != n || ended != n || status.Bytes != int64(1000*n) {
				t.Errorf("status: got %d sent, %v, %d bytes, %v; %d have ended", status.Sent, status.Ended, status.Bytes, err, ended)
			}
			t.Logf("status took %v", time.Since(begun).Round(time.Millisecond))
			elapsed, rss = s.runMeasured(append([]string{"mirror", "-q", "-d", "out"}, s.withQueue("--report", "report", "list")...)...)
			t.Logf("%d outcomes are collected in %v, peak RSS %d KiB", n, elapsed.Round(time.Millisecond), rss)
			s.wantBoundedMemory(n, rss)
		})
	}
}

// wantBoundedMemory checks the peak memory of a submitter, in KiB: 300 MiB, and 150 bytes for each file.
func (s *queueSite) wantBoundedMemory(n int, rss int64) {
	s.Helper()
	if most := int64(300<<10 + n*150>>10); rss > most && !raceEnabled {
		s.Errorf("%d lines: peak RSS %d KiB, want at most %d", n, rss, most)
	}
}

// endAll reports each queued file as fetched, and returns how many there were.
func (s *queueSite) endAll(run string) (n int) {
	s.Helper()
	ctx := s.Context()
	lanes, err := s.broker.Waiting(ctx, run)
	must(s.testRun, err)
	counts := make(chan int, 1<<16)
	var g errgroup.Group
	g.SetLimit(8)
	for lane, waiting := range lanes {
		g.Go(func() error {
			for range waiting {
				m, err := s.broker.Take(ctx, run, lane)
				if err != nil || m == nil {
					return err
				}
				files, err := s.endBatch(ctx, m)
				if err != nil {
					return err
				}
				counts <- files
			}
			return nil
		})
	}
	must(s.testRun, g.Wait())
	close(counts)
	for files := range counts {
		n += files
	}
	return n
}

func (s *queueSite) endBatch(ctx context.Context, m fleet.Message) (int, error) {
	var batch fleet.Batch
	if err := json.Unmarshal(m.Data(), &batch); err != nil {
		return 0, err
	}
	report := fleet.Report{Version: 1, Time: time.Now(), Worker: "test", Batch: batch.ID}
	now := time.Now()
	for _, it := range batch.Items {
		u := it.File.Entry.URLs[0]
		id := store.NewID()
		e := fleet.Ended{ID: it.ID, State: mirror.Fetched, URL: u, Rounds: 1, Result: fleet.Result{ID: id, Size: 1000, Fetched: 1000, Final: u, CRC: 7, Elapsed: time.Second, Proof: downloader.ProofOf(it.File.Entry.Sum, true)}}
		e.File = mirror.Item{Path: it.File.Path, List: it.File.List}
		e.File.Entry.List, e.File.Entry.Line = it.File.Entry.List, it.File.Entry.Line
		e.File.Record = store.Record{ID: id, URL: u, Named: true, Size: 1000, State: store.Done, Created: now, Updated: now, ModTime: now, ETag: `"5f3b-1a2b3c"`, CRC: 7}
		report.Ended = append(report.Ended, e)
	}
	data, err := json.Marshal(report)
	if err == nil {
		err = s.broker.Append(ctx, batch.Run, batch.ID, data)
	}
	if err == nil {
		err = m.Done(ctx)
	}
	return len(batch.Items), err
}
