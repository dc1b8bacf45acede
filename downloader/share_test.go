package downloader

import (
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"pawl/downloader/faultserver"
	"pawl/store"
)

// TestDownloadersShare: three Downloaders on one state directory, over TLS, with
// less time for an answer than they have to wait for a connection.
func TestDownloadersShare(t *testing.T) {
	for most, want := range map[int]int{1: 1, 4: 4} {
		r := newRig(t)
		var mu sync.Mutex
		open, peak := 0, 0
		front := httptest.NewUnstartedServer(r.srv)
		front.Config.ConnState = func(_ net.Conn, s http.ConnState) {
			mu.Lock()
			defer mu.Unlock()
			switch s {
			case http.StateNew:
				open++
				peak = max(peak, open)
			case http.StateClosed:
				open--
			}
		}
		front.StartTLS()
		t.Cleanup(front.Close)
		r.srv.Set(faultserver.ConnRate(4 << 20))
		r.opts.Insecure, r.opts.Connections, r.opts.StallTimeout, r.opts.ConnectTimeout = true, most, time.Second, time.Second
		var all sync.WaitGroup
		for i, name := range []string{"a", "b", "c"} {
			f := faultserver.NewFile(6<<20, uint64(i))
			r.srv.Put(name, f)
			all.Go(func() {
				st, err := store.Open(r.state, store.Options{})
				if err != nil {
					t.Error(err)
					return
				}
				d := New(st, r.opts)
				defer d.Close()
				res, err := d.Get(t.Context(), Request{URL: front.URL + "/" + name, Dir: r.dir})
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				r.check(res.Target, f)
			})
		}
		all.Wait()
		if n := r.count(Retrying) + r.count(Limited); peak != want || n > 0 {
			t.Errorf("-x %d: got %d connections at most, %d retries, want %d, 0", most, peak, n, want)
		}
	}
}
