package queue

import (
	"slices"

	"pawl/store"
)

// A spot is a URL and the place of its file. Two tasks with the same spot are the same download. A list has the
// zero spot, which nothing shares.
type spot struct{ url, dir, name string }

func (s *Spec) spot() spot {
	if s.List {
		return spot{}
	}
	return spot{s.URL(), s.Dir, s.Name}
}

// A catalog finds the entries of a queue. The zero value is empty. It is guarded by Queue.mu.
type catalog struct {
	byID   map[store.ID]*entry
	bySpot map[spot][]*entry // in the order in which they came; without lists
}

// include adds an entry whose ID is not in the catalog.
func (c *catalog) include(e *entry) {
	if c.byID == nil {
		c.byID, c.bySpot = make(map[store.ID]*entry), make(map[spot][]*entry)
	}
	c.byID[e.ID] = e
	if e.spot = e.Spec.spot(); e.spot != (spot{}) {
		c.bySpot[e.spot] = append(c.bySpot[e.spot], e)
	}
}

// exclude removes an entry.
func (c *catalog) exclude(e *entry) {
	if c.byID[e.ID] == e {
		delete(c.byID, e.ID)
	}
	if others := remove(c.bySpot[e.spot], e); len(others) > 0 {
		c.bySpot[e.spot] = others
	} else {
		delete(c.bySpot, e.spot)
	}
}

// setSpec changes the spec of an entry.
func (c *catalog) setSpec(e *entry, s Spec) {
	c.exclude(e)
	e.Spec = s
	c.include(e)
}

// unfinishedAt returns the task at a spot that has not ended; nil if there is none.
func (c *catalog) unfinishedAt(at spot) *entry {
	for _, e := range c.bySpot[at] {
		if !e.State.Ended() {
			return e
		}
	}
	return nil
}

// endedAt returns the task at a spot that ended last; nil if none has ended.
func (c *catalog) endedAt(at spot) *entry {
	var last *entry
	for _, e := range c.bySpot[at] {
		if e.State.Ended() && (last == nil || !e.Ended.Before(last.Ended)) {
			last = e
		}
	}
	return last
}

// isRemovedAt reports whether the files of a removed task at a spot may still be here.
func (c *catalog) isRemovedAt(at spot) bool {
	return slices.ContainsFunc(c.bySpot[at], func(e *entry) bool { return e.removal != notRemoved })
}
