// Package mirror brings a directory in line with lists of files. What a list
// says may be long: memory here does not grow with it, but for some bytes a path.
package mirror

import (
	"encoding/binary"
	"strings"
)

const (
	linkSize = 4                   // bytes at the end of a page: the number of the next
	pageData = pageSize - linkSize // bytes of items in a page
	sizeSize = 4                   // bytes before an item: its length
)

// A queue is work that waits, by host. It gives the hosts turns, so that the
// many items of one do not hold those of another, and lets hosts that are not
// ready sleep.
//
// The items of a host are one stream of bytes over a chain of pages, each item
// with its length before it and each page but the last with the number of the
// next at its end. A page is of one host. The latest used pages are in memory,
// 4 MiB at most, the others in the temporary file; so the number of hosts does
// not change the memory of items. Beside it, a host with items needs about 100
// bytes and its name, whether it has one item or a million, and the file 4 bytes
// for each KiB of it that is free. The file is no longer than what all items
// needed at one time and up to two pages (2 KiB) for each host.
//
// A queue is not safe for concurrent use.
type queue struct {
	pages       *spill
	lines       map[string]*line // by host; none is empty
	first, last *line            // of those awake, by turn; nil if there is none
	n           int              // items of all
	crossed     []uint32         // pages that the write under way began, or the read came to the end of
}

// A line is the items of one host.
type line struct {
	host   string
	n      int // items; 0 only within Push and Next
	head   place
	tail   place
	asleep bool
	next   *line // the turn after this one, if awake
}

// A place is where in the stream of a host an item begins.
type place struct {
	page uint32
	off  int32 // in [0, pageData]
}

// newQueue returns an empty queue that keeps what does not fit in memory in a
// temporary file in dir. The file is created when it is first needed, and has
// no name once it is open; where open files must have one, Close removes it.
func newQueue(dir string) *queue {
	return &queue{pages: newSpill(dir), lines: make(map[string]*line)}
}

// Len returns the number of items.
func (q *queue) Len() int { return q.n }

// LenHost returns the number of items of one host.
func (q *queue) LenHost(host string) int {
	if l := q.lines[host]; l != nil {
		return l.n
	}
	return 0
}

// Push adds an item, shorter than 4 GiB, behind all others of its host. The
// item stays the caller's. A host without items is awake and gets the last
// turn; one that sleeps goes on sleeping. An error is one of the temporary
// file, such as a full disk; the queue then is what it was, Next goes on, and
// Push may be tried again when the disk has room, or the queue is empty.
func (q *queue) Push(host string, item []byte) error {
	l := q.lines[host]
	if l == nil {
		start := place{page: q.pages.alloc()}
		l = &line{host: strings.Clone(host), head: start, tail: start}
	}
	tail, err := q.add(l.tail, item)
	if err != nil {
		if l.n == 0 {
			q.pages.release(l.tail.page)
		}
		return err
	}
	l.tail = tail
	l.n++
	q.n++
	if l.n == 1 {
		q.lines[l.host] = l
		q.queueUp(l)
	}
	return nil
}

// Next takes the first item of the next host in turn that is ready, and gives
// that host the last turn. Without any it returns false. The item is the
// caller's.
//
// A host of which ready says no sleeps: it is not asked about again before
// Wake, which the caller owes it once that may have changed. So ready is called
// once for an item, and once more for each Wake and for each host that is new,
// however many hosts sleep. It must not use the queue.
//
// An error is one of reading the temporary file; the item then stays the first
// of the host, whose turn is over.
func (q *queue) Next(ready func(host string) bool) (host string, item []byte, ok bool, err error) {
	for q.first != nil {
		l := q.first
		q.first, l.next = l.next, nil
		if l.asleep = !ready(l.host); l.asleep {
			continue
		}
		item, err := q.take(l)
		if l.n > 0 {
			q.queueUp(l)
		} else {
			q.pages.release(l.tail.page)
			delete(q.lines, l.host)
		}
		return l.host, item, err == nil, err
	}
	return "", nil, false, nil
}

// Wake makes Next ask again whether a host is ready, whose turn is the last. It
// does nothing to a host that is awake or has no items.
func (q *queue) Wake(host string) {
	if l := q.lines[host]; l != nil && l.asleep {
		l.asleep = false
		q.queueUp(l)
	}
}

// Close drops all items and the temporary file. The queue must not be used
// afterwards, but to close it again.
func (q *queue) Close() error {
	*q = queue{pages: q.pages}
	return q.pages.close()
}

// queueUp gives a host the last turn.
func (q *queue) queueUp(l *line) {
	if q.first == nil {
		q.first = l
	} else {
		q.last.next = l
	}
	q.last = l
}

// add writes an item and returns where the next will begin. If it fails, the
// pages that it began are released; what it wrote to others does not count.
func (q *queue) add(at place, item []byte) (place, error) {
	q.crossed = q.crossed[:0]
	var size [sizeSize]byte
	binary.LittleEndian.PutUint32(size[:], uint32(len(item)))
	at, err := q.write(at, size[:])
	if err == nil {
		at, err = q.write(at, item)
	}
	if err != nil {
		for _, page := range q.crossed {
			q.pages.release(page)
		}
	}
	return at, err
}

// take reads the first item of a host, and takes it out if that succeeds.
func (q *queue) take(l *line) ([]byte, error) {
	q.crossed = q.crossed[:0]
	var size [sizeSize]byte
	at, err := q.read(l.head, size[:])
	if err != nil {
		return nil, err
	}
	item := make([]byte, binary.LittleEndian.Uint32(size[:]))
	if at, err = q.read(at, item); err != nil {
		return nil, err
	}
	for _, page := range q.crossed {
		q.pages.release(page)
	}
	l.head = at
	l.n--
	q.n--
	return item, nil
}

// write puts b at a place and in as many further pages as it takes, and returns
// where it ends. A page gets its link when there is something to follow.
func (q *queue) write(at place, b []byte) (place, error) {
	for len(b) > 0 {
		if at.off == pageData {
			next := q.pages.alloc()
			q.crossed = append(q.crossed, next)
			link := binary.LittleEndian.AppendUint32(nil, next)
			if err := q.pages.write(at.page, pageData, link); err != nil {
				return at, err
			}
			at = place{page: next}
		}
		n := min(len(b), pageData-int(at.off))
		if err := q.pages.write(at.page, int(at.off), b[:n]); err != nil {
			return at, err
		}
		at.off += int32(n)
		b = b[n:]
	}
	return at, nil
}

// read fills b from a place and the pages that follow, and returns where it
// ends.
func (q *queue) read(at place, b []byte) (place, error) {
	for len(b) > 0 {
		if at.off == pageData {
			var link [linkSize]byte
			if err := q.pages.read(at.page, pageData, link[:]); err != nil {
				return at, err
			}
			q.crossed = append(q.crossed, at.page)
			at = place{page: binary.LittleEndian.Uint32(link[:])}
		}
		n := min(len(b), pageData-int(at.off))
		if err := q.pages.read(at.page, int(at.off), b[:n]); err != nil {
			return at, err
		}
		at.off += int32(n)
		b = b[n:]
	}
	return at, nil
}
