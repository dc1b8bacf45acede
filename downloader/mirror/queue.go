package mirror

import "strings"

// A queue holds waiting items, first in, first out for each host. The hosts take turns, so that
// a host with many items does not delay the items of other hosts. A host that is not ready
// sleeps until Wake.
//
// A spool holds the items: the last 4 MiB in memory, the others in a temporary file. So memory
// grows by 8 to 16 bytes for each item, and by about 100 bytes and the name of each host that
// has items. The file grows with each item until the queue is empty.
//
// A queue is not safe for concurrent use.
type queue struct {
	items       *spool
	byHost      map[string]*hostQueue // the hosts that have items
	first, last *hostQueue            // the turns of the hosts that are awake; first is nil if there are none
	n           int                   // items of all hosts
}

// A hostQueue is the items of one host.
type hostQueue struct {
	host   string
	items  []int64    // offsets in the spool; empty only during Push and Next
	asleep bool       // the host was not ready when it had its turn, and has none until Wake
	next   *hostQueue // the host with the next turn, if awake
}

// newQueue returns an empty queue. If its items do not fit in memory, it creates a temporary
// file in dir. Close must be called, because it removes the file on systems on which an open
// file must have a name.
func newQueue(dir string) *queue {
	return &queue{items: newSpool(dir), byHost: make(map[string]*hostQueue)}
}

// Len returns the number of items of all hosts.
func (q *queue) Len() int { return q.n }

// LenHost returns the number of items of one host.
func (q *queue) LenHost(host string) int {
	if h := q.byHost[host]; h != nil {
		return len(h.items)
	}
	return 0
}

// Push appends an item, which must be shorter than 4 GiB, to the items of its host. Push does
// not keep item. A host that had no items is awake and gets the last turn; a sleeping host
// continues to sleep.
//
// Push returns the errors of the temporary file, for example if the disk is full. The queue is
// then unchanged and usable, and Push may be tried again later.
func (q *queue) Push(host string, item []byte) error {
	off, err := q.items.append(item)
	if err != nil {
		return err
	}
	h := q.byHost[host]
	if h == nil {
		h = &hostQueue{host: strings.Clone(host)}
		q.byHost[h.host] = h
		q.appendTurn(h)
	}
	h.items = append(h.items, off)
	q.n++
	return nil
}

// Next removes and returns the first item of the first host, by turns, that is ready, and
// gives this host the last turn. It returns false if no host that is awake is ready. The
// caller may keep the item.
//
// If ready returns false for a host, the host sleeps. Next does not ask about it again until
// the caller calls Wake, which the caller must do when the host may have become ready. So the
// number of calls of ready does not depend on the number of sleeping hosts: there is one for
// each item, each Wake and each new host. ready must not use the queue.
//
// If the temporary file cannot be read, Next returns the host and the error. The item stays the
// first of its host, and the host gets the last turn.
func (q *queue) Next(ready func(host string) bool) (host string, item []byte, ok bool, err error) {
	for q.first != nil {
		h := q.first
		q.first, h.next = h.next, nil
		if h.asleep = !ready(h.host); h.asleep {
			continue
		}
		item, err := q.items.read(h.items[0])
		if err != nil {
			q.appendTurn(h)
			return h.host, nil, false, err
		}
		q.removeFirst(h)
		return h.host, item, true, nil
	}
	return "", nil, false, nil
}

// removeFirst removes the first item of a host, which has had its turn.
func (q *queue) removeFirst(h *hostQueue) {
	h.items = h.items[1:]
	q.n--
	if len(h.items) > 0 {
		q.appendTurn(h)
	} else {
		delete(q.byHost, h.host)
	}
	if q.n == 0 {
		q.items.reset()
	}
}

// Promote exchanges the first item of a host with item i, which must exist.
func (q *queue) Promote(host string, i int) {
	items := q.byHost[host].items
	items[0], items[i] = items[i], items[0]
}

// Wake ends the sleep of a host and gives it the last turn, so that Next asks again whether
// it is ready. Wake does nothing if the host is awake or has no items.
func (q *queue) Wake(host string) {
	if h := q.byHost[host]; h != nil && h.asleep {
		h.asleep = false
		q.appendTurn(h)
	}
}

// Close discards all items and removes the temporary file. Afterwards the queue is empty;
// Push must not be called. Close may be called again.
func (q *queue) Close() error {
	*q = queue{items: q.items}
	return q.items.close()
}

// appendTurn gives a host the last turn. The host must not have a turn.
func (q *queue) appendTurn(h *hostQueue) {
	if q.first == nil {
		q.first = h
	} else {
		q.last.next = h
	}
	q.last = h
}
