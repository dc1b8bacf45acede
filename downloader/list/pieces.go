package list

import (
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pawl/chunk"
)

// maxPieceBytes limits the piece digests of one file, in bytes, beside the limit of an entry. It
// has room for 100,000 digests of SHA-1, so for 25 GiB in the pieces of MirrorBrain, which have
// 256 KiB. As for maxEntry, double the limit would let a hostile list take some hundred MiB more.
const maxPieceBytes = 2 << 20

// A piecesReader collects the digests of a pieces element. Wrong ones cost the piece digests only,
// because the file can be downloaded without them.
type piecesReader struct {
	algorithm string
	length    int64
	digests   []byte
	err       error // the first problem
}

// newPiecesReader returns a reader for the element that start begins. It reports false if the
// algorithm is unknown; the element must be ignored then.
func newPiecesReader(start xml.StartElement) (*piecesReader, bool) {
	p := &piecesReader{algorithm: algorithmName(attribute(start, "type"))}
	if !slices.Contains(cryptographic, p.algorithm) {
		return nil, false
	}
	p.length, p.err = strconv.ParseInt(attribute(start, "length"), 10, 64)
	if p.err != nil {
		p.err = fmt.Errorf("%q is no length of a piece", attribute(start, "length"))
	}
	return p, true
}

// add adds the next digest. Metalink 3 numbers the pieces from 0.
func (p *piecesReader) add(number, digits string) {
	if p.err != nil {
		return
	}
	sum, err := chunk.ParseSum(p.algorithm + ":" + digits)
	n := len(sum.Digest())
	switch {
	case err != nil:
		p.err = err
	case number != "" && number != strconv.Itoa(len(p.digests)/n):
		p.err = fmt.Errorf("piece %q is not in its place", number)
	case len(p.digests)+n > maxPieceBytes:
		p.err = fmt.Errorf("the digests have more than %d bytes", maxPieceBytes)
	}
	if p.err == nil {
		p.digests = append(p.digests, sum.Digest()...)
	}
}

// hashes returns the collected digests.
func (p *piecesReader) hashes() (chunk.PieceHashes, error) {
	if p.err != nil {
		return chunk.PieceHashes{}, p.err
	}
	return chunk.NewPieceHashes(p.algorithm, p.length, p.digests)
}

// parsePieces reads a pieces element (RFC 5854 section 4.1.3). A file may have several, of
// different algorithms, of which the strongest is kept.
func (r *metalinkReader) parsePieces(f *metafile, start xml.StartElement) error {
	p, ok := newPiecesReader(start)
	if !ok {
		return r.skipElement()
	}
	for outside := r.depth - 1; r.depth > outside; {
		t, err := r.next()
		if err != nil {
			return err
		}
		start, ok := t.(xml.StartElement)
		switch {
		case !ok:
			continue
		case !r.isElement(start, "hash"):
			err = r.skipElement()
		default:
			var digits string
			if digits, err = r.elementText(); err == nil {
				p.add(attribute(start, "piece"), digits)
			}
		}
		if err != nil {
			return err
		}
	}
	hashes, err := p.hashes()
	if err != nil {
		f.pieceError = err
	} else if best := f.entry.Pieces; best.IsZero() || slices.Index(cryptographic, hashes.Algorithm()) < slices.Index(cryptographic, best.Algorithm()) {
		f.entry.Pieces = hashes
	}
	return nil
}

// settlePieces drops piece digests that are not of the file, and warns about the ones that are not
// used. It must be called after the last child of the file.
func (r *metalinkReader) settlePieces(f *metafile) {
	e := &f.entry
	if !e.Pieces.IsZero() && e.Size >= 0 && !e.Pieces.Fits(e.Size) {
		e.Pieces = chunk.PieceHashes{}
		f.pieceError = errors.New("their number does not fit the size")
	}
	if f.pieceError != nil && e.Pieces.IsZero() && e.Size != 0 { // an empty file has no pieces
		r.c.warn(e.Line, fmt.Errorf("digests of pieces ignored: %w", f.pieceError))
	}
}

// algorithmName returns an algorithm of Metalink in the form of package chunk: "sha-256", as
// Metalink 4 has it, and "SHA256" are "sha256".
func algorithmName(algorithm string) string {
	return strings.Replace(strings.ToLower(algorithm), "sha-", "sha", 1)
}
