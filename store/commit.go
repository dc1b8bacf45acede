package store

// This file implements steps 2 and 3 of the commit protocol, for one Part or for a group.

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"pawl/chunk"
)

// A partCommit is the share of one Part in a group commit. The caller must hold
// part.commitMu until the group is done.
type partCommit struct {
	part    *Part
	update  func(*Record) // the caller's change of the record
	allSums bool          // write the checksums of all pieces, not only the unsaved pages; for a new state file
	held    chunk.Set
	pages   []sumPage
	info    fs.FileInfo // of the part file, after the sync
	rec     Record      // the record to be written
	err     error
}

// Commit makes all bytes durable that were written before the call, and adds them to the
// record (steps 2 and 3). rate is the current transfer rate in bytes per second; the
// record keeps it. When Commit returns nil, the bytes survive a crash.
//
// After a failed sync the Part is broken and every later call fails. After a failed
// transaction Commit may be called again. After ErrGone nothing is held any more, and the
// Part must be closed.
//
// Concurrent calls for Parts of one Store share their syncs and one transaction.
func (p *Part) Commit(rate int64) error {
	return p.store.commits.do(commitRequest{p, rate})
}

// A commitRequest is one call of Commit.
type commitRequest struct {
	part *Part
	rate int64 // bytes per second
}

// commitAll does the work of a group of Commit calls and returns one error per call. It
// commits each Part once, even if several calls are for the same Part; the rate of the
// last one is recorded.
func (s *Store) commitAll(requests []commitRequest) []error {
	errs := make([]error, len(requests))
	commits := make(map[*Part]*partCommit)
	var group []*partCommit
	for i, req := range requests {
		p := req.part
		if errs[i] = p.checkUsable(); errs[i] != nil {
			continue
		}
		if commits[p] == nil {
			p.commitMu.Lock() // in any order: only one group runs at a time, and everybody else locks a single Part
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

// commitLocked commits one Part outside of a group and applies fn to its record. The
// caller must hold commitMu.
func (p *Part) commitLocked(fn func(*Record)) error {
	err := p.commitOnce(fn, false)
	if errors.Is(err, errStateReplaced) {
		err = p.commitOnce(fn, true)
	}
	return err
}

// commitOnce is commitLocked without the second attempt. If allSums is false and the
// state file was replaced, it returns errStateReplaced: the new file needs the checksums
// of all pieces.
func (p *Part) commitOnce(fn func(*Record), allSums bool) error {
	c := &partCommit{part: p, update: fn, allSums: allSums}
	p.store.commitGroup([]*partCommit{c})
	return c.err
}

// commitGroup runs steps 2 and 3 for a group and stores the result of each commit in its
// err. All disks start writing before the first sync waits.
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

// snapshot copies the set of written ranges and takes the unsaved pages under one lock,
// so that both describe the same moment. It must run before the sync: bytes that are
// written after it may not be covered by the sync.
func (c *partCommit) snapshot() {
	w := &c.part.writtenMu
	w.Lock()
	defer w.Unlock()
	c.held, c.pages = c.part.written.set.Clone(), c.part.written.takeUnsaved(c.allSums)
}

// markUnsaved marks the pages of a failed commit as unsaved again, so that the next
// commit writes them.
func (c *partCommit) markUnsaved() {
	c.part.writtenMu.Lock()
	defer c.part.writtenMu.Unlock()
	c.part.written.markUnsaved(c.pages)
}

// syncFile is step 2. It also checks that the part file still is at its path and has not
// become shorter. If it has, no byte can be trusted, and the record loses all held ranges
// at once.
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
		p.dirty.Store(true) // somebody has truncated it, even if it is long enough again by now
	}
	p.allocated = n
}

// recordGroup is step 3 for the commits without an error, in one transaction.
func (s *Store) recordGroup(group []*partCommit) {
	var pending []*partCommit
	for _, c := range group {
		if c.err != nil {
			continue
		}
		c.part.mu.Lock()
		defer c.part.mu.Unlock()
		if c.rec, c.err = c.part.changedRecord(c.apply); c.err == nil {
			pending = append(pending, c)
		}
	}
	if len(pending) == 0 {
		return
	}
	err := s.write(func(t tx) error {
		for _, c := range pending {
			if c.err = c.part.putRecord(t, &c.rec, c.pages, c.allSums); c.err != nil && !errors.Is(c.err, errStateReplaced) {
				return c.err
			}
		}
		return nil
	})
	for _, c := range pending {
		if err != nil {
			c.err = err
		}
		if c.err == nil {
			c.part.adopt(c.rec)
		}
	}
}

// apply changes the record as the commit requires. While the Part is dirty, ChangeTime
// must stay zero: the bytes have not been verified, and a zero time makes the next Resume
// verify them.
func (c *partCommit) apply(r *Record) {
	c.update(r)
	r.Held, r.ChangeTime = c.held, changeTime(c.info)
	if c.part.dirty.Load() {
		r.ChangeTime = time.Time{}
	}
}
