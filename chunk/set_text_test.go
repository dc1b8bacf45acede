package chunk

import (
	"slices"
	"testing"
)

// malformedSets are texts whose ranges are good, but not as a set.
var malformedSets = []string{
	",", "0+1,", ",0+1", "0+1,,4+1", "0+1;4+1", "0+1, 4+1", // separators
	"0+5,3+5", "0+5,0+5", "0+9,3+2", // overlapping
	"0+5,5+5", "0+5,7+1,8+1", // touching
	"7+1,0+5", "0+1,9+1,4+1", // out of order
	"5+9223372036854775802,9+1", // above the end of all
}

func TestSetUnmarshalTextMalformed(t *testing.T) {
	texts := slices.Clone(malformedSets)
	for _, r := range malformedRanges {
		texts = append(texts, r, r+",1000+1", "0+1,"+r)
	}
	for _, text := range texts {
		s := NewSet(Range{1, 2}, Range{3, 4})
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("UnmarshalText(%q): got %q, want an error", text, s)
		} else if got, want := s.String(), "1+1,3+1"; got != want {
			t.Errorf("UnmarshalText(%q) failed: the set became %q, want it unchanged, %q", text, got, want)
		}
	}
}

func FuzzSetText(f *testing.F) {
	for _, text := range slices.Concat(malformedSets, malformedRanges) {
		f.Add(text)
	}
	for _, text := range []string{"", "0+1", "0+10,20+5", "3+1,5+1,7+9223372036854775800"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		before := NewSet(Range{1, 2})
		s := before.Clone()
		if err := s.UnmarshalText([]byte(text)); err != nil {
			if !s.Equal(before) {
				t.Errorf("UnmarshalText(%q) failed: the set became %q, want it unchanged, %q", text, s, before)
			}
			return
		}
		if got, err := s.MarshalText(); string(got) != text || err != nil {
			t.Errorf("UnmarshalText(%q), MarshalText: got %q, %v", text, got, err)
		}
		if err := checkSet(&s); err != nil {
			t.Errorf("UnmarshalText(%q): %v", text, err)
		}
		if again := NewSet(s.ranges...); !again.Equal(s) {
			t.Errorf("UnmarshalText(%q): adding its ranges: got %q", text, again)
		}
	})
}
