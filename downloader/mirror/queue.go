package mirror

import (
	"encoding/binary"
	"strings"
)

const (
	linkSize    = 4                   // bytes at the end of a page: the number of the next page
	pagePayload = pageSize - linkSize // bytes of a page that items can use
	lengthSize  = 4                   // bytes before an item: its length
)

// A queue holds waiting items, first in, first out for each host. The hosts take turns, so that
// a host with many items does not delay the items of other hosts. A host that is not ready
// sleeps until Wake.
//
// The items of a host form one stream of bytes over a chain of pages. Each item is preceded by
// its length, and each page except the last ends with the number of the next page. No page holds
// items of two hosts.
//
// At most 4 MiB of pages are in memory; a temporary file holds the others. So memory does not
// grow with the number of items, but only by about 100 bytes and the name of each host that
// has items, and by 4 bytes for each free page of the file. The file never needs more than all
// items at their peak and two pages (2 KiB) for each host.
//
// A queue is not safe for concurrent use.
type queue struct {
	pages        *pager
	byHost       map[string]*hostQueue // the hosts that have items
	first, last  *hostQueue            // the turns of the hosts that are awake; first is nil if there are none
	n            int                   // items of all hosts
	crossedPages []uint32              // pages that the current Push has allocated or the current Next has read to the end
}

// A hostQueue is the items of one host.
type hostQueue struct {
	host   string
	n      int        // items; 0 only during Push and Next
	head   position   // of the first item
	tail   position   // behind the last item
	asleep bool       // the host was not ready when it had its turn, and has none until Wake
	next   *hostQueue // the host with the next turn, if awake
}

// A position is a place in the stream of a host.
type position struct {
	page uint32
	off  int32 // in [0, pagePayload]; at pagePayload, the stream continues on the next page
}

// newQueue returns an empty queue. If its items do not fit in memory, it creates a temporary
// file in dir. Close must be called, because it removes the file on systems on which an open
// file must have a name.
func newQueue(dir string) *queue {
	return &queue{pages: newPager(dir), byHost: make(map[string]*hostQueue)}
}

// Len returns the number of items of all hosts.
func (q *queue) Len() int { return q.n }

// LenHost returns the number of items of one host.
func (q *queue) LenHost(host string) int {
	if h := q.byHost[host]; h != nil {
		return h.n
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
	h := q.byHost[host]
	if h == nil {
		start := position{page: q.pages.alloc()}
		h = &hostQueue{host: strings.Clone(host), head: start, tail: start}
	}
	tail, err := q.appendItem(h.tail, item)
	if err != nil {
		if h.n == 0 {
			q.pages.release(h.tail.page)
		}
		return err
	}
	h.tail = tail
	h.n++
	q.n++
	if h.n == 1 {
		q.byHost[h.host] = h
		q.appendTurn(h)
	}
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
		item, err := q.takeItem(h)
		if h.n > 0 {
			q.appendTurn(h)
		} else {
			q.pages.release(h.tail.page)
			delete(q.byHost, h.host)
		}
		return h.host, item, err == nil, err
	}
	return "", nil, false, nil
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
	*q = queue{pages: q.pages}
	return q.pages.close()
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

// appendItem writes an item at a position and returns the position behind it. If it fails, it
// releases the pages that it has allocated. It may then have written to the page of at, but
// nothing refers to these bytes, and the next Push overwrites them.
func (q *queue) appendItem(at position, item []byte) (position, error) {
	q.crossedPages = q.crossedPages[:0]
	var size [lengthSize]byte
	binary.LittleEndian.PutUint32(size[:], uint32(len(item)))
	at, err := q.write(at, size[:])
	if err == nil {
		at, err = q.write(at, item)
	}
	if err != nil {
		for _, page := range q.crossedPages {
			q.pages.release(page)
		}
	}
	return at, err
}

// takeItem reads the first item of a host and, if that succeeds, removes it.
func (q *queue) takeItem(h *hostQueue) ([]byte, error) {
	q.crossedPages = q.crossedPages[:0]
	var size [lengthSize]byte
	at, err := q.read(h.head, size[:])
	if err != nil {
		return nil, err
	}
	item := make([]byte, binary.LittleEndian.Uint32(size[:]))
	if at, err = q.read(at, item); err != nil {
		return nil, err
	}
	for _, page := range q.crossedPages {
		q.pages.release(page)
	}
	h.head = at
	h.n--
	q.n--
	return item, nil
}

// write writes b at a position, continues on new pages as necessary, and returns the position
// behind b. A page gets its link only when bytes follow.
func (q *queue) write(at position, b []byte) (position, error) {
	for len(b) > 0 {
		if at.off == pagePayload {
			next := q.pages.alloc()
			q.crossedPages = append(q.crossedPages, next)
			link := binary.LittleEndian.AppendUint32(nil, next)
			if err := q.pages.write(at.page, pagePayload, link); err != nil {
				return at, err
			}
			at = position{page: next}
		}
		n := min(len(b), pagePayload-int(at.off))
		if err := q.pages.write(at.page, int(at.off), b[:n]); err != nil {
			return at, err
		}
		at.off += int32(n)
		b = b[n:]
	}
	return at, nil
}

// read fills b with the bytes at a position and on the following pages, and returns the
// position behind them.
func (q *queue) read(at position, b []byte) (position, error) {
	for len(b) > 0 {
		if at.off == pagePayload {
			var link [linkSize]byte
			if err := q.pages.read(at.page, pagePayload, link[:]); err != nil {
				return at, err
			}
			q.crossedPages = append(q.crossedPages, at.page)
			at = position{page: binary.LittleEndian.Uint32(link[:])}
		}
		n := min(len(b), pagePayload-int(at.off))
		if err := q.pages.read(at.page, int(at.off), b[:n]); err != nil {
			return at, err
		}
		at.off += int32(n)
		b = b[n:]
	}
	return at, nil
}
