package queue

import (
	"slices"

	"pawl/store"
)

// This file has the order of the unfinished tasks.

// rankStep is the distance of the ranks of two tasks that follow each other. So many halvings fit
// between them before all tasks must be stored with new ranks: log2 of it.
const rankStep = 1 << 32

// A Place is a position in the queue, for Add and Move.
type Place struct {
	From Origin
	N    int // tasks behind From; before it if negative
}

// An Origin is the position that a Place counts from.
type Origin int

// The origins of a Place. The zero Place is the first position.
const (
	Start   Origin = iota // the first unfinished task that is not active
	Current               // the present position of the task
	End                   // behind the last task
)

// Last is the place behind all tasks.
var Last = Place{From: End}

// Move changes the position of a task that is not active, and returns the new one. Positions count such tasks.
func (q *Queue) Move(id store.ID, to Place) (position int, err error) {
	err = q.each([]store.ID{id}, func(e *entry) error {
		if e.State.Ended() || e.isActive() {
			return ErrState
		}
		i := q.index(e, to)
		old := slices.Index(q.order, e)
		if old < i {
			i-- // e itself leaves
		}
		q.order = slices.Insert(slices.Delete(q.order, old, old+1), i, e)
		q.rerank(i, 1)
		q.dirty(e)
		for _, o := range q.order[:i] {
			if !o.isActive() {
				position++
			}
		}
		q.send(Event{Kind: Moved, Task: q.view(e)})
		return nil
	})
	return position, err
}

// insert puts entries, one behind another, into the order and gives them ranks.
func (q *Queue) insert(at Place, entries ...*entry) {
	i := q.index(nil, at)
	q.order = slices.Insert(q.order, i, entries...)
	q.rerank(i, len(entries))
}

// index returns the index in order for a place of e, which may be nil for a new entry. Positions count the tasks that are not active.
func (q *Queue) index(e *entry, at Place) int {
	if at == Last {
		return len(q.order)
	}
	var idle []int // indexes in order
	current := 0
	for i, o := range q.order {
		if o == e {
			current = len(idle)
		} else if !o.isActive() {
			idle = append(idle, i)
		}
	}
	n := at.N
	switch at.From {
	case Current:
		n += current
	case End:
		n += len(idle)
	}
	if n = max(0, min(n, len(idle))); n == len(idle) {
		return len(q.order)
	}
	return idle[n]
}

// rerank gives the n entries from index i of the order on ranks between their neighbours. If there are not so many, all
// get new ones.
func (q *Queue) rerank(i, n int) {
	first, step, end := int64(0), int64(rankStep), i+n
	switch {
	case i > 0 && end < len(q.order):
		before := q.order[i-1].rank
		step = (q.order[end].rank - before) / int64(n+1)
		first = before + step
	case i > 0:
		first = q.order[i-1].rank + step
	case end < len(q.order):
		first = q.order[end].rank - int64(n)*step
	}
	if step == 0 {
		for _, o := range q.order {
			q.dirty(o)
		}
		i, end, first, step = 0, len(q.order), 0, rankStep
	}
	for k, e := range q.order[i:end] {
		e.rank = first + int64(k)*step
	}
}
