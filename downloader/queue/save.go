package queue

import (
	"sync"
	"time"

	"pawl/store"
)

// A saver makes the changes of a Queue durable. The changes of concurrent callers share one transaction.
type saver struct {
	unsaved map[store.ID]struct{} // changed, and not yet in the state file; guarded by Queue.mu
	count   uint64                // of changes; guarded by Queue.mu
	durable uint64                // value of count up to which changes are durable; guarded by Queue.mu

	saving sync.Mutex // held during the transaction; before Queue.mu
}

// dirty notes that e has changed, or is no longer in the queue.
func (q *Queue) dirty(e *entry) {
	if q.unsaved == nil {
		q.unsaved = make(map[store.ID]struct{})
	}
	q.unsaved[e.ID] = struct{}{}
	e.Updated = time.Now()
	q.count++
	q.wake()
}

// Sync returns when all changes that were made before the call are durable. After an error, they hold in
// this process, no task starts because of them, and the next Sync tries again.
func (q *Queue) Sync() error {
	q.mu.Lock()
	wanted := q.count
	q.mu.Unlock()
	q.saving.Lock()
	defer q.saving.Unlock()
	q.mu.Lock()
	if q.durable >= wanted { // another caller has saved them meanwhile
		q.mu.Unlock()
		return nil
	}
	ids, count := q.unsaved, q.count
	q.unsaved = nil
	values := make(map[string][]byte, len(ids))
	entries := make([]*entry, 0, len(ids))
	for id := range ids {
		values[string(id)] = nil
		if e := q.byID[id]; e != nil {
			values[string(id)] = e.encode()
			entries = append(entries, e)
		}
	}
	q.mu.Unlock()

	err := q.store.ChangeQueue(values)

	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil {
		if q.unsaved == nil {
			q.unsaved = ids
		}
		for id := range ids {
			q.unsaved[id] = struct{}{}
		}
		return err
	}
	q.durable = count
	for _, e := range entries {
		if _, again := q.unsaved[e.ID]; !again {
			e.saved = true
		}
	}
	q.wake()
	return nil
}
