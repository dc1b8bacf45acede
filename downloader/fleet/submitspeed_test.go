package fleet_test

import (
	"context"
	"iter"
	"os"
	"testing"
	"time"

	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime/pprof"

	"pawl/downloader"
	"pawl/store"

	"pawl/downloader/fleet"
	"pawl/downloader/fleet/natstest"
	"pawl/downloader/list"
	"pawl/downloader/mirror"
)

func TestSubmitSpeed(t *testing.T) {
	if os.Getenv("PAWL_TEST_LONG") == "" {
		t.Skip("slow")
	}
	const n = 200_000
	size := 0
	r := newSubmitRig(t)
	s := natstest.Start(t, natstest.Options{})
	b, err := fleet.ConnectNATS(t.Context(), fleet.NATSOptions{URLs: []string{s.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	run, err := fleet.OpenRun(t.Context(), b, "0000000000000001", r.run)
	if err != nil {
		t.Fatal(err)
	}
	sub, err := fleet.OpenSubmitter(t.Context(), b, fleet.SubmitterOptions{Run: run, Dir: r.dir, Stamp: r.store.Stamp, Detach: true})
	if err != nil {
		t.Fatal(err)
	}
	opts := r.options()
	opts.OnOutcome = nil
	opts.Elsewhere = sub
	opts.OnRead = func(ctx context.Context) { sub.AllSent(ctx) }
	d := r.downloader(r.store)
	defer d.Close()
	var entries iter.Seq2[list.Entry, error] = func(yield func(list.Entry, error) bool) {
		for i := range n {
			e := list.Entry{URLs: []string{fmt.Sprintf("http://data%d.example.org/collection/%03d/%07d.warc.gz", i%100, i/1000, i)}, Out: fmt.Sprintf("%03d/%07d.warc.gz", i/1000, i), Size: -1, List: "list", Line: i + 1}
			if !yield(e, nil) {
				return
			}
		}
	}
	begun := time.Now()
	lists := func(yield func(mirror.List, error) bool) {
		yield(mirror.List{Key: listKey, Complete: true, Entries: entries}, nil)
	}
	if err := mirror.NewRun(d, r.store, opts).Do(t.Context(), fleet.WithoutSecrets(lists)); err != nil {
		t.Fatal(err)
	}
	sub.Close(t.Context())
	t.Log(time.Since(begun))
	lanes, err := b.Waiting(t.Context(), run.ID)
	if err != nil {
		t.Fatal(err)
	}
	for lane, n := range lanes {
		for range n {
			m, err := b.Take(t.Context(), run.ID, lane)
			if err != nil || m == nil {
				t.Fatal(m, err)
			}
			var batch fleet.Batch
			if err := json.Unmarshal(m.Data(), &batch); err != nil {
				t.Fatal(err)
			}
			report := fleet.Report{Version: 1, Time: time.Now(), Worker: "test", Batch: batch.ID}
			for _, it := range batch.Items {
				id, now, u := store.NewID(), time.Now(), it.File.Entry.URLs[0]
				report.Ended = append(report.Ended, fleet.EndedOf(r.dir, it, mirror.Outcome{
					State: mirror.Fetched, URL: u, Rounds: 1, Path: filepath.Join(r.dir, it.File.Path),
					Result: downloader.Result{ID: id, Size: 1000, Fetched: 1000, Final: u, CRC: 7, Elapsed: time.Second},
					Record: store.Record{ID: id, URL: u, Named: true, Size: 1000, State: store.Done, Created: now, Updated: now, ModTime: now, ETag: `"5f3b-1a2b3c"`, CRC: 7},
				}))
			}
			data := fleet.Encode(report)
			if len(data) > size {
				size = len(data)
			}
			if err := b.Append(t.Context(), run.ID, batch.ID, data); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Log("largest report", size)
	f, err := os.Create("/tmp/cw/collect.out")
	if err != nil {
		t.Fatal(err)
	}
	begun = time.Now()
	pprof.StartCPUProfile(f)
	sub, err = fleet.OpenSubmitter(t.Context(), b, fleet.SubmitterOptions{Run: run, Dir: r.dir, Stamp: r.store.Stamp})
	if err != nil {
		t.Fatal(err)
	}
	t.Log("replay", time.Since(begun))
	opts.Elsewhere = sub
	opts.OnRead = func(ctx context.Context) { sub.AllSent(ctx) }
	err = mirror.NewRun(d, r.store, opts).Do(t.Context(), fleet.WithoutSecrets(lists))
	pprof.StopCPUProfile()
	t.Log("collected", time.Since(begun), err)
}
