package chunk

import (
	"hash/crc32"
	"iter"
	"math"
)

const (
	leastPiece = 1 << 20 // bytes of the smallest piece
	mostPieces = 1 << 16 // of a file whose size is known
	blindPiece = 4 << 20 // bytes of a piece where it is not
)

// Pieces are checksums of the bytes of a file that are held, one for each piece
// of a fixed length, by which damage is found, and found where it is.
//
// The sum of a piece covers whichever of its bytes are held, whatever the order
// they came in: a CRC-32C (RFC 3720 §12.1) without its two inversions is linear,
// so the sum of several runs of bytes is the exclusive or of each one's, moved
// to its place. To add the same bytes again takes them out.
type Pieces struct {
	length int64    // of a piece in bytes
	sums   []uint32 // of the pieces, up to the last one that was ever added to
}

// NewPieces returns the sums of nothing, in pieces of so many bytes.
func NewPieces(length int64) *Pieces { return &Pieces{length: length} }

// PieceLength returns the length of the pieces for a file of size bytes,
// Unbounded if that is not known: a power of two of 1 MiB at least.
func PieceLength(size int64) int64 {
	if size == Unbounded {
		return blindPiece
	}
	n := int64(leastPiece)
	for (size-1)/mostPieces >= n {
		n *= 2
	}
	return n
}

// Length returns the length of a piece in bytes.
func (p *Pieces) Length() int64 { return p.length }

// Len returns the number of pieces up to the last one that was ever added to.
func (p *Pieces) Len() int { return len(p.sums) }

// Range returns the bytes of piece i. Those of the last one may lie beyond the
// end of the file.
func (p *Pieces) Range(i int) Range { return Range{int64(i) * p.length, int64(i+1) * p.length} }

// Index returns the piece that byte off is in.
func (p *Pieces) Index(off int64) int { return int(off / p.length) }

// Sum returns the sum of piece i, 0 of one of which nothing is held.
func (p *Pieces) Sum(i int) uint32 {
	if i >= len(p.sums) {
		return 0
	}
	return p.sums[i]
}

// SetSum makes sum that of piece i.
func (p *Pieces) SetSum(i int, sum uint32) {
	for len(p.sums) <= i {
		p.sums = append(p.sums, 0)
	}
	p.sums[i] = sum
}

// Add adds the bytes b, which belong at off.
func (p *Pieces) Add(off int64, b []byte) {
	for i, sum := range PieceSums(p.length, off, b) {
		p.AddSum(i, sum)
	}
}

// AddSum adds bytes of piece i by what PieceSums says of them.
func (p *Pieces) AddSum(i int, sum uint32) { p.SetSum(i, p.Sum(i)^sum) }

// PieceSums yields what the bytes b, which belong at off, add to the sums of their
// pieces, each of so many bytes. It is the work of Add that needs no lock.
func PieceSums(length, off int64, b []byte) iter.Seq2[int, uint32] {
	return func(yield func(int, uint32) bool) {
		for len(b) > 0 {
			n := min(int64(len(b)), length-off%length)
			if !yield(int(off/length), PieceSum(length, off, b[:n])) {
				return
			}
			off, b = off+n, b[n:]
		}
	}
}

// PieceSum returns what b, at off and within one piece of so many bytes, adds to
// the sum of its piece.
func PieceSum(length, off int64, b []byte) uint32 {
	return crcBefore(b, length-off%length-int64(len(b)))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crcBefore is the CRC of b followed by so many zeros, without inversions.
func crcBefore(b []byte, zeros int64) uint32 {
	sum := ^crc32.Update(math.MaxUint32, castagnoli, b)
	for k := 0; zeros > 0; zeros >>= 1 {
		if zeros&1 != 0 {
			sum = multiply(zeroPowers[k], sum)
		}
		k++
	}
	return sum
}

// zeroPowers[k] is what a CRC is multiplied by for 1<<k zero bytes.
var zeroPowers = func() (t [63]uint32) {
	t[0] = 1 << (31 - 8) // x to the 8th, the highest bit being that of x to the 0th
	for k := range len(t) - 1 {
		t[k+1] = multiply(t[k], t[k])
	}
	return t
}()

// multiply multiplies two polynomials over GF(2), modulo that of CRC-32C, in
// the reflected form of both.
func multiply(a, b uint32) uint32 {
	var product uint32
	for bit := uint32(1) << 31; bit != 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		odd := b & 1
		b >>= 1
		if odd != 0 {
			b ^= crc32.Castagnoli
		}
	}
	return product
}
