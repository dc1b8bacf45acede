package downloader

// This file is about what is remembered of hosts from one run to the next.

import (
	"time"

	"pawl/store"
)

const (
	limitHolds = 7 * 24 * time.Hour // how long a remembered limit is believed; an older one only sets the start
	noteAgain  = 24 * time.Hour     // after this, what is still so is noted again
)

// recall looks up, once, what is remembered of h.
func (d *Downloader) recall(h *host) {
	h.recalled.Do(func() {
		if n, err := d.store.Host(h.origin); err == nil { // a transfer needs no memory
			h.remember(n, time.Now())
		}
	})
}

// remember begins with what was noted of the host.
func (h *host) remember(n store.HostNote, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note, h.start = n, min(n.Best, h.ceiling)
	if n.Limit == 0 || n.Limit >= h.ceiling {
		return
	}
	h.start = n.Limit
	if now.Sub(n.Seen) < limitHolds {
		h.limit, h.refuses, h.penalty = n.Limit, true, maxPenalty
		h.tryAfter = now.Add(h.penalty)
	}
}

// learn notes what a transfer has found out about h: the best number of connections,
// 0 if it did not, and their limit, if there is one.
func (d *Downloader) learn(h *host, best int) {
	if n, news := h.learned(best, time.Now()); news {
		d.store.NoteHost(h.origin, n) // nothing depends on it
	}
}

// learned returns what is known of the host now, and whether that is worth noting.
func (h *host) learned(best int, now time.Time) (n store.HostNote, news bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n = store.HostNote{Best: best, Seen: now}
	if n.Best == 0 {
		n.Best = h.note.Best
	}
	if h.refuses {
		n.Limit = h.limit
	} else if h.peak <= h.note.Limit { // it was not put to the test
		n.Limit = h.note.Limit
	}
	if n.Limit > 0 && !h.hasRefused {
		n.Seen = h.note.Seen // a limit grows old, though it is kept to
	}
	if n.Best == 0 && n.Limit == 0 || n.Best == h.note.Best && n.Limit == h.note.Limit && n.Seen.Sub(h.note.Seen) < noteAgain {
		return n, false
	}
	h.note = n
	return n, true
}

// limited reports whether the host is known to refuse connections.
func (h *host) limited() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refuses
}

// Join counts a download that may have several connections, and returns with how
// many it should set out.
func (h *host) Join() (start int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.downloads++
	return h.start
}

// Leave is Join undone.
func (h *host) Leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.downloads--
}

// FairShare returns how many connections a download may have beside the others.
func (h *host) FairShare() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.fairShare()
}

// fairShare is FairShare with mu held.
func (h *host) fairShare() int {
	others := max(1, h.downloads)
	return (h.share() + others - 1) / others
}

// Wanted reports whether a download that has so many connections is to give one to
// another that has none.
func (h *host) Wanted(mine int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.waiting > 0 && mine > 1 && mine >= h.fairShare()
}

// MustRelease reports whether a download is to give a connection to another process. last
// says that it is the only one of the download, which is given back last.
func (h *host) MustRelease(last bool) bool { return h.addr.MustRelease(last) }

// Queued reports whether a connection waits for a free slot of this machine.
func (h *host) Queued() bool { return h.addr.IsQueued() }
