package store

// This file is about the space of the disk: what a download needs before it begins, what
// it reserves while it runs, and what it gives back.

import (
	"fmt"
	"path/filepath"
	"strings"

	"pawl/chunk"
)

const (
	// A file has as many bytes reserved ahead of those that have arrived as have arrived,
	// within these limits. So a server that announces a large file and sends little of it
	// takes little of the disk. With half of aheadMost, ext4 would reserve twice as often;
	// twice of it would take more from others, for nothing.
	minReserveAhead = 8 << 20
	maxReserveAhead = 1 << 30

	// releaseLeast is how many bytes of the disk a part file must have too many, for
	// them to be given back. What a file system keeps about a file counts as well.
	minSpaceRelease = 1 << 20
)

// checkSpace returns ErrNoSpace if the disk cannot hold the file, of which the
// part file has so many bytes allocated, or would have less free than Options.MinFree.
func (p *Part) checkSpace(allocated int64) error {
	return p.store.checkFree(p.rec.Target, max(0, p.rec.Size-allocated))
}

// checkFree returns ErrNoSpace if the disk of the file target has no room for so many more
// bytes. If the free space is unknown, writing fails instead.
func (s *Store) checkFree(target string, missing int64) error {
	if missing == 0 && s.minFree == 0 {
		return nil
	}
	free, err := s.fs.FreeSpace(filepath.Dir(target))
	if err != nil || missing <= free-s.minFree {
		return nil
	}
	text := fmt.Sprintf("%d bytes are needed, %d are free", missing, free)
	if s.minFree > 0 {
		text += fmt.Sprintf(", and %d must stay free", s.minFree)
	}
	return fmt.Errorf("%q: %w: %s", target, ErrNoSpace, strings.TrimPrefix(text, "0 bytes are needed, "))
}

// Reserve asks for disk blocks in step with the bytes that have arrived, if they cost
// nothing, and returns ErrNoSpace if the disk has less free than Options.MinFree. It
// is to be called every now and then while bytes arrive. It blocks writers for as long as
// the file system takes.
func (p *Part) Reserve() error {
	if err := p.usable(); err != nil {
		return err
	}
	p.mu.Lock()
	target := p.rec.Target
	p.mu.Unlock()
	if err := p.store.checkFree(target, 0); err != nil {
		return err
	}
	r := p.nextReservation()
	if r.Empty() {
		return nil
	}
	return p.file.Reserve(r.Off, r.Len())
}

// toReserve returns the range to reserve next. It is empty if little is missing of what
// should be reserved, or if the size of the file is not known.
func (p *Part) nextReservation() chunk.Range {
	p.writtenMu.Lock()
	defer p.writtenMu.Unlock()
	if p.size == chunk.Unbounded {
		return chunk.Range{}
	}
	ahead := min(max(p.written.set.Len(), minReserveAhead), maxReserveAhead)
	r := chunk.Range{Off: p.reserved, End: p.size}
	left := ahead
	for gap := range p.written.set.Missing(chunk.Range{End: p.size}) {
		if gap.Len() >= left {
			r.End = gap.Off + left
			break
		}
		left -= gap.Len()
	}
	if r.End <= r.Off || r.Len() < ahead/2 && r.End < p.size {
		return chunk.Range{}
	}
	p.reserved = r.End
	return r
}

// release gives back the disk blocks of bytes that have not arrived: those that Reserve,
// also of a process that was killed, has asked for. What they are is known from the last
// commit. The part file then counts as touched by us, unless somebody else has touched it
// before.
func (p *Part) releaseSpace() {
	keep := p.rec.Held.Clone() // which may not have been taken back yet
	for r := range p.written.set.All() {
		keep.Add(r)
	}
	if p.allocated-keep.Len() < minSpaceRelease || p.usable() != nil {
		return
	}
	info, err := p.file.Stat()
	if err != nil {
		return
	}
	untouched := !p.dirty.Load() && changeTime(info).Equal(p.rec.ChangeTime)
	for gap := range keep.Missing(chunk.Range{End: p.size}) {
		p.file.Unreserve(gap.Off, gap.Len())
	}
	if info, err = p.file.Stat(); err == nil && untouched {
		p.Update(func(r *Record) { r.ChangeTime = changeTime(info) }) // else all is read again
	}
}
