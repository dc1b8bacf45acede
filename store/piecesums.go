package store

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"

	"pawl/chunk"
)

// sumsPerPage is the number of piece checksums per page. A page is one value of the state
// file, about 1 KiB, so that a commit writes only the pages that changed. Half as many
// double the number of keys; twice as many double the bytes that a commit writes for one
// changed piece.
const sumsPerPage = 256

// writtenBytes describes the bytes that were written to a part file: their ranges and the
// checksums of their pieces. The checksum of a piece covers only its written bytes. The
// caller must hold Part.writtenMu.
type writtenBytes struct {
	set     chunk.Set
	sums    *chunk.Pieces
	unsaved map[int]bool // numbers of the pages that differ from the state file
}

func newWrittenBytes(pieceLength int64) writtenBytes {
	return writtenBytes{sums: chunk.NewPieces(pieceLength), unsaved: make(map[int]bool)}
}

// overlaps reports whether any byte of r was written.
func (w *writtenBytes) overlaps(r chunk.Range) bool {
	for gap := range w.set.Missing(r) {
		return gap != r
	}
	return !r.Empty()
}

// A pieceSum is the contribution of some bytes to the checksum of a piece. Contributions
// are combined with XOR, so the order of the writes does not matter.
type pieceSum struct {
	piece int
	sum   uint32
}

// add records that r was written, and adds the contributions of its bytes.
func (w *writtenBytes) add(r chunk.Range, sums []pieceSum) {
	w.set.Add(r)
	for _, s := range sums {
		w.sums.AddSum(s.piece, s.sum)
		w.unsaved[s.piece/sumsPerPage] = true
	}
}

// inPiece returns the written ranges of piece i.
func (w *writtenBytes) inPiece(i int) chunk.Set {
	r := w.sums.Range(i)
	s := chunk.NewSet(r)
	for gap := range w.set.Missing(r) {
		s.Remove(gap)
	}
	return s
}

// remove removes the ranges of s, which must lie in piece i, and subtracts sum, their
// contribution to the checksum.
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

// A sumPage is one page of piece checksums in the state file: its number and its encoded
// form.
type sumPage struct {
	n    int
	data []byte
}

// takeUnsaved returns the unsaved pages, or all pages if all is set. They count as saved
// from then on; if the transaction fails, the caller must call markUnsaved.
func (w *writtenBytes) takeUnsaved(all bool) []sumPage {
	for i := 0; all && i < w.sums.Len(); i += sumsPerPage {
		w.unsaved[i/sumsPerPage] = true
	}
	var pages []sumPage
	for n := range w.unsaved {
		b := binary.BigEndian.AppendUint32(nil, uint32(n)) // a page that was stored under another number would otherwise be believed
		for i := n * sumsPerPage; i < min((n+1)*sumsPerPage, w.sums.Len()); i++ {
			b = binary.BigEndian.AppendUint32(b, w.sums.Sum(i))
		}
		pages = append(pages, sumPage{n, addChecksum(b)})
	}
	clear(w.unsaved)
	return pages
}

// markUnsaved marks pages as unsaved that could not be written.
func (w *writtenBytes) markUnsaved(pages []sumPage) {
	for _, pg := range pages {
		w.unsaved[pg.n] = true
	}
}

// loadPage takes the checksums of a stored page and sets known for their pieces. It skips
// pieces of which nothing is held, because their stored checksum may belong to bytes that
// were discarded since. A damaged page sets none.
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

// sumOf reads the ranges of s, which must lie in one piece of length bytes, and returns
// their checksum.
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

// Dirty reports whether the part file has changed since the last commit: a process was
// killed before it could record its writes, or somebody else has changed the file. The
// held pieces must then be checked with VerifyNext before Finish.
func (p *Part) Dirty() bool { return p.dirty.Load() }

// PieceSums returns a copy of the checksums of all pieces. They cover all written bytes,
// durable or not.
func (p *Part) PieceSums() *chunk.Pieces {
	p.writtenMu.Lock()
	defer p.writtenMu.Unlock()
	sums := chunk.NewPieces(p.written.sums.Length())
	for i := range p.written.sums.Len() {
		sums.SetSum(i, p.written.sums.Sum(i))
	}
	return sums
}

// SumOf reads the ranges of s and returns their checksum as chunk.PieceSum defines it. s
// must lie in one piece of length bytes.
func (p *Part) SumOf(s chunk.Set, length int64) (uint32, error) {
	if err := p.checkUsable(); err != nil {
		return 0, err
	}
	return sumOf(p.file, s, length)
}

// VerifyNext reads the held bytes of piece i and compares them with the recorded
// checksum. If they differ or cannot be read, it removes them from the record, durably,
// and returns their number as lost. more reports whether piece i+1 exists. The caller
// must start with piece 0 and continue until more is false; the Part is then no longer
// Dirty. VerifyNext may run beside WriteAt and Commit; a commit waits for it.
func (p *Part) VerifyNext(i int) (lost int64, more bool, err error) {
	if err := p.checkUsable(); err != nil {
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
	if readErr != nil || got != sum { // unreadable bytes must be written anew, too
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

// discardPiece removes the ranges s of piece i, whose checksum is sum, from the record.
// The caller must hold commitMu. On an error it restores them in memory, because the
// record still lists them.
func (p *Part) discardPiece(i int, s chunk.Set, sum uint32) error {
	p.writtenMu.Lock()
	p.written.remove(i, s, sum)
	p.writtenMu.Unlock()
	err := p.commitLocked(func(*Record) {})
	if err != nil {
		p.writtenMu.Lock()
		defer p.writtenMu.Unlock()
		p.written.remove(i, chunk.Set{}, sum)
		for x := range s.All() {
			p.written.set.Add(x)
		}
	}
	return err
}

// DiscardFrom discards all bytes from offset off on; see Discard.
func (p *Part) DiscardFrom(off int64) error {
	return p.Discard(chunk.NewSet(chunk.Range{Off: off, End: chunk.Unbounded}))
}

// Discard removes the ranges of lost from the record, durably. They may be written again
// after it. During the call nothing may be written to the pieces that lost touches.
func (p *Part) Discard(lost chunk.Set) error {
	if err := p.checkUsable(); err != nil {
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

// discardWithinPiece removes the ranges of lost from piece i in memory. The rest of the
// piece gets a new checksum only if the old one still matches; otherwise the whole piece
// is removed, because a new checksum would make damaged bytes look right.
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
