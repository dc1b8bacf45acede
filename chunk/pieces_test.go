package chunk

import (
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

// The sums depend only on the bytes and their offsets, not on the order of the calls of Add
// or on how they divide the bytes.
func TestPiecesAnyOrder(t *testing.T) {
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
		for at := range cuts { // in random order, because cuts is a map
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

// The sum of a whole piece is its CRC-32C without the inversions. The CRC-32C of "123456789"
// is the check value e3069283 of every catalogue of CRCs.
func TestPiecesSum(t *testing.T) {
	p := NewPieces(9)
	p.Add(0, []byte("123456789"))
	// Inverting the initial value equals adding the CRC of the message whose first four
	// bytes are ff and whose others are zero.
	if got := ^(p.Sum(0) ^ crcWithZeros([]byte{0xff, 0xff, 0xff, 0xff}, 5)); got != 0xe3069283 {
		t.Errorf("got %08x, want e3069283", got)
	}
}

// Changing any bit changes the sum of its piece, and no other sum.
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
				t.Fatalf("bit %d, piece %d: got sum changed %t", bit, i, differs)
			}
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
}

// Adding the same bytes a second time removes them.
func TestPiecesAddTwice(t *testing.T) {
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

func TestPieceLength(t *testing.T) {
	tests := []struct{ size, want int64 }{
		{0, 1 << 20}, {1, 1 << 20}, {64 << 30, 1 << 20}, {64<<30 + 1, 2 << 20}, {1 << 40, 16 << 20}, {Unbounded, 4 << 20}, {Unbounded - 1, 1 << 47},
	}
	for _, tt := range tests {
		if got := PieceLength(tt.size); got != tt.want {
			t.Errorf("PieceLength(%d): got %d, want %d", tt.size, got, tt.want)
		}
	}
}

// The checksum of a file is composed of those of its pieces, whatever its size.
func TestPiecesCRC32C(t *testing.T) {
	const length = 1 << 10
	b := make([]byte, 5*length+1)
	for i := range b {
		b[i] = byte(rand.Int())
	}
	for _, size := range []int{0, 1, length - 1, length, length + 1, 3 * length, 5*length - 7, len(b)} {
		p := NewPieces(length)
		cut := size / 3
		p.Add(int64(cut), b[cut:size])
		p.Add(0, b[:cut])
		if got, want := p.CRC32C(int64(size)), crc32.Checksum(b[:size], castagnoli); got != want {
			t.Errorf("%d bytes: got %08x, want %08x", size, got, want)
		}
	}
	zeros, p := make([]byte, 4*length), NewPieces(length)
	p.Add(0, zeros)
	if got, want := p.CRC32C(4*length), crc32.Checksum(zeros, castagnoli); got != want {
		t.Errorf("zeros: got %08x, want %08x", got, want)
	}
}
