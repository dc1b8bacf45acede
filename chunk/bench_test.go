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

// Each steal is undone by hand, so that all find the same claims: as they cost
// the same, the first of them is the victim.
func BenchmarkPlanSteal(b *testing.B) {
	const conns, part = 64, 1 << 30
	p := NewPlan(conns*part, Set{})
	for range conns {
		p.Take(part)
	}
	cost := func(c *Claim) float64 { return float64(c.Arriving().Len()) }
	for b.Loop() {
		stolen := p.Steal(1, cost)
		p.claims[0].end = stolen.end
		p.claims = p.claims[:conns]
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
