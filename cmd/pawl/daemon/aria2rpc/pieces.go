package aria2rpc

import (
	"encoding/hex"

	"pawl/chunk"
)

const (
	// minPiece is the length of pieces in aria2 (--piece-length).
	minPiece = 1 << 20
	// maxPieces is the most pieces that AriaNg draws by default.
	maxPieces = 10_240
)

// pieceLength returns the length of the pieces of a file of size bytes: a power of two, and so many that
// there are at most maxPieces.
func pieceLength(size int64) int64 {
	length := int64(minPiece)
	for (size-1)/length >= maxPieces {
		length *= 2
	}
	return length
}

// countPieces returns the number of pieces of a file of size bytes, 0 if that is unknown.
func countPieces(size int64) int64 {
	if size <= 0 {
		return 0
	}
	return (size-1)/pieceLength(size) + 1
}

// bitfield returns which pieces of a file of size bytes are held as a whole: hex digits, the first piece in the
// highest bit.
func bitfield(size int64, held *chunk.Set) string {
	length, n := pieceLength(size), countPieces(size)
	bits := make([]byte, (n+7)/8)
	for r := range held.All() {
		first, end := (r.Off+length-1)/length, r.End/length
		if r.End >= size {
			end = n
		}
		for i := first; i < min(end, n); i++ {
			bits[i/8] |= 0x80 >> (i % 8)
		}
	}
	return hex.EncodeToString(bits)
}
