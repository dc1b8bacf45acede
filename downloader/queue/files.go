package queue

import (
	"cmp"
	"errors"
	"fmt"
	"sync"

	"pawl/store"
)

// A deleter deletes the files of removed tasks. A removed task keeps its mark in the state file until its
// files are deleted, so that the next process continues after a kill.
type deleter struct {
	deleting sync.Mutex // held while files are deleted; before Queue.mu
}

// commitAndDelete makes all changes durable, and then deletes the files of removed tasks. The caller must not hold mu.
func (q *Queue) commitAndDelete() error {
	err := q.Sync()
	if err == nil {
		q.deleteFiles()
	}
	return err
}

// deleteFiles deletes the files of all removed tasks that do not run and whose marks are durable. It returns when
// they are deleted, also if another goroutine deletes them. The caller must not hold mu.
func (q *Queue) deleteFiles() {
	q.deleting.Lock()
	defer q.deleting.Unlock()
	for _, e := range q.marked() {
		err := q.deleteFilesOf(cmp.Or(e.Record, e.ID))
		if err != nil {
			q.options.Warn(fmt.Sprintf("the files of %s are not deleted: %v", e.ID, err))
		}
		q.endRemoval(e, err)
	}
}

// marked returns the removed entries whose files may be deleted now. Nobody changes their IDs until unmark.
func (q *Queue) marked() (entries []*entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.history {
		if e.removal != notRemoved && e.saved && e.run == nil {
			entries = append(entries, e)
		}
	}
	return entries
}

// endRemoval ends the removal of an entry, which is forgotten unless it ran when the user removed it. err says why its
// files are still here.
func (q *Queue) endRemoval(e *entry, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e.undeleted = err
	done := e.removal
	if e.removal = notRemoved; done == thenForget {
		q.forget(e)
		return
	}
	q.dirty(e)
}

// undeleted returns why files of removed entries are still here; nil if they are not, or will be deleted when their
// runs have stopped.
func (q *Queue) undeleted(removed []*entry) (err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range removed {
		if e.undeleted != nil {
			err = errors.Join(err, fmt.Errorf("%q is removed, but its file is still here: %w", e.ID, e.undeleted))
		}
	}
	return err
}

// deleteFilesOf deletes the files and the record of a download, which may be gone already.
func (q *Queue) deleteFilesOf(id store.ID) error {
	rec, err := q.store.Get(id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	case rec.State == store.Done:
		return q.store.DeleteFinished(id)
	}
	return q.store.Remove(id, true)
}
