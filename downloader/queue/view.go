package queue

import "pawl/store"

// A Summary is how many tasks there are.
type Summary struct {
	Active, Waiting, Paused, Ended int

	HeldUp string // why nothing starts; "" if nothing is in the way
}

// Summary returns how many tasks there are.
func (q *Queue) Summary() Summary {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := Summary{Ended: len(q.history), HeldUp: q.hold.reason}
	for _, e := range q.order {
		switch {
		case e.State == Paused:
			s.Paused++
		case e.isActive():
			s.Active++
		default:
			s.Waiting++
		}
	}
	return s
}

// IDs returns the IDs of the unfinished tasks in their order, and of the ended ones, oldest first.
// It costs less than Tasks if a caller wants a few of them.
func (q *Queue) IDs() (unfinished, ended []store.ID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return ids(q.order), ids(q.history)
}

func ids(entries []*entry) []store.ID {
	all := make([]store.ID, len(entries))
	for i, e := range entries {
		all[i] = e.ID
	}
	return all
}

// Running returns the tasks that run.
func (q *Queue) Running() (tasks []Task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.order {
		if t := q.view(e); t.State == Active {
			tasks = append(tasks, t)
		}
	}
	return tasks
}

// Position returns the position of a task, as Move counts it. ok is false if the task is active or has ended.
func (q *Queue) Position(id store.ID) (n int, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.order {
		switch {
		case e.isActive():
		case e.ID == id:
			return n, true
		default:
			n++
		}
	}
	return 0, false
}

// Positions returns the positions of all tasks that have one.
func (q *Queue) Positions() map[store.ID]int {
	q.mu.Lock()
	defer q.mu.Unlock()
	positions := make(map[store.ID]int, len(q.order))
	for _, e := range q.order {
		if !e.isActive() {
			positions[e.ID] = len(positions)
		}
	}
	return positions
}
