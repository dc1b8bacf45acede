package hosts

import (
	"errors"
	"testing"
	"time"

	"pawl/store"
)

// notes is a Memory of one host.
type notes struct {
	note   store.HostNote
	err    error
	reads  int
	writes int
}

func (n *notes) Host(string) (store.HostNote, error) { n.reads++; return n.note, n.err }
func (n *notes) NoteHost(_ string, note store.HostNote) error {
	n.note = note
	n.writes++
	return n.err
}

// recalled returns a host that has read its note.
func recalled(n *notes) *Host {
	h := New(Options{Origin: "http://h", Ceiling: 16, Memory: n})
	h.Recall(epoch)
	return h
}

// TestRecall: a fresh limit is kept until a refusal would have grown old, an old one only says how
// many to begin with.
func TestRecall(t *testing.T) {
	tests := []struct {
		note         store.HostNote
		start, limit int
	}{
		{store.HostNote{}, 0, 16},
		{store.HostNote{Best: 8, Seen: epoch}, 8, 16},
		{store.HostNote{Best: 40, Seen: epoch}, 16, 16},
		{store.HostNote{Best: 8, Limit: 3, Seen: epoch.Add(-time.Hour)}, 3, 3},
		{store.HostNote{Limit: 3, Seen: epoch.Add(-limitAge)}, 3, 16},
		{store.HostNote{Limit: 30, Seen: epoch}, 0, 16},
	}
	for _, tt := range tests {
		n := &notes{note: tt.note}
		h := recalled(n)
		if got := h.Join(); got != tt.start || h.IsLimited() != (tt.limit < 16) {
			t.Errorf("%+v: got start %d, limited %t, want %d, limit %d", tt.note, got, h.IsLimited(), tt.start, tt.limit)
		}
		if h.Learn(0, epoch); n.writes > 0 {
			t.Errorf("%+v: it is noted again, though nothing new is known", tt.note)
		}
		if h.Learn(5, epoch); n.writes != 1 || n.note.Best != 5 {
			t.Errorf("%+v: another best number is not noted", tt.note)
		}
		open := 0
		for h.TryOpen(epoch) {
			open++
		}
		if open != tt.limit {
			t.Errorf("%+v: opened %d, want %d", tt.note, open, tt.limit)
		}
		if tt.limit < 16 && (h.TryOpen(epoch.Add(maxPenalty-1)) || !h.TryOpen(epoch.Add(maxPenalty))) {
			t.Errorf("%+v: the limit is not tried again after %v, or before", tt.note, maxPenalty)
		}
		if h.Learn(5, epoch); tt.limit < 16 && n.note.Limit != 0 && h.IsLimited() && n.note.Limit != tt.limit+1 {
			t.Errorf("%+v: got limit %d noted after one more was granted, want %d", tt.note, n.note.Limit, tt.limit+1)
		}
	}
}

// TestRecallOnce: the note is read once, and a memory that fails, or none, is not missed.
func TestRecallOnce(t *testing.T) {
	n := &notes{note: store.HostNote{Best: 8, Seen: epoch}}
	h := recalled(n)
	h.Recall(epoch)
	if n.reads != 1 || h.Join() != 8 {
		t.Errorf("read %d times, want once", n.reads)
	}
	broken := recalled(&notes{note: store.HostNote{Best: 8}, err: errors.New("broken")})
	if got := broken.Join(); got != 0 {
		t.Errorf("got a start of %d from a broken memory", got)
	}
	none := New(Options{Ceiling: 4})
	none.Recall(epoch)
	none.Learn(3, epoch)
}

// TestLearn: what is written after a run, and when.
func TestLearn(t *testing.T) {
	old := store.HostNote{Best: 8, Limit: 3, Seen: epoch.Add(-2 * noteAge)}
	refused := func(h *Host) { h.Adopt(); h.Adopt(); h.Refused(epoch) }
	for name, tt := range map[string]struct {
		note  store.HostNote
		run   func(*Host)
		best  int
		want  store.HostNote
		write bool
	}{
		"nothing":                {store.HostNote{}, func(*Host) {}, 0, store.HostNote{}, false},
		"a best number":          {store.HostNote{}, func(*Host) {}, 8, store.HostNote{Best: 8, Seen: epoch}, true},
		"a refusal":              {store.HostNote{}, refused, 0, store.HostNote{Limit: 2, Seen: epoch}, true},
		"the limit was kept":     {old, func(*Host) {}, 0, old, false},
		"the limit, refused":     {old, refused, 0, store.HostNote{Best: 8, Limit: 2, Seen: epoch}, true},
		"the limit is no more":   {old, func(h *Host) { h.Recovered(); open(h, 4) }, 0, store.HostNote{Best: 8, Seen: epoch}, true},
		"the limit, not reached": {old, func(h *Host) { h.Recovered(); open(h, 3) }, 9, store.HostNote{Best: 9, Limit: 3, Seen: old.Seen}, true},
		"the same, a day later":  {store.HostNote{Best: 8, Seen: epoch.Add(-noteAge)}, func(*Host) {}, 8, store.HostNote{Best: 8, Seen: epoch}, true},
		"the same, sooner":       {store.HostNote{Best: 8, Seen: epoch.Add(1 - noteAge)}, func(*Host) {}, 8, store.HostNote{Best: 8, Seen: epoch.Add(1 - noteAge)}, false},
	} {
		n := &notes{note: tt.note}
		h := recalled(n)
		tt.run(h)
		for range 2 { // the second time is no news
			h.Learn(tt.best, epoch)
		}
		if n.note != tt.want || (n.writes == 1) != tt.write || n.writes > 1 {
			t.Errorf("%s: got %+v, written %d times, want %+v, %t", name, n.note, n.writes, tt.want, tt.write)
		}
	}
}

// open opens n connections.
func open(h *Host, n int) {
	for range n {
		h.TryOpen(epoch)
	}
}
