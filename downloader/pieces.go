package downloader

import (
	"fmt"
	"io"
	"sync"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/response"
)

// maxPieceFailures is how often a download begins another attempt because of a wrong piece, which
// no source has sent again as a range. A guess, as maxMismatches: each may cost a stream of the file.
const maxPieceFailures = maxMismatches

// errWrongPiece means that a piece was wrong, and is missing now.
var errWrongPiece = restartError{why: "a piece has a wrong digest", keep: true}

// A pieceCheck has the digests of the pieces of a download, which come from the request, and the
// results of verifying them. One goroutine at a time verifies pieces; the other methods are safe for
// concurrent use.
type pieceCheck struct {
	hashes chunk.PieceHashes // zero for none; immutable once the part file is open

	mu       sync.Mutex
	proven   chunk.Set             // whole pieces with the right digest; guarded by mu
	refuse   bool                  // the digests are not of this file, and are not used any more; guarded by mu
	wrong    map[int64]*wrongPiece // by offset; used by the verifying goroutine only
	warned   bool                  // a warning has named the origin; likewise
	failures int                   // pieces that no source has sent again; likewise
}

// A wrongPiece is a piece that was complete and had a wrong digest. It is known until it is replaced.
type wrongPiece struct {
	chunk.Range
	sources  []pieceShare           // of the wrong bytes
	seen     map[string][]chunk.Sum // wrong digests of the piece, by the source of all its bytes
	failures int                    // times that no source has sent it again
	counted  int                    // how many times its digest was added to seen by verify
}

// A pieceShare is the part of a piece that one source has sent.
type pieceShare struct {
	mirror *mirror // nil for the origin and for an earlier run
	name   string  // for messages
	bytes  chunk.Set
	sum    uint32 // checksum of the bytes; see chunk.PieceSum
}

// use reports whether the digests are of a file of size bytes.
func (p *pieceCheck) use(size int64) bool {
	if p == nil || !p.hashes.Fits(size) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.refuse
}

// ignore ends the use of the digests.
func (p *pieceCheck) ignore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = true
}

// proves reports whether all bytes of r are in pieces with the right digest.
func (p *pieceCheck) proves(r chunk.Range) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.proven.Contains(r)
}

// prefix returns how many of the first n bytes are in pieces with the right digest, up to the first
// that is not; n if the digests are not used.
func (p *pieceCheck) prefix(n int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse {
		return n
	}
	return min(n, p.proven.Prefix())
}

// keep forgets the pieces of a file of size bytes that are not wholly in held.
func (p *pieceCheck) keep(held chunk.Set, size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for gap := range held.Missing(chunk.Range{End: size}) {
		p.proven.Remove(chunk.Range{Off: p.hashes.Piece(gap.Off, size).Off, End: p.hashes.Piece(gap.End-1, size).End})
	}
}

// prove notes that a piece has the right digest.
func (p *pieceCheck) prove(piece chunk.Range) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proven.Add(piece)
}

// next returns a piece of a file of size bytes that is complete in held and not proven; an empty
// range if there is none. Only parts of held that begin and end at a multiple of align count, or
// at the end of the file: so other connections write nowhere near a wrong piece, as
// store.Part.Discard demands.
func (p *pieceCheck) next(held chunk.Set, align, size int64) chunk.Range {
	p.mu.Lock()
	defer p.mu.Unlock()
	length := p.hashes.Length()
	for r := range held.All() {
		in := chunk.Range{Off: roundUp(roundUp(r.Off, align), length), End: size}
		if r.End < size {
			in.End = r.End - r.End%align
			in.End -= in.End % length
		}
		if in.Empty() {
			continue
		}
		for gap := range p.proven.Missing(in) {
			return p.hashes.Piece(gap.Off, size)
		}
	}
	return chunk.Range{}
}

// failed returns the error of a piece that is wrong and missing: another attempt, or none.
func (p *pieceCheck) failed(piece chunk.Range) error {
	if p.failures++; p.failures < maxPieceFailures {
		return errWrongPiece
	}
	return failure.Permanent(failure.New(failure.ErrChecksum, fmt.Sprintf("%s have a wrong digest, and no source has sent right ones", response.FormatRange(piece))))
}

// roundUp returns the smallest multiple of unit from n on.
func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }

// wrongAgain notes that all bytes of the piece came from source and have the digest got. It reports
// whether the digest of the piece may be wrong: two sources have sent the same bytes, or one has sent
// wrong bytes several times.
func (w *wrongPiece) wrongAgain(source string, got chunk.Sum) bool {
	if w.seen == nil {
		w.seen = make(map[string][]chunk.Sum)
	}
	w.seen[source] = append(w.seen[source], got)
	for other, sums := range w.seen {
		for _, sum := range sums {
			if other != source && sum == got {
				return true
			}
		}
	}
	return len(w.seen[source]) >= maxSameMismatch
}

// digestOfPiece returns the digest of a piece of file, in the algorithm of want.
func digestOfPiece(file io.ReaderAt, piece chunk.Range, want chunk.Sum) (chunk.Sum, error) {
	h := want.NewHash()
	n, err := io.CopyBuffer(h, io.NewSectionReader(file, piece.Off, piece.Len()), make([]byte, compareBytes))
	if err == nil && n < piece.Len() {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return chunk.Sum{}, failure.Permanent(err)
	}
	return want.Of(h), nil
}

// A pieceHasher verifies the pieces of a file of size bytes that is written to it in order.
type pieceHasher struct {
	check *pieceCheck
	size  int64
	off   int64
	hash  io.Writer
	sum   func() chunk.Sum
	wrong *mismatch // the first wrong piece
}

func (h *pieceHasher) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 && h.off < h.size {
		piece := h.check.hashes.Piece(h.off, h.size)
		want := h.check.hashes.Sum(piece.Off)
		if h.off == piece.Off {
			hash := want.NewHash()
			h.hash, h.sum = hash, func() chunk.Sum { return want.Of(hash) }
		}
		part := b[:min(int64(len(b)), piece.End-h.off)]
		h.hash.Write(part)
		h.off, b = h.off+int64(len(part)), b[len(part):]
		if h.off == piece.End && h.wrong == nil && h.sum() != want {
			h.wrong = &mismatch{want: promise{Sum: want, by: ProofList}, got: h.sum()}
		}
	}
	return n, nil
}

// A wrongBytesError says which bytes of a source are wrong. It is a failure.ErrChecksum.
type wrongBytesError struct{ piece string }

func (e wrongBytesError) Error() string { return fmt.Sprintf("its %s are wrong", e.piece) }

// Is is for errors.Is.
func (e wrongBytesError) Is(kind error) bool { return kind == failure.ErrChecksum }
