package mirror

import (
	"io"
	"os"
)

const (
	pageSize    = 1 << 10            // bytes; small, since a page holds items of one host only
	memoryPages = 4 << 20 / pageSize // how many are in memory at most
)

// A spillFile is what a spill needs of an *os.File.
type spillFile interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
}

// A spill is a row of numbered pages, the latest used of which are in memory and
// the others in a file; page n is at n*pageSize. A page is written from its start
// on, without gaps, and what was not written must not be read.
//
// The file exists from the first write on and is never longer than all pages
// that were in use at one time; numbers given back are given out first. Beside
// the pages in memory, a spill keeps 4 bytes for each page given back, until
// all are.
type spill struct {
	open  func() (spillFile, error)
	limit int // pages in memory; at least 1

	frames  []*frame // all there are; never more than limit
	idle    []*frame // those without a page
	where   map[uint32]*frame
	hand    int       // where in frames the search for room goes on
	file    spillFile // nil before the first write
	grown   bool      // the file may be longer than 0
	pages   uint32    // numbers below it have been given out; so 4 TiB are the end
	free    []uint32  // those of them given back
	victims []*frame  // of evict
	joined  []byte    // of flush
}

// A frame is the memory of one page.
type frame struct {
	page   uint32
	held   bool // it has a page
	used   bool // since the hand last passed
	from   int  // what is before this is in the file alone
	lo, hi int  // what is between is not yet in the file; nothing if equal
	data   []byte
}

// newSpill returns a spill without a page, whose file will be in dir.
func newSpill(dir string) *spill {
	return &spill{
		open:  func() (spillFile, error) { return openTemp(dir) },
		limit: memoryPages,
		where: make(map[uint32]*frame),
	}
}

// alloc returns the number of a page that is not in use.
func (s *spill) alloc() uint32 {
	if last := len(s.free) - 1; last >= 0 {
		page := s.free[last]
		s.free = s.free[:last]
		return page
	}
	s.pages++
	return s.pages - 1
}

// release ends the use of a page; what was written to it is gone.
func (s *spill) release(page uint32) {
	if f := s.where[page]; f != nil {
		s.drop(f)
	}
	s.free = append(s.free, page)
	if len(s.free) < int(s.pages) {
		return
	}
	s.pages, s.free = 0, nil
	if s.grown && s.file.Truncate(0) == nil { // if it fails, the pages are written over
		s.grown = false
	}
}

// write puts b, which is not empty, at off of a page, where what was written
// before ends, or sooner; then what follows b is gone. If it fails, which is for
// want of room, the page is what it was.
func (s *spill) write(page uint32, off int, b []byte) error {
	f := s.where[page]
	if f == nil {
		var err error
		if f, err = s.take(page); err != nil {
			return err
		}
		f.from = off
	}
	if err := s.fill(f, off); err != nil {
		return err
	}
	copy(f.data[off:], b)
	if f.lo == f.hi {
		f.lo = off
	}
	f.lo, f.hi = min(f.lo, off), off+len(b)
	f.used = true
	return nil
}

// read fills b with what was written from off of a page on. It succeeds even if
// nothing can be written to make room.
func (s *spill) read(page uint32, off int, b []byte) error {
	f := s.where[page]
	if f == nil {
		var err error
		if f, err = s.take(page); err != nil {
			return s.load(b, page, off, len(b))
		}
		if err := s.load(f.data, page, 0, off+len(b)); err != nil {
			s.drop(f)
			return err
		}
		f.from = 0
	}
	if err := s.fill(f, off); err != nil {
		return err
	}
	copy(b, f.data[off:])
	f.used = true
	return nil
}

// fill reads what is missing of a page in memory, if off is where that is.
func (s *spill) fill(f *frame, off int) error {
	if off >= f.from {
		return nil
	}
	if err := s.load(f.data[:f.from], f.page, 0, f.from); err != nil {
		return err
	}
	f.from = 0
	return nil
}

// load reads b from off of a page in the file, or up to the end of the file if
// that is so many bytes at least: the last page need not be whole.
func (s *spill) load(b []byte, page uint32, off, least int) error {
	n, err := s.file.ReadAt(b, int64(page)*pageSize+int64(off))
	switch {
	case n == len(b) || n >= least && err == io.EOF:
		return nil
	case err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}

// take returns a frame for a page that has none, to be filled by the caller.
func (s *spill) take(page uint32) (*frame, error) {
	if len(s.idle) == 0 && len(s.frames) < s.limit {
		f := &frame{data: make([]byte, pageSize)}
		s.frames, s.idle = append(s.frames, f), append(s.idle, f)
	}
	if len(s.idle) == 0 {
		if err := s.evict(); len(s.idle) == 0 {
			return nil, err
		}
	}
	last := len(s.idle) - 1
	f := s.idle[last]
	s.idle = s.idle[:last]
	f.page, f.held, f.from, f.lo, f.hi = page, true, 0, 0, 0
	s.where[page] = f
	return f, nil
}

// drop makes a frame idle.
func (s *spill) drop(f *frame) {
	delete(s.where, f.page)
	f.held, f.used = false, false
	s.idle = append(s.idle, f)
}

// close ends the use of all pages and of the file.
func (s *spill) close() error {
	file := s.file
	*s = spill{open: s.open, limit: s.limit, where: make(map[uint32]*frame)}
	if file == nil {
		return nil
	}
	return file.Close()
}

// A tempFile is a file that is gone once it is closed.
type tempFile struct {
	*os.File
	named bool // the system does not remove the name of an open file
}

// openTemp creates a file in dir, for this user alone, and removes its name at
// once where the system can, so that no crash leaves it behind.
func openTemp(dir string) (spillFile, error) {
	f, err := os.CreateTemp(dir, ".pawl-queue-*")
	if err != nil {
		return nil, err
	}
	return tempFile{f, os.Remove(f.Name()) != nil}, nil
}

func (f tempFile) Close() error {
	err := f.File.Close()
	if f.named {
		if removeErr := os.Remove(f.Name()); err == nil {
			err = removeErr
		}
	}
	return err
}
