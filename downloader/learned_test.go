package downloader

import (
	"fmt"
	"testing"
	"time"

	"pawl/downloader/faultserver"
	"pawl/store"
)

// TestHostRemembers: a fresh limit is kept to until a refusal would have grown old,
// an old one only says how many to begin with.
func TestHostRemembers(t *testing.T) {
	now := start
	tests := []struct {
		note         store.HostNote
		start, limit int
	}{
		{store.HostNote{}, 0, 16},
		{store.HostNote{Best: 8, Seen: now}, 8, 16},
		{store.HostNote{Best: 40, Seen: now}, 16, 16},
		{store.HostNote{Best: 8, Limit: 3, Seen: now.Add(-time.Hour)}, 3, 3},
		{store.HostNote{Limit: 3, Seen: now.Add(-limitHolds)}, 3, 16},
		{store.HostNote{Limit: 30, Seen: now}, 0, 16},
	}
	for _, tt := range tests {
		h := newHost("h", 16)
		h.remember(tt.note, now)
		if got := h.Join(); got != tt.start || h.limit != tt.limit {
			t.Errorf("%+v: got start %d, limit %d, want %d, %d", tt.note, got, h.limit, tt.start, tt.limit)
		}
		if _, news := h.learned(0, now); news {
			t.Errorf("%+v: it is noted again, though nothing new is known", tt.note)
		}
		if _, news := h.learned(5, now); !news {
			t.Errorf("%+v: another best number is not noted", tt.note)
		}
		h.open = h.limit
		if limited := tt.limit < 16; limited && (h.TryOpen(now.Add(maxPenalty-1)) || !h.TryOpen(now.Add(maxPenalty))) {
			t.Errorf("%+v: the limit is not tried again after %v, or before", tt.note, maxPenalty)
		}
	}
}

// TestHostFair: several downloads share what one host gives.
func TestHostFair(t *testing.T) {
	h := newHost("h", 16)
	for i, want := range []int{16, 16, 8, 6, 4} {
		if got := h.FairShare(); got != want {
			t.Errorf("%d downloads: got %d connections each, want %d", i, got, want)
		}
		h.Join()
	}
	if h.Wanted(16) {
		t.Error("a connection is wanted, though nobody waits")
	}
	h.waiting = 1
	if !h.Wanted(4) || h.Wanted(3) || h.Wanted(1) {
		t.Error("of five downloads, those with four connections are to give one")
	}
	h.Leave()
	if got := h.FairShare(); got != 4 {
		t.Errorf("after one has ended: got %d connections each, want 4", got)
	}
}

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
