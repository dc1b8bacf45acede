package store

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"

	"pawl/chunk"
)

// pageSums is how many sums of pieces are kept together, as one value of the
// state file, so that a commit writes only those that changed.
const sumsPerPage = 256

// written is what has been written to a part file since it was created: which
// bytes, and the sums of their pieces. The caller holds a lock.
type writtenBytes struct {
	set     chunk.Set
	sums    *chunk.Pieces
	unsaved map[int]bool // pages whose sums are not yet in the state file
}

func newWrittenBytes(pieceLength int64) writtenBytes {
	return writtenBytes{sums: chunk.NewPieces(pieceLength), unsaved: make(map[int]bool)}
}

// has reports whether any byte of r is written.
func (w *writtenBytes) overlaps(r chunk.Range) bool {
	for gap := range w.set.Missing(r) {
		return gap != r
	}
	return !r.Empty()
}

// A pieceSum is what some bytes add to the sum of a piece.
type pieceSum struct {
	piece int
	sum   uint32
}

// add notes that r was written, whose bytes add sums.
func (w *writtenBytes) add(r chunk.Range, sums []pieceSum) {
	w.set.Add(r)
	for _, s := range sums {
		w.sums.AddSum(s.piece, s.sum)
		w.unsaved[s.piece/sumsPerPage] = true
	}
}

// in returns what of piece i is written.
func (w *writtenBytes) inPiece(i int) chunk.Set {
	r := w.sums.Range(i)
	s := chunk.NewSet(r)
	for gap := range w.set.Missing(r) {
		s.Remove(gap)
	}
	return s
}

// lose forgets the bytes of s, which are in piece i and have sum.
func (w *writtenBytes) remove(i int, s chunk.Set, sum uint32) {
	for r := range s.All() {
		w.set.Remove(r)
	}
	if i >= w.sums.Len() {
		return
	}
	w.sums.SetSum(i, w.sums.Sum(i)^sum)
	w.unsaved[i/sumsPerPage] = true
}

// A page is one value of sums: number and sealed contents.
type sumPage struct {
	n    int
	data []byte
}

// pages returns the dirty pages, or all, which are clean from then on.
func (w *writtenBytes) takeUnsaved(all bool) []sumPage {
	for i := 0; all && i < w.sums.Len(); i += sumsPerPage {
		w.unsaved[i/sumsPerPage] = true
	}
	var pages []sumPage
	for n := range w.unsaved {
		b := binary.BigEndian.AppendUint32(nil, uint32(n)) // or it could be taken for another
		for i := n * sumsPerPage; i < min((n+1)*sumsPerPage, w.sums.Len()); i++ {
			b = binary.BigEndian.AppendUint32(b, w.sums.Sum(i))
		}
		pages = append(pages, sumPage{n, addChecksum(b)})
	}
	clear(w.unsaved)
	return pages
}

// soil makes pages dirty again, which could not be written.
func (w *writtenBytes) markUnsaved(pages []sumPage) {
	for _, pg := range pages {
		w.unsaved[pg.n] = true
	}
}

// readPage takes over the sums of the pieces in a page of which something is
// held: those of others may be of bytes given up since. It adds the pieces to
// known; a damaged page has none.
func (w *writtenBytes) loadPage(pg sumPage, known map[int]bool) {
	b, err := checkChecksum(pg.data)
	if err != nil || len(b) < 4 || binary.BigEndian.Uint32(b) != uint32(pg.n) {
		return
	}
	b = b[4:]
	for i := pg.n * sumsPerPage; len(b) >= 4; i++ {
		if in := w.inPiece(i); in.Len() > 0 {
			w.sums.SetSum(i, binary.BigEndian.Uint32(b))
			known[i] = true
		}
		b = b[4:]
	}
}

// sumOf reads the bytes of s, which are in one piece, and returns their sum.
func sumOf(f io.ReaderAt, s chunk.Set, length int64) (uint32, error) {
	var sum uint32
	buf := make([]byte, min(256<<10, s.Len()))
	for r := range s.All() {
		for r.Off < r.End {
			n, err := f.ReadAt(buf[:min(int64(len(buf)), r.Len())], r.Off)
			if n == 0 {
				if err == nil || errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return 0, err
			}
			sum ^= chunk.PieceSum(length, r.Off, buf[:n])
			r.Off += int64(n)
		}
	}
	return sum, nil
}

// Dirty reports whether the part file has been touched since the last commit:
// by a process that was killed before it could record what it wrote, or by
// somebody else. Then VerifyNext tells what of it is still as it was recorded.
func (p *Part) Dirty() bool { return p.dirty.Load() }

// PieceSums returns a copy of the sums of the pieces, of all bytes that were written.
func (p *Part) PieceSums() *chunk.Pieces {
	p.writtenMu.Lock()
	defer p.writtenMu.Unlock()
	sums := chunk.NewPieces(p.written.sums.Length())
	for i := range p.written.sums.Len() {
		sums.SetSum(i, p.written.sums.Sum(i))
	}
	return sums
}

// SumOf reads the bytes of s, which must lie in one piece of so many bytes, and returns
// their sum as chunk.PieceSum has it.
func (p *Part) SumOf(s chunk.Set, length int64) (uint32, error) {
	if err := p.usable(); err != nil {
		return 0, err
	}
	return sumOf(p.file, s, length)
}

// VerifyNext reads again what is held of piece i, and gives it up, durably, if it
// has not the sum that was recorded. It returns how many bytes are lost, and
// whether there are more pieces; after the last one, the Part is no longer
// Dirty. It may run beside WriteAt and Commit; a commit waits for it.
func (p *Part) VerifyNext(i int) (lost int64, more bool, err error) {
	if err := p.usable(); err != nil {
		return 0, false, err
	}
	p.commitMu.Lock()
	defer p.commitMu.Unlock()
	p.writtenMu.Lock()
	held, sum := p.written.inPiece(i), p.written.sums.Sum(i)
	length := p.written.sums.Length()
	more = i+1 < p.written.sums.Len()
	p.writtenMu.Unlock()
	got, readErr := sumOf(p.file, held, length)
	if errors.Is(readErr, fs.ErrClosed) {
		return 0, false, readErr
	}
	if readErr != nil || got != sum { // what cannot be read is to be written anew
		if err := p.discardPiece(i, held, sum); err != nil {
			return 0, false, err
		}
		lost = held.Len()
	}
	if !more {
		p.dirty.Store(false)
	}
	return lost, more, nil
}

// lose gives up the bytes of s, which are in piece i and have sum, with
// committing held.
func (p *Part) discardPiece(i int, s chunk.Set, sum uint32) error {
	p.writtenMu.Lock()
	p.written.remove(i, s, sum)
	p.writtenMu.Unlock()
	err := p.commitLocked(func(*Record) {})
	if err != nil { // it still is on record, to be found again
		p.writtenMu.Lock()
		defer p.writtenMu.Unlock()
		p.written.remove(i, chunk.Set{}, sum)
		for x := range s.All() {
			p.written.set.Add(x)
		}
	}
	return err
}

// Cut is Lose of all from off on.
func (p *Part) DiscardFrom(off int64) error {
	return p.Discard(chunk.NewSet(chunk.Range{Off: off, End: chunk.Unbounded}))
}

// Lose gives up, durably, what is held of lost. Nothing may be written meanwhile to
// the pieces that lost touches.
func (p *Part) Discard(lost chunk.Set) error {
	if err := p.usable(); err != nil {
		return err
	}
	p.commitMu.Lock()
	defer p.commitMu.Unlock()
	w := &p.written
	p.writtenMu.Lock()
	pieces := w.sums.Len()
	p.writtenMu.Unlock()
	for i := range pieces {
		p.discardWithinPiece(i, lost)
	}
	return p.commitLocked(func(*Record) {})
}

// losePart is Lose of piece i. Its sum becomes that of what is kept, if what is held
// of it is what was written: a new sum would make good what is damaged.
func (p *Part) discardWithinPiece(i int, lost chunk.Set) {
	w := &p.written
	p.writtenMu.Lock()
	in, sum, length := w.inPiece(i), w.sums.Sum(i), w.sums.Length()
	p.writtenMu.Unlock()
	below := in.Clone()
	for r := range lost.All() {
		below.Remove(r)
	}
	if below.Len() == in.Len() {
		return
	}
	var kept uint32
	if below.Len() > 0 {
		var err error
		kept, err = sumOf(p.file, below, length)
		if whole, wholeErr := sumOf(p.file, in, length); err != nil || wholeErr != nil || whole != sum {
			kept, below = 0, chunk.Set{}
		}
	}
	p.writtenMu.Lock()
	defer p.writtenMu.Unlock()
	w.remove(i, in, sum^kept)
	for r := range below.All() {
		w.set.Add(r)
	}
}
