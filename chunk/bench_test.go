package chunk

import "testing"

// Connections write their bytes in turns, so the set has as many ranges as
// there are connections and each Add makes one of them longer.
func BenchmarkSetAdd(b *testing.B) {
	const conns, far, piece = 16, 1 << 40, 32 << 10
	var s Set
	for i := 0; b.Loop(); i++ {
		off := int64(i%conns)*far + int64(i/conns)*piece
		s.Add(Range{off, off + piece})
	}
	if len(s.ranges) > conns {
		b.Errorf("ranges: got %d, want at most %d", len(s.ranges), conns)
	}
}

// Where all of a claim is stolen, there are as many claims as before.
func BenchmarkPlanSteal(b *testing.B) {
	const conns, part = 64, 1 << 30
	p := NewPlan(conns*part, Set{})
	for range conns {
		p.Take(part)
	}
	for b.Loop() {
		p.Steal(p.claims[0], part)
	}
	if got := planned(p); got != p.Size() {
		b.Errorf("bytes in the plan: got %d, want %d", got, p.Size())
	}
}

// BenchmarkPieces is the sum of what is written at once.
func BenchmarkPieces(b *testing.B) {
	p, buf := NewPieces(1<<20), make([]byte, 256<<10)
	b.SetBytes(int64(len(buf)))
	for i := range b.N {
		p.Add(int64(i%4096)*int64(len(buf)), buf)
	}
}
