package hosts

import (
	"sync"
	"time"

	"pawl/store"
)

const (
	// limitAge is how long a limit of an earlier run is believed. A guess: servers change their
	// configuration rarely. At half, hosts that are used every few days are asked too often; at
	// double, a limit that was raised is noticed after at most maxPenalty all the same.
	limitAge = 7 * 24 * time.Hour
	// noteAge is after which time an unchanged note is written again, so that it does not grow
	// old. A guess: at half, there are more writes; at double, a note may look a day older.
	noteAge = 24 * time.Hour
)

// Memory keeps notes about hosts from one run to the next. *store.Store is a Memory.
type Memory interface {
	Host(origin string) (store.HostNote, error)
	NoteHost(origin string, n store.HostNote) error
}

// memory is the note of one host. Its methods must be called with the lock of the Host held,
// except for store.
type memory struct {
	store Memory    // nil for none
	once  sync.Once // reads the note
	note  store.HostNote
}

// Recall reads the note of earlier runs, the first time that it is called. A host works
// as well without, so an error is ignored.
func (h *Host) Recall(now time.Time) {
	if h.memory.store == nil {
		return
	}
	h.memory.once.Do(func() {
		n, err := h.memory.store.Host(h.Origin)
		if err != nil {
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.memory.note = n
		if 0 < n.Limit && n.Limit < h.limit.ceiling && now.Sub(n.Seen) < limitAge {
			h.limit.remember(n.Limit, now)
		}
	})
}

// Learn notes the limit that the host has shown, if that is news. Nothing depends on the note,
// so an error is ignored.
func (h *Host) Learn(now time.Time) {
	h.mu.Lock()
	n, ok := h.memory.update(h.limit, h.counts.peak, now)
	h.mu.Unlock()
	if ok && h.memory.store != nil {
		h.memory.store.NoteHost(h.Origin, n)
	}
}

// update changes the note, and reports whether it says more than before. peak is the largest
// number of connections that were open at once.
func (m *memory) update(l limit, peak int, now time.Time) (n store.HostNote, ok bool) {
	old := m.note
	n = store.HostNote{Seen: now}
	if l.isRefusing {
		n.Limit = l.granted
	} else if peak <= old.Limit { // the old limit was not put to the test
		n.Limit = old.Limit
	}
	if n.Limit > 0 && !l.isNew { // nothing was refused: the limit grows older
		n.Seen = old.Seen
	}
	if n.Limit == old.Limit && (n.Limit == 0 || n.Seen.Sub(old.Seen) < noteAge) {
		return n, false
	}
	m.note = n
	return n, true
}
