package downloader

import (
	"testing"

	"pawl/chunk"
)

// All samples are held, and the first and the last held byte are always among them.
func TestSamples(t *testing.T) {
	set := func(r ...chunk.Range) chunk.Set { return chunk.NewSet(r...) }
	tests := []struct {
		name string
		held chunk.Set
		max  int
	}{
		{"one byte", set(chunk.Range{Off: 7, End: 8}), 1},
		{"less than a sample", set(chunk.Range{End: 100}), 1},
		{"one range", set(chunk.Range{Off: 1 << 20, End: 9 << 20}), 4},
		{"small ranges", set(chunk.Range{End: 10}, chunk.Range{Off: 20, End: 30}, chunk.Range{Off: 1 << 30, End: 1<<30 + 5}), 4},
		{"far apart", set(chunk.Range{End: 1 << 20}, chunk.Range{Off: 1 << 40, End: 1<<40 + 1<<20}), 4},
	}
	for _, tt := range tests {
		for range 50 { // some samples are at random places
			got := samples(tt.held)
			if len(got) < 1 || len(got) > tt.max {
				t.Fatalf("%s: got %d samples, want 1 to %d", tt.name, len(got), tt.max)
			}
			var ranges []chunk.Range
			for r := range tt.held.All() {
				ranges = append(ranges, r)
			}
			all := chunk.NewSet(got...)
			if !all.Contains(chunk.Range{Off: ranges[0].Off, End: ranges[0].Off + 1}) {
				t.Errorf("%s: the first byte is not in %v", tt.name, got)
			}
			if last := ranges[len(ranges)-1]; tt.held.Len() > sampleSize && !all.Contains(chunk.Range{Off: last.End - 1, End: last.End}) {
				t.Errorf("%s: the last byte is not in %v", tt.name, got)
			}
			for _, r := range got {
				if r.Empty() || r.Len() > sampleSize || !tt.held.Contains(r) {
					t.Errorf("%s: sample %v is empty, too large, or not held", tt.name, r)
				}
			}
		}
	}
}
