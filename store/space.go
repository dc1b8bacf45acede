package store

// This file manages disk space: the space that a download needs before it starts, the
// space that it reserves while it runs, and the reserved space that it releases at the
// end.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pawl/chunk"
)

const (
	// A part file reserves as many bytes ahead as have arrived, within these limits
	// in bytes. A server that announces a large file but sends little thus occupies
	// little of the disk. With half of maxReserveAhead, ext4 would reserve twice as
	// often; twice as much would take space from others without a benefit.
	minReserveAhead = 8 << 20
	maxReserveAhead = 1 << 30

	// minSpaceRelease is the number of superfluous bytes on the disk from which on
	// Close releases them. Below it, they may be the file system's own data about the
	// file. A guess.
	minSpaceRelease = 1 << 20
)

// CheckWritable returns an error if no file can be created in dir, or in the state directory:
// for example because the file system has become read-only. If dir does not exist, its next
// parent counts.
func (s *Store) CheckWritable(dir string) error {
	for _, dir := range []string{dir, s.dir} {
		f, err := os.CreateTemp(dir, ".pawl-test-*")
		for errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir)
			f, err = os.CreateTemp(dir, ".pawl-test-*")
		}
		if err != nil {
			return err
		}
		f.Close()
		if err := os.Remove(f.Name()); err != nil {
			return err
		}
	}
	return nil
}

// checkSpace returns ErrNoSpace if the disk cannot hold the rest of the file, or would
// have less free space than Options.MinFree. allocated is the number of bytes on the disk
// that the part file already occupies.
func (p *Part) checkSpace(allocated int64) error {
	return p.store.checkFree(p.rec.Target, max(0, p.rec.Size-allocated))
}

// FreeSpace returns how many bytes may be written to the disk of dir until only Options.MinFree bytes are
// free; -1 if that is unknown.
func (s *Store) FreeSpace(dir string) int64 {
	free, err := s.fs.FreeSpace(dir)
	if err != nil {
		return -1
	}
	return max(0, free-s.minFree)
}

// checkFree returns ErrNoSpace if the disk of the file target has no room for missing
// more bytes, or ErrDoesNotFit if it has room for fewer. If the free space is unknown, it
// returns nil, and writing fails instead.
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
	kind := ErrNoSpace
	if free > s.minFree {
		kind = ErrDoesNotFit
	}
	return fmt.Errorf("%q: %w: %s", target, kind, strings.TrimPrefix(text, "0 bytes are needed, "))
}

// Reserve reserves disk blocks for bytes that will arrive next, in proportion to the
// bytes that have arrived. It does nothing if the file system would write zeros. It
// returns ErrNoSpace if the disk has less free space than Options.MinFree. It should be
// called regularly while bytes arrive, for example every 50 ms, and returns at once if
// little is to be reserved. Otherwise it blocks writers for as long as the file system
// takes.
func (p *Part) Reserve() error {
	if err := p.checkUsable(); err != nil {
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

// nextReservation returns the range to reserve next. It is empty if less than half of the
// intended reservation is missing, so that small reservations are grouped, or if the size
// of the file is unknown.
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

// releaseSpace frees disk blocks for bytes that have not arrived. Reserve has allocated
// them, perhaps in a process that was killed. The file's change time then changes;
// releaseSpace records the new one, unless somebody else has changed the file before.
func (p *Part) releaseSpace() {
	keep := p.rec.Held.Clone() // the record may still hold ranges that were discarded in memory only
	for r := range p.written.set.All() {
		keep.Add(r)
	}
	if p.allocated-keep.Len() < minSpaceRelease || p.checkUsable() != nil {
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
		p.Update(func(r *Record) { r.ChangeTime = changeTime(info) }) // else the next Resume would verify all pieces
	}
}
