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
type commit struct {
	p     *Part
	fn    func(*Record) // what else is to be recorded
	all   bool          // the sums of all pieces are written, not only those that have changed
	held  chunk.Set
	pages []page
	info  fs.FileInfo // of the part file, after the sync
	rec   Record      // that is to be written
	err   error
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
	commits := make(map[*Part]*commit)
	var group []*commit
	for i, req := range requests {
		p := req.part
		if errs[i] = p.trust(); errs[i] != nil {
			continue
		}
		if commits[p] == nil {
			p.committing.Lock() // in no order: there is one group at a time, and all others lock one Part
			defer p.committing.Unlock()
			commits[p] = &commit{p: p}
			group = append(group, commits[p])
		}
		commits[p].fn = func(r *Record) { r.Rate = req.rate }
	}
	s.commit(group)
	for _, c := range group {
		if errors.Is(c.err, errNewState) {
			c.err = c.p.commitOnce(c.fn, true)
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
func (p *Part) commit(fn func(*Record)) error {
	err := p.commitOnce(fn, false)
	if errors.Is(err, errNewState) {
		err = p.commitOnce(fn, true)
	}
	return err
}

// commitOnce commits, with the sums of all pieces or of those that have changed.
func (p *Part) commitOnce(fn func(*Record), all bool) error {
	c := &commit{p: p, fn: fn, all: all}
	p.store.commit([]*commit{c})
	return c.err
}

// commit does a group.
func (s *Store) commit(group []*commit) {
	for _, c := range group {
		c.snapshot()
		if len(group) > 1 {
			c.p.file.StartSync()
		}
	}
	for _, c := range group {
		c.sync()
	}
	s.record(group)
	for _, c := range group {
		if c.err != nil {
			c.undo()
		}
	}
}

// snapshot takes what was written, and its sums, as of one moment.
func (c *commit) snapshot() {
	w := &c.p.writing
	w.Lock()
	defer w.Unlock()
	c.held, c.pages = c.p.written.set.Clone(), c.p.written.pages(c.all)
}

// undo notes that the sums still have to be written.
func (c *commit) undo() {
	c.p.writing.Lock()
	defer c.p.writing.Unlock()
	c.p.written.soil(c.pages)
}

// sync is step 2, and looks whether the part file still is what it was.
func (c *commit) sync() {
	p := c.p
	if err := p.file.DataSync(); err != nil {
		c.err = p.breakWith(err)
		return
	}
	if err := p.syncDir(); err != nil {
		c.err = p.breakWith(err)
		return
	}
	if c.info, c.err = p.inPlace(); c.err == nil && !c.held.Equal(clip(c.held, c.info.Size())) {
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
		p.suspect.Store(true) // somebody has cut it, even if it has grown again
	}
	p.allocated = n
}

// record is step 3 for those without an error.
func (s *Store) record(group []*commit) {
	var left []*commit
	for _, c := range group {
		if c.err != nil {
			continue
		}
		c.p.mu.Lock()
		defer c.p.mu.Unlock()
		if c.rec, c.err = c.p.next(c.change); c.err == nil {
			left = append(left, c)
		}
	}
	if len(left) == 0 {
		return
	}
	err := s.write(func(t tx) error {
		for _, c := range left {
			if c.err = c.p.put(t, &c.rec, c.pages, c.all); c.err != nil && !errors.Is(c.err, errNewState) {
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
			c.p.took(c.rec)
		}
	}
}

// change is what a commit does to the record.
func (c *commit) change(r *Record) {
	c.fn(r)
	r.Held, r.Touched = c.held, touched(c.info)
	if c.p.suspect.Load() {
		r.Touched = time.Time{} // it stays so until all is checked again
	}
}
