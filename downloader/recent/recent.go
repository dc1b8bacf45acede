// Package recent remembers values by name, and forgets idle values that have not been used
// lately. Because a list may name millions of hosts, the memory for values about hosts must not
// grow with the list.
package recent

import (
	"iter"
	"maps"
)

// MaxIdle is how many idle values a Map keeps. One host takes 3 KiB together with its limit of
// connections (measured), so double costs 3 MiB more. 320 files are fetched at once, each from
// a few hosts, so that half may forget a host between two of its requests.
const MaxIdle = 1000

// A Map is a map that forgets idle values which were not used lately. It is not safe for
// concurrent use.
type Map[V any] struct {
	idle    func(V) bool
	entries map[string]*entry[V]
	clock   int // number of calls of Get so far
	sweepAt int // number of entries at which Get looks for idle ones
}

type entry[V any] struct {
	value V
	used  int // clock of the last Get of this entry
}

// NewMap returns an empty Map. The function idle reports whether a value may be forgotten. It
// is called within Get, and must not use the Map.
func NewMap[V any](idle func(V) bool) Map[V] {
	return Map[V]{idle: idle, entries: make(map[string]*entry[V]), sweepAt: 2 * MaxIdle}
}

// Get returns the value of a name. If there is none, Get adds the result of create.
func (m *Map[V]) Get(name string, create func() V) V {
	m.clock++
	e := m.entries[name]
	if e == nil {
		m.sweep()
		e = &entry[V]{value: create()}
		m.entries[name] = e
	}
	e.used = m.clock
	return e.value
}

// Peek returns the value of a name, and whether there is one. It does not count as a use.
func (m *Map[V]) Peek(name string) (V, bool) {
	if e := m.entries[name]; e != nil {
		return e.value, true
	}
	var none V
	return none, false
}

// All returns the values in no particular order.
func (m *Map[V]) All() iter.Seq[V] {
	return func(yield func(V) bool) {
		for e := range maps.Values(m.entries) {
			if !yield(e.value) {
				return
			}
		}
	}
}

// Len returns the number of values.
func (m *Map[V]) Len() int { return len(m.entries) }

// sweep forgets idle values if there are many. A sweep looks at all values, so the next one
// must wait until there are twice as many.
func (m *Map[V]) sweep() {
	if len(m.entries) < m.sweepAt {
		return
	}
	for name, e := range m.entries {
		if e.used <= m.clock-MaxIdle && m.idle(e.value) {
			delete(m.entries, name)
		}
	}
	m.sweepAt = 2 * max(MaxIdle, len(m.entries))
}
