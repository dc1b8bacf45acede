package fleet

import (
	"maps"
	"time"
)

// A roster records when each session of the fleet was last seen alive, by the clock of this process,
// and which sessions have ended. All lanes share it.
type roster struct {
	lease lease
	seen  map[string]time.Time // by ID; the zero time if the session has ended
}

// lives notes that a session was alive at a time.
func (r roster) lives(id string, now time.Time) { r.seen[id] = now }

// died notes that a session has ended. It cannot live again.
func (r roster) died(id string) { r.seen[id] = time.Time{} }

// forgotten notes that the broker has forgotten a session, so that it may have ended.
func (r roster) forgotten(id string) {
	if !r.isDead(id) {
		delete(r.seen, id)
	}
}

func (r roster) isDead(id string) bool {
	seen, ok := r.seen[id]
	return ok && seen.IsZero()
}

// maybeDead reports whether a session may have ended, so that it is worth a call of the broker.
func (r roster) maybeDead(id string, now time.Time) bool {
	seen, ok := r.seen[id]
	return !ok || now.Sub(seen) > time.Duration(r.lease)
}

// count returns how many sessions seem to be alive, at least 1.
func (r roster) count(now time.Time) (n int) {
	for _, seen := range r.seen {
		if now.Sub(seen) <= time.Duration(r.lease) {
			n++
		}
	}
	return max(1, n)
}

// keep forgets the sessions that are not alive and hold no place.
func (r roster) keep(holders map[string]bool, now time.Time) {
	maps.DeleteFunc(r.seen, func(id string, _ time.Time) bool { return r.maybeDead(id, now) && !holders[id] })
}
