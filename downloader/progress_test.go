package downloader

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"pawl/downloader/faultserver"
)

// TestSmallFilesCountConnections checks that each small file that is being received has a
// connection in the snapshot, as a file with a transfer has.
func TestSmallFilesCountConnections(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		r.srv.Set(faultserver.ConnRate(8 << 10))
		r.opts.Timeouts.Stall = time.Minute
		d := New(r.store, r.opts)
		defer d.Close()
		var all sync.WaitGroup
		for i := range 3 {
			name := fmt.Sprintf("f%d", i)
			r.srv.Put(name, faultserver.NewFile(64<<10, uint64(i)))
			all.Go(func() {
				into := File{Dir: r.dir, Released: func() {}} // one of many
				if _, err := d.Get(t.Context(), Request{URL: r.srv.URL + "/" + name, Into: into}); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(2 * time.Second)
		conns, received := 0, int64(0)
		for _, p := range d.Snapshot() {
			conns += p.Conns
			received += p.Received
		}
		if conns != 3 || received == 0 || received >= 3*64<<10 {
			t.Errorf("got %d connections and %d bytes, want 3 connections and a part of the files", conns, received)
		}
		all.Wait()
		if got := d.Received(); got != 3*64<<10 {
			t.Errorf("got %d received bytes, want all of the ended downloads", got)
		}
	})
}

// TestResumedBytesAreNotReceived checks that bytes of an earlier run count as resumed, and not as
// received.
func TestResumedBytesAreNotReceived(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		f := faultserver.NewFile(4<<20, 1)
		r.srv.Put("f", f)
		r.srv.Set(faultserver.Rate(1 << 20))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if _, err := r.get(ctx, "f"); err == nil {
			t.Fatal("got no error, want an interruption")
		}
		res := r.mustGet("f", f)
		last := r.events[len(r.events)-1]
		if got := last.Outcome.Resumed; got <= 0 || got+res.Fetched < f.Size || got+res.Fetched > f.Size+f.Size/4 {
			t.Errorf("got %d resumed and %d fetched bytes of %d", got, res.Fetched, f.Size)
		}
	})
}
