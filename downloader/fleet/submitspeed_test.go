package fleet_test

import (
	"context"
	"iter"
	"os"
	"testing"
	"time"

	"fmt"

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
	lists := func(yield func(mirror.List, error) bool) { yield(mirror.List{Key: listKey, Complete: true, Entries: entries}, nil) }
	if err := mirror.NewRun(d, r.store, opts).Do(t.Context(), fleet.WithoutSecrets(lists)); err != nil {
		t.Fatal(err)
	}
	t.Log(time.Since(begun))
}
