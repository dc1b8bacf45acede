package chunk

import (
	"hash/crc32"
	"iter"
	"math"
)

const (
	// minPieceLength is the length of the smallest piece in bytes. It is a guess: damage
	// costs at least one piece, which is downloaded again. Half of it doubles the number of
	// sums to store for files up to 64 GiB.
	minPieceLength = 1 << 20
	// maxPieces limits the pieces of a file of known size, so that its sums take at most
	// 256 KiB. It is a guess. Double the number doubles the sums of files above 64 GiB;
	// half of it doubles the bytes that damage costs there.
	maxPieces = 1 << 16
	// unsizedPieceLength is the length of a piece in bytes if the size of the file is
	// unknown. It is a guess between the lengths for a small file and for a 1 TiB file.
	unsizedPieceLength = 4 << 20
)

// Pieces holds checksums of the held bytes of a file, one per piece of a fixed length. They
// find damage to the part file, and limit it to the pieces whose checksums differ.
//
// The sum of a piece covers the held bytes of the piece, whatever they are, and the bytes
// may be added in any order. This works because CRC-32C (RFC 3720 section 12.1) without
// its two inversions is linear: the sum of several runs of bytes is the exclusive or of
// the sums of each run, each followed by zeros up to the end of the piece. Therefore adding
// the same bytes a second time removes them from the sum.
type Pieces struct {
	length int64    // of a piece, in bytes
	sums   []uint32 // sums[i] covers piece i; further pieces have sum 0
}

// NewPieces returns Pieces for a file of which no byte is held. The length of a piece, in
// bytes, must be positive.
func NewPieces(length int64) *Pieces { return &Pieces{length: length} }

// PieceLength returns the length of the pieces for a file of size bytes, Unbounded if the
// size is unknown. It is a power of two, and at least 1 MiB.
func PieceLength(size int64) int64 {
	if size == Unbounded {
		return unsizedPieceLength
	}
	n := int64(minPieceLength)
	for (size-1)/maxPieces >= n {
		n *= 2
	}
	return n
}

// Length returns the length of a piece in bytes.
func (p *Pieces) Length() int64 { return p.length }

// Len returns the number of pieces up to the last one whose sum was ever changed.
func (p *Pieces) Len() int { return len(p.sums) }

// Range returns the bytes of piece i. The range of the last piece may extend beyond the end
// of the file.
func (p *Pieces) Range(i int) Range { return Range{int64(i) * p.length, int64(i+1) * p.length} }

// Index returns the index of the piece that contains byte off.
func (p *Pieces) Index(off int64) int { return int(off / p.length) }

// Sum returns the sum of piece i. It is 0 if no byte of the piece is held.
func (p *Pieces) Sum(i int) uint32 {
	if i >= len(p.sums) {
		return 0
	}
	return p.sums[i]
}

// SetSum replaces the sum of piece i, for example by a recorded one.
func (p *Pieces) SetSum(i int, sum uint32) {
	for len(p.sums) <= i {
		p.sums = append(p.sums, 0)
	}
	p.sums[i] = sum
}

// Add adds the bytes b at offset off of the file. The bytes must not be in the sums yet.
func (p *Pieces) Add(off int64, b []byte) {
	for i, sum := range PieceSums(p.length, off, b) {
		p.AddSum(i, sum)
	}
}

// AddSum adds bytes of piece i, given by their sum from PieceSum or PieceSums.
func (p *Pieces) AddSum(i int, sum uint32) { p.SetSum(i, p.Sum(i)^sum) }

// PieceSums yields, for the bytes b at offset off and pieces of length bytes, the index of
// each piece that contains some of b and their sum, to be passed to AddSum. It does not
// touch a Pieces, so the computation, unlike AddSum, needs no lock.
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

// PieceSum returns the sum of the bytes b at offset off, for pieces of length bytes. All of
// b must be in one piece.
func PieceSum(length, off int64, b []byte) uint32 {
	return crcWithZeros(b, length-off%length-int64(len(b)))
}

// CRC32C returns the CRC-32C of a file of size bytes, all of which are in p. It reads no byte of
// the file: the time grows with the number of pieces.
//
// The sum of a piece is of its bytes and of zeros up to its end, so the last sum has zeros
// beyond the end of the file. To take them off again, more zeros are appended, because 2³¹-1
// zero bytes multiply a CRC-32C by 1.
func (p *Pieces) CRC32C(size int64) uint32 {
	const period = 1<<31 - 1
	var sum uint32
	for i := range int((size + p.length - 1) / p.length) {
		sum = appendZeros(sum, p.length) ^ p.Sum(i)
	}
	if beyond := (p.length - size%p.length) % p.length; beyond > 0 {
		sum = appendZeros(sum, period-beyond%period)
	}
	return ^(sum ^ appendZeros(math.MaxUint32, size))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crcWithZeros returns the CRC-32C, without inversions, of b followed by this many zeros.
// A zero byte multiplies a CRC by x⁸, so the time grows with the logarithm of zeros.
func crcWithZeros(b []byte, zeros int64) uint32 {
	return appendZeros(^crc32.Update(math.MaxUint32, castagnoli, b), zeros)
}

// appendZeros returns the CRC-32C, without inversions, of the bytes of sum followed by this many
// zeros.
func appendZeros(sum uint32, zeros int64) uint32 {
	for k := 0; zeros > 0; zeros >>= 1 {
		if zeros&1 != 0 {
			sum = multiplyMod(zeroFactors[k], sum)
		}
		k++
	}
	return sum
}

// zeroFactors[k] is the factor by which 2ᵏ zero bytes multiply a CRC: x to the power of
// 8·2ᵏ, modulo the polynomial of CRC-32C.
var zeroFactors = func() (t [63]uint32) {
	t[0] = 1 << (31 - 8) // x⁸; in the reflected form, bit 31 is the coefficient of x⁰
	for k := range len(t) - 1 {
		t[k+1] = multiplyMod(t[k], t[k])
	}
	return t
}()

// multiplyMod multiplies two polynomials over GF(2) modulo the polynomial of CRC-32C. The
// factors and the product are in reflected form.
func multiplyMod(a, b uint32) uint32 {
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
