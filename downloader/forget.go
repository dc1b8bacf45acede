package downloader

// This file is about how much is remembered of hosts: a list may have millions of them.

const (
	// mostIdle is how many hosts with nothing under way are remembered. Each takes 3 KiB with
	// its connections' group (measured), so double costs 3 MiB more. 320 files are fetched at
	// once, each from a few hosts, so that half may forget one between two of its requests.
	mostIdle = 1000
	// mostNames is how many addresses of names are remembered, of 150 bytes each. Half costs
	// further look-ups, double 1.5 MiB.
	mostNames = 10_000
)

// A memory is what is known of hosts, by a name of theirs. It forgets those that are idle and
// were not asked for lately. It is not safe for concurrent use.
type memory[V any] struct {
	idle  func(V) bool // reports whether a host may be forgotten
	known map[string]*memorized[V]
	asked int // how often it was asked
	next  int // number of hosts at which idle ones are looked for again
}

// memorized is what is known of one host.
type memorized[V any] struct {
	value V
	asked int // the asked of the memory when it was last asked for this one
}

func newMemory[V any](idle func(V) bool) memory[V] {
	return memory[V]{idle: idle, known: make(map[string]*memorized[V]), next: 2 * mostIdle}
}

// get returns what is known of a host, from make if that is nothing.
func (m *memory[V]) get(name string, make func() V) V {
	m.asked++
	v := m.known[name]
	if v == nil {
		m.sweep()
		v = &memorized[V]{value: make()}
		m.known[name] = v
	}
	v.asked = m.asked
	return v.value
}

// sweep forgets idle hosts, if there are many. It looks at all of them, and so not again
// before there are twice as many.
func (m *memory[V]) sweep() {
	if len(m.known) < m.next {
		return
	}
	for name, v := range m.known {
		if v.asked <= m.asked-mostIdle && m.idle(v.value) {
			delete(m.known, name)
		}
	}
	m.next = 2 * max(mostIdle, len(m.known))
}

// trim deletes some entries of m if there are more than most, in no order.
func trim[V any](m map[string]V, most int) {
	if len(m) <= most {
		return
	}
	for name := range m {
		if delete(m, name); len(m) <= most/2 {
			return
		}
	}
}
