package downloader

import (
	"fmt"
	"testing"

	"pawl/downloader/faultserver"
)

// TestLimitRemembered: a server that lets one have three connections refuses the
// second run none, which opens three at once.
func TestLimitRemembered(t *testing.T) {
	r := newRig(t)
	for run := range 2 {
		f := faultserver.NewFile(24<<20, uint64(run+1))
		name := fmt.Sprintf("f%d", run)
		r.srv.Put(name, f)
		r.srv.Reset()
		r.srv.Set(faultserver.ConnRate(8<<20), faultserver.MoreThan(3, faultserver.Status(503, -1)))
		r.mustGet(name, f)
		refused := 0
		for _, q := range r.srv.Requests() {
			if q.Status == 503 {
				refused++
			}
		}
		// One may come before the server has noticed that the one before it was closed.
		if peak := r.srv.Peak(); run == 0 && refused == 0 || run == 1 && (refused > 1 || peak < 2) {
			t.Errorf("run %d: %d refused, %d connections at once", run, refused, peak)
		}
	}
	n, err := r.store.Host(Origin(r.srv.URL))
	if err != nil || n.Limit < 2 || n.Limit > 3 {
		t.Errorf("noted: got %+v, %v, want limit 3, or 2 on a busy machine", n, err)
	}
}
