package mirror

import (
	"cmp"
	"io"
	"os"
	"slices"
)

const (
	// pageSize is in bytes. A page holds items of one host only, so a host with a single
	// short item wastes most of a page. 1 KiB, a guess, holds about two items of 500 bytes.
	// Half the size would split nearly every item over two pages; double would waste twice
	// as much for each host.
	pageSize = 1 << 10

	// maxMemoryPages bounds the pages in memory: 4 MiB, a guess. Half of it still avoids
	// the file for a queue of 4,000 items. A run has three queues, so that double costs up
	// to 12 MiB more.
	maxMemoryPages = 4 << 20 / pageSize

	// evictDivisor: an eviction frees a quarter of the frames, so that adjacent pages can be
	// written together. A guess: with a larger divisor writes become shorter and more
	// frequent, with a smaller one pages leave memory that are still needed.
	evictDivisor = 4

	// maxWriteSize is the length of the longest write, in bytes. A guess: at 64 KiB the cost
	// of the system call is already small beside copying the bytes; double only enlarges
	// the write buffer.
	maxWriteSize = 64 << 10
)

// A pageFile is the part of *os.File that a pager uses.
type pageFile interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
}

// A pager stores numbered pages. It keeps the recently used ones in memory and the others
// in a file, page n at offset n*pageSize. The bytes of a page must be written from its start
// and without gaps, and only written bytes may be read.
//
// The pager creates the file at the first write to it. The file never grows beyond the
// largest number of pages that were in use at one time, because alloc hands out released
// numbers first. Besides the pages in memory, a pager needs 4 bytes for each released page,
// until all pages are released.
//
// Pages leave memory by the clock algorithm: a hand goes round the frames, clears each
// referenced bit that is set, and evicts each page whose bit was not set.
//
// A pager is not safe for concurrent use.
type pager struct {
	openFile  func() (pageFile, error)
	maxFrames int // frames in memory; at least 1

	frames     []*frame          // all frames; never more than maxFrames
	freeFrames []*frame          // the frames without a page
	byPage     map[uint32]*frame // the frames with a page
	hand       int               // index in frames at which chooseVictims continues
	file       pageFile          // nil before the first write
	nonEmpty   bool              // the file may have bytes, so that releasing all pages must truncate it
	pageCount  uint32            // all lower numbers have been handed out; the file ends at 4 TiB
	freePages  []uint32          // released numbers below pageCount
	victims    []*frame          // buffer of evict
	writeBuf   []byte            // buffer of writeRun
}

// A frame is memory for one page.
type frame struct {
	page       uint32
	inUse      bool // the frame has a page
	referenced bool // the page was used since the clock hand last passed
	loadedFrom int  // data before this offset must be read from the file before use
	dirtyFrom  int  // data[dirtyFrom:dirtyTo] is not in the file yet; empty if both are equal
	dirtyTo    int
	data       []byte
}

// newPager returns a pager without pages, which will create its file in dir.
func newPager(dir string) *pager {
	return &pager{
		openFile:  func() (pageFile, error) { return openTemp(dir) },
		maxFrames: maxMemoryPages,
		byPage:    make(map[uint32]*frame),
	}
}

// alloc returns the number of a page that is not in use.
func (p *pager) alloc() uint32 {
	if last := len(p.freePages) - 1; last >= 0 {
		page := p.freePages[last]
		p.freePages = p.freePages[:last]
		return page
	}
	p.pageCount++
	return p.pageCount - 1
}

// release ends the use of a page and discards its content. When no page is in use, it
// empties the file.
func (p *pager) release(page uint32) {
	if f := p.byPage[page]; f != nil {
		p.freeFrame(f)
	}
	p.freePages = append(p.freePages, page)
	if len(p.freePages) < int(p.pageCount) {
		return
	}
	p.pageCount, p.freePages = 0, nil
	if p.nonEmpty && p.file.Truncate(0) == nil { // a failure is harmless: later writes overwrite the old pages
		p.nonEmpty = false
	}
}

// write stores b at offset off of a page and truncates the page after it. b must not be empty,
// and off must not exceed the written length of the page. If write fails, because no frame
// could be freed or the page could not be read, the page is unchanged.
func (p *pager) write(page uint32, off int, b []byte) error {
	f := p.byPage[page]
	if f == nil {
		var err error
		if f, err = p.allocFrame(page); err != nil {
			return err
		}
		f.loadedFrom = off
	}
	if err := p.loadHead(f, off); err != nil {
		return err
	}
	copy(f.data[off:], b)
	if f.dirtyFrom == f.dirtyTo {
		f.dirtyFrom = off
	}
	f.dirtyFrom, f.dirtyTo = min(f.dirtyFrom, off), off+len(b)
	f.referenced = true
	return nil
}

// read fills b with the bytes at offset off of a page, all of which must have been written.
// If no frame can be freed, for example because the disk is full, it reads from the file
// directly.
func (p *pager) read(page uint32, off int, b []byte) error {
	f := p.byPage[page]
	if f == nil {
		var err error
		if f, err = p.allocFrame(page); err != nil {
			return p.readFile(b, page, off, len(b))
		}
		if err := p.readFile(f.data, page, 0, off+len(b)); err != nil {
			p.freeFrame(f)
			return err
		}
		f.loadedFrom = 0
	}
	if err := p.loadHead(f, off); err != nil {
		return err
	}
	copy(b, f.data[off:])
	f.referenced = true
	return nil
}

// loadHead reads the missing start of a page into its frame if the caller needs bytes of it,
// that is, if off is before f.loadedFrom.
func (p *pager) loadHead(f *frame, off int) error {
	if off >= f.loadedFrom {
		return nil
	}
	if err := p.readFile(f.data[:f.loadedFrom], f.page, 0, f.loadedFrom); err != nil {
		return err
	}
	f.loadedFrom = 0
	return nil
}

// readFile reads b from offset off of a page in the file. It accepts the end of the file
// after atLeast bytes, because the last page of the file may be incomplete.
func (p *pager) readFile(b []byte, page uint32, off, atLeast int) error {
	n, err := p.file.ReadAt(b, int64(page)*pageSize+int64(off))
	switch {
	case n == len(b) || n >= atLeast && err == io.EOF:
		return nil
	case err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}

// allocFrame gives a frame to a page that has none. The caller must set loadedFrom or read the
// page into it.
func (p *pager) allocFrame(page uint32) (*frame, error) {
	if len(p.freeFrames) == 0 && len(p.frames) < p.maxFrames {
		f := &frame{data: make([]byte, pageSize)}
		p.frames, p.freeFrames = append(p.frames, f), append(p.freeFrames, f)
	}
	if len(p.freeFrames) == 0 {
		if err := p.evict(); len(p.freeFrames) == 0 {
			return nil, err
		}
	}
	last := len(p.freeFrames) - 1
	f := p.freeFrames[last]
	p.freeFrames = p.freeFrames[:last]
	f.page, f.inUse, f.loadedFrom, f.dirtyFrom, f.dirtyTo = page, true, 0, 0, 0
	p.byPage[page] = f
	return f, nil
}

// freeFrame takes the page out of a frame. Bytes that are not in the file are lost.
func (p *pager) freeFrame(f *frame) {
	delete(p.byPage, f.page)
	f.inUse, f.referenced = false, false
	p.freeFrames = append(p.freeFrames, f)
}

// evict writes pages that were not used recently to the file and frees their frames. If a
// write fails, its frames keep their pages. evict then returns the error, although it may
// have freed other frames before.
func (p *pager) evict() error {
	p.chooseVictims(max(1, len(p.frames)/evictDivisor))
	slices.SortFunc(p.victims, func(a, b *frame) int { return cmp.Compare(a.page, b.page) })
	for left := p.victims; len(left) > 0; {
		n := contiguous(left)
		if err := p.writeRun(left[:n]); err != nil {
			return err
		}
		for _, f := range left[:n] {
			p.freeFrame(f)
		}
		left = left[n:]
	}
	return nil
}

// chooseVictims moves the hand until it has found n frames that were not used since it last
// passed. It frees clean frames at once, and collects dirty ones in victims. It goes round at
// most twice: the first round may only clear referenced bits.
func (p *pager) chooseVictims(n int) {
	p.victims = p.victims[:0]
	for range 2 * len(p.frames) {
		f := p.frames[p.hand]
		p.hand = (p.hand + 1) % len(p.frames)
		switch {
		case !f.inUse:
			continue
		case f.referenced:
			f.referenced = false
			continue
		case f.dirtyFrom == f.dirtyTo:
			p.freeFrame(f)
		default:
			f.referenced = true // otherwise the second round would choose it again
			p.victims = append(p.victims, f)
		}
		if n--; n == 0 {
			return
		}
	}
}

// writeRange returns the range of the file that must be written for f. If the whole page is in
// memory, this is the whole page and not only its dirty part, because only whole pages are
// contiguous and can be written together.
func (f *frame) writeRange() (off, end int64) {
	at := int64(f.page) * pageSize
	if f.loadedFrom == 0 {
		return at, at + pageSize
	}
	return at + int64(f.dirtyFrom), at + int64(f.dirtyTo)
}

// contiguous returns how many of the first frames one write of at most maxWriteSize can take.
// fs must not be empty and must be sorted by page.
func contiguous(fs []*frame) int {
	off, end := fs[0].writeRange()
	for i, f := range fs[1:] {
		from, to := f.writeRange()
		if from != end || to-off > maxWriteSize {
			return i + 1
		}
		end = to
	}
	return len(fs)
}

// writeRun writes frames that are contiguous to the file, which it creates if necessary.
func (p *pager) writeRun(fs []*frame) error {
	if p.file == nil {
		file, err := p.openFile()
		if err != nil {
			return err
		}
		p.file = file
	}
	off, _ := fs[0].writeRange()
	p.writeBuf = p.writeBuf[:0]
	for _, f := range fs {
		from, to := f.writeRange()
		at := int64(f.page) * pageSize
		p.writeBuf = append(p.writeBuf, f.data[from-at:to-at]...)
	}
	p.nonEmpty = true // a failed write, too, may have extended the file
	_, err := p.file.WriteAt(p.writeBuf, off)
	return err
}

// close releases all pages and closes the file, which removes it. It may be called again.
func (p *pager) close() error {
	file := p.file
	*p = pager{openFile: p.openFile, maxFrames: p.maxFrames, byPage: make(map[uint32]*frame)}
	if file == nil {
		return nil
	}
	return file.Close()
}

// A tempFile is a file that no longer exists once it is closed.
type tempFile struct {
	*os.File
	named bool // the name could not be removed while the file is open, so Close must do it
}

// openTemp creates a file in dir with mode 0600. It removes the name at once if the system
// allows this for an open file, so that a crash leaves nothing behind.
func openTemp(dir string) (pageFile, error) {
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
