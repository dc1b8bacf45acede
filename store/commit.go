package store

// This file is steps 2 and 3 of the commit protocol, for one download or for all
// that are under way.

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"pawl/chunk"
)

// A commit is that of one Part, which it has locked.
type partCommit struct {
	part    *Part
	update  func(*Record) // what else is to be recorded
	allSums bool          // the sums of all pieces are written, not only those that have changed
	held    chunk.Set
	pages   []sumPage
	info    fs.FileInfo // of the part file, after the sync
	rec     Record      // that is to be written
	err     error
}

// Commit makes durable and records all that was written before the call (steps 2
// and 3), along with rate in bytes per second. After a failed sync the Part is
// broken and every later call fails; after a failed transaction Commit may be
// called again. ErrGone ends the download: nothing of it is held any more.
//
// Concurrent calls for Parts of one Store share a transaction, which costs little more
// than one for a single Part.
func (p *Part) Commit(rate int64) error {
	return p.store.commits.do(commitRequest{p, rate})
}

// A commitRequest is one call of Commit.
type commitRequest struct {
	part *Part
	rate int64 // bytes per second
}

// commitAll does the work of a group of calls and returns an error for each. Several of
// them may be for the same Part, which is committed once then, with the last one's rate.
func (s *Store) commitAll(requests []commitRequest) []error {
	errs := make([]error, len(requests))
	commits := make(map[*Part]*partCommit)
	var group []*partCommit
	for i, req := range requests {
		p := req.part
		if errs[i] = p.usable(); errs[i] != nil {
			continue
		}
		if commits[p] == nil {
			p.commitMu.Lock() // in no order: there is one group at a time, and all others lock one Part
			defer p.commitMu.Unlock()
			commits[p] = &partCommit{part: p}
			group = append(group, commits[p])
		}
		commits[p].update = func(r *Record) { r.Rate = req.rate }
	}
	s.commitGroup(group)
	for _, c := range group {
		if errors.Is(c.err, errStateReplaced) {
			c.err = c.part.commitOnce(c.update, true)
		}
	}
	for i, req := range requests {
		if c := commits[req.part]; c != nil && errs[i] == nil {
			errs[i] = c.err
		}
	}
	return errs
}

// commit is Commit with committing held.
func (p *Part) commitLocked(fn func(*Record)) error {
	err := p.commitOnce(fn, false)
	if errors.Is(err, errStateReplaced) {
		err = p.commitOnce(fn, true)
	}
	return err
}

// commitOnce commits, with the sums of all pieces or of those that have changed.
func (p *Part) commitOnce(fn func(*Record), all bool) error {
	c := &partCommit{part: p, update: fn, allSums: all}
	p.store.commitGroup([]*partCommit{c})
	return c.err
}

// commit does a group.
func (s *Store) commitGroup(group []*partCommit) {
	for _, c := range group {
		c.snapshot()
		if len(group) > 1 {
			c.part.file.StartSync()
		}
	}
	for _, c := range group {
		c.syncFile()
	}
	s.recordGroup(group)
	for _, c := range group {
		if c.err != nil {
			c.markUnsaved()
		}
	}
}

// snapshot takes what was written, and its sums, as of one moment.
func (c *partCommit) snapshot() {
	w := &c.part.writtenMu
	w.Lock()
	defer w.Unlock()
	c.held, c.pages = c.part.written.set.Clone(), c.part.written.takeUnsaved(c.allSums)
}

// undo notes that the sums still have to be written.
func (c *partCommit) markUnsaved() {
	c.part.writtenMu.Lock()
	defer c.part.writtenMu.Unlock()
	c.part.written.markUnsaved(c.pages)
}

// sync is step 2, and looks whether the part file still is what it was.
func (c *partCommit) syncFile() {
	p := c.part
	if err := p.file.DataSync(); err != nil {
		c.err = p.breakWith(err)
		return
	}
	if err := p.syncDirOnce(); err != nil {
		c.err = p.breakWith(err)
		return
	}
	if c.info, c.err = p.statInPlace(); c.err == nil && !c.held.Equal(clip(c.held, c.info.Size())) {
		c.err = fmt.Errorf("%q: %w", p.name, ErrGone)
	}
	if errors.Is(c.err, ErrGone) {
		p.breakWith(c.err)
		c.err = errors.Join(c.err, p.Update(func(r *Record) { r.Held = chunk.Set{} }))
	}
	if c.err != nil {
		return
	}
	n, _ := allocated(c.info)
	if n < p.allocated {
		p.dirty.Store(true) // somebody has cut it, even if it has grown again
	}
	p.allocated = n
}

// record is step 3 for those without an error.
func (s *Store) recordGroup(group []*partCommit) {
	var left []*partCommit
	for _, c := range group {
		if c.err != nil {
			continue
		}
		c.part.mu.Lock()
		defer c.part.mu.Unlock()
		if c.rec, c.err = c.part.changed(c.apply); c.err == nil {
			left = append(left, c)
		}
	}
	if len(left) == 0 {
		return
	}
	err := s.write(func(t tx) error {
		for _, c := range left {
			if c.err = c.part.putRecord(t, &c.rec, c.pages, c.allSums); c.err != nil && !errors.Is(c.err, errStateReplaced) {
				return c.err
			}
		}
		return nil
	})
	for _, c := range left {
		if err != nil {
			c.err = err
		}
		if c.err == nil {
			c.part.adopt(c.rec)
		}
	}
}

// change is what a commit does to the record.
func (c *partCommit) apply(r *Record) {
	c.update(r)
	r.Held, r.ChangeTime = c.held, changeTime(c.info)
	if c.part.dirty.Load() {
		r.ChangeTime = time.Time{} // it stays so until all is checked again
	}
}
