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

// TestRecall: a fresh limit is kept until a refusal would have grown old; an old one, or one that is
// no lower than the ceiling, is not believed.
func TestRecall(t *testing.T) {
	tests := []struct {
		note  store.HostNote
		limit int
	}{
		{store.HostNote{}, 16},
		{store.HostNote{Limit: 3, Seen: epoch.Add(-time.Hour)}, 3},
		{store.HostNote{Limit: 3, Seen: epoch.Add(-limitAge)}, 16},
		{store.HostNote{Limit: 30, Seen: epoch}, 16},
	}
	for _, tt := range tests {
		n := &notes{note: tt.note}
		h := recalled(n)
		if h.IsLimited() != (tt.limit < 16) {
			t.Errorf("%+v: got limited %t, want limit %d", tt.note, h.IsLimited(), tt.limit)
		}
		if h.Learn(epoch); n.writes > 0 {
			t.Errorf("%+v: it is noted again, though nothing new is known", tt.note)
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
		if h.Learn(epoch); tt.limit < 16 && n.note.Limit != tt.limit+1 {
			t.Errorf("%+v: got limit %d noted after one more was granted, want %d", tt.note, n.note.Limit, tt.limit+1)
		}
	}
}

// TestRecallOnce: the note is read once, and a memory that fails, or none, is not missed.
func TestRecallOnce(t *testing.T) {
	n := &notes{note: store.HostNote{Limit: 3, Seen: epoch}}
	h := recalled(n)
	h.Recall(epoch)
	if n.reads != 1 || !h.IsLimited() {
		t.Errorf("read %d times, want once", n.reads)
	}
	broken := recalled(&notes{note: store.HostNote{Limit: 3, Seen: epoch}, err: errors.New("broken")})
	if broken.IsLimited() {
		t.Error("got a limit from a broken memory")
	}
	none := New(Options{Ceiling: 4})
	none.Recall(epoch)
	none.Learn(epoch)
}

// TestLearn: what is written after a run, and when.
func TestLearn(t *testing.T) {
	old := store.HostNote{Limit: 3, Seen: epoch.Add(-2 * noteAge)}
	refused := func(h *Host) { h.Adopt(); h.Adopt(); h.Refused(epoch) }
	for name, tt := range map[string]struct {
		note  store.HostNote
		run   func(*Host)
		want  store.HostNote
		write bool
	}{
		"nothing":                {store.HostNote{}, func(*Host) {}, store.HostNote{}, false},
		"a refusal":              {store.HostNote{}, refused, store.HostNote{Limit: 2, Seen: epoch}, true},
		"the limit was kept":     {old, func(*Host) {}, old, false},
		"the limit, refused":     {old, refused, store.HostNote{Limit: 2, Seen: epoch}, true},
		"the same, a day later":  {store.HostNote{Limit: 2, Seen: epoch.Add(-noteAge)}, refused, store.HostNote{Limit: 2, Seen: epoch}, true},
		"the same, sooner":       {store.HostNote{Limit: 2, Seen: epoch.Add(1 - noteAge)}, refused, store.HostNote{Limit: 2, Seen: epoch.Add(1 - noteAge)}, false},
		"the limit is no more":   {old, func(h *Host) { h.Recovered(epoch, time.Time{}); open(h, 4) }, store.HostNote{Seen: epoch}, true},
		"the limit, not reached": {old, func(h *Host) { h.Recovered(epoch, time.Time{}); open(h, 3) }, old, false},
	} {
		n := &notes{note: tt.note}
		h := recalled(n)
		tt.run(h)
		for range 2 { // the second time is no news
			h.Learn(epoch)
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
