package chunk

import (
	"math/rand/v2"
	"testing"
)

// TestPiecesOrder: the sums depend on the bytes and their places alone, not on
// how they were cut or in which order they came.
func TestPiecesOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		length := int64(1 + rng.IntN(50))
		off := rng.Int64N(200)
		b := make([]byte, 1+rng.IntN(300))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		want, got := NewPieces(length), NewPieces(length)
		want.Add(off, b)
		cuts := map[int]bool{0: true, len(b): true}
		for range rng.IntN(10) {
			cuts[rng.IntN(len(b))] = true
		}
		for at := range cuts { // in any order, as maps give it
			end := at + 1
			for end < len(b) && !cuts[end] {
				end++
			}
			if at < len(b) {
				got.Add(off+int64(at), b[at:end])
			}
		}
		for i := range max(want.Len(), got.Len()) {
			if want.Sum(i) != got.Sum(i) {
				t.Fatalf("piece %d of %d bytes: got %08x, want %08x", i, length, got.Sum(i), want.Sum(i))
			}
		}
	}
}

// TestPiecesSum: a whole piece has the sum that crc32 has, but for what the
// inversions add; that of "123456789" is known (RFC 3720 appendix, and every catalogue).
func TestPiecesSum(t *testing.T) {
	p := NewPieces(9)
	p.Add(0, []byte("123456789"))
	// The inversion at the start is the same as to add the sum of four bytes of
	// ones at the start of the message.
	if got := ^(p.Sum(0) ^ crcBefore([]byte{0xff, 0xff, 0xff, 0xff}, 5)); got != 0xe3069283 {
		t.Errorf("got %08x, want e3069283", got)
	}
}

// TestPiecesDamage: every change of a bit changes the sum of its piece, and no other.
func TestPiecesDamage(t *testing.T) {
	b := make([]byte, 64)
	for i := range b {
		b[i] = byte(i * 7)
	}
	whole := NewPieces(16)
	whole.Add(0, b)
	for bit := range 8 * len(b) {
		b[bit/8] ^= 1 << (bit % 8)
		damaged := NewPieces(16)
		damaged.Add(0, b)
		for i := range 4 {
			if differs := whole.Sum(i) != damaged.Sum(i); differs != (i == bit/8/16) {
				t.Fatalf("bit %d, piece %d: differs %v", bit, i, differs)
			}
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
}

// TestPiecesTwice: to add the same bytes again takes them out.
func TestPiecesTwice(t *testing.T) {
	p := NewPieces(8)
	p.Add(30, []byte("others"))
	p.Add(3, []byte("some bytes of two pieces"))
	p.Add(3, []byte("some bytes of two pieces"))
	want := NewPieces(8)
	want.Add(30, []byte("others"))
	for i := range 6 {
		if p.Sum(i) != want.Sum(i) {
			t.Errorf("piece %d: got %08x, want %08x", i, p.Sum(i), want.Sum(i))
		}
	}
}

// TestPieceLength: neither too many pieces nor too small ones.
func TestPieceLength(t *testing.T) {
	tests := []struct{ size, want int64 }{
		{0, 1 << 20}, {1, 1 << 20}, {64 << 30, 1 << 20}, {64<<30 + 1, 2 << 20}, {1 << 40, 16 << 20}, {Unbounded, 4 << 20}, {Unbounded - 1, 1 << 47},
	}
	for _, tt := range tests {
		if got := PieceLength(tt.size); got != tt.want {
			t.Errorf("%d: got %d, want %d", tt.size, got, tt.want)
		}
	}
}
