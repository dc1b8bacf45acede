package chunk

import "testing"

// Each connection extends its own range, and they take turns, as in a download: the set
// always has one range per connection.
func BenchmarkSetAdd(b *testing.B) {
	const conns, distance, piece = 16, 1 << 40, 32 << 10
	var s Set
	for i := 0; b.Loop(); i++ {
		off := int64(i%conns)*distance + int64(i/conns)*piece
		s.Add(Range{off, off + piece})
	}
	if len(s.ranges) > conns {
		b.Errorf("ranges: got %d, want at most %d", len(s.ranges), conns)
	}
}

// Stealing all of a claim keeps the number of claims constant, so each iteration does the
// same work.
func BenchmarkPlanSteal(b *testing.B) {
	const conns, part = 64, 1 << 30
	p := NewPlan(conns*part, Set{})
	for range conns {
		p.Take(0, part)
	}
	for b.Loop() {
		p.Steal(p.claims[0], part)
	}
	if got := totalBytes(p); got != p.Size() {
		b.Errorf("bytes in the plan: got %d, want %d", got, p.Size())
	}
}

// One iteration adds one buffer, as one write to the part file does.
func BenchmarkPiecesAdd(b *testing.B) {
	p, buf := NewPieces(1<<20), make([]byte, 256<<10)
	b.SetBytes(int64(len(buf)))
	for i := range b.N {
		p.Add(int64(i%4096)*int64(len(buf)), buf)
	}
}
