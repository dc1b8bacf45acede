package chunk

import (
	"encoding"
	"encoding/json"
	"slices"
	"testing"
)

var (
	_ encoding.TextMarshaler   = Set{}
	_ encoding.TextUnmarshaler = (*Set)(nil)
)

// mustParseSet returns the set with the given text form.
func mustParseSet(t testing.TB, text string) Set {
	t.Helper()
	var s Set
	if err := s.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSetAdd(t *testing.T) {
	for _, tc := range []struct {
		name, set string
		r         Range
		want      string
	}{
		{"first", "", Range{5, 9}, "5+4"},
		{"empty", "10+5", Range{3, 3}, "10+5"},
		{"empty inside", "10+5", Range{12, 12}, "10+5"},
		{"reversed", "10+5", Range{30, 2}, "10+5"},
		{"below", "10+5", Range{2, 9}, "2+7,10+5"},
		{"touching from below", "10+5", Range{2, 10}, "2+13"},
		{"overlapping from below", "10+5", Range{2, 11}, "2+13"},
		{"same", "10+5", Range{10, 15}, "10+5"},
		{"inside", "10+5", Range{11, 14}, "10+5"},
		{"around", "10+5", Range{9, 16}, "9+7"},
		{"overlapping from above", "10+5", Range{14, 20}, "10+10"},
		{"touching from above", "10+5", Range{15, 20}, "10+10"},
		{"above", "10+5", Range{16, 20}, "10+5,16+4"},
		{"between", "0+2,20+2", Range{5, 7}, "0+2,5+2,20+2"},
		{"fills a gap", "0+2,20+2", Range{2, 20}, "0+22"},
		{"touches the lower only", "0+2,20+2", Range{2, 19}, "0+19,20+2"},
		{"touches the upper only", "0+2,20+2", Range{3, 20}, "0+2,3+19"},
		{"over several", "0+2,4+2,8+2,20+2", Range{5, 12}, "0+2,4+8,20+2"},
		{"over all", "1+2,4+2,8+2", Range{0, 50}, "0+50"},
		{"unbounded", "0+2", Range{5, Unbounded}, "0+2,5+9223372036854775802"},
	} {
		s := mustParseSet(t, tc.set)
		s.Add(tc.r)
		if got := s.String(); got != tc.want {
			t.Errorf("%s: %q.Add(%v): got %q, want %q", tc.name, tc.set, tc.r, got, tc.want)
		}
	}
}

func TestSetRemove(t *testing.T) {
	for _, tc := range []struct {
		name, set string
		r         Range
		want      string
	}{
		{"from nothing", "", Range{5, 9}, ""},
		{"empty", "10+5", Range{12, 12}, "10+5"},
		{"reversed", "10+5", Range{30, 2}, "10+5"},
		{"touching from below", "10+5", Range{2, 10}, "10+5"},
		{"first byte", "10+5", Range{2, 11}, "11+4"},
		{"middle", "10+5", Range{12, 13}, "10+2,13+2"},
		{"last byte", "10+5", Range{14, 20}, "10+4"},
		{"touching from above", "10+5", Range{15, 20}, "10+5"},
		{"same", "10+5", Range{10, 15}, ""},
		{"around", "10+5", Range{9, 16}, ""},
		{"a gap", "0+2,20+2", Range{2, 20}, "0+2,20+2"},
		{"a gap and its edges", "0+2,20+2", Range{1, 21}, "0+1,21+1"},
		{"over several", "0+2,4+2,8+2,20+2", Range{5, 21}, "0+2,4+1,21+1"},
		{"everything", "1+2,4+2,8+2", Range{0, Unbounded}, ""},
		{"the tail", "0+9223372036854775807", Range{7, Unbounded}, "0+7"},
		{"the last possible byte", "0+9223372036854775807", Range{Unbounded - 1, Unbounded}, "0+9223372036854775806"},
	} {
		s := mustParseSet(t, tc.set)
		s.Remove(tc.r)
		if got := s.String(); got != tc.want {
			t.Errorf("%s: %q.Remove(%v): got %q, want %q", tc.name, tc.set, tc.r, got, tc.want)
		}
	}
}

func TestSetContains(t *testing.T) {
	for _, tc := range []struct {
		set  string
		r    Range
		want bool
	}{
		{"", Range{}, true},
		{"", Range{0, 1}, false},
		{"2+4,8+2", Range{2, 6}, true},
		{"2+4,8+2", Range{3, 5}, true},
		{"2+4,8+2", Range{8, 10}, true},
		{"2+4,8+2", Range{1, 3}, false},
		{"2+4,8+2", Range{5, 7}, false},
		{"2+4,8+2", Range{6, 8}, false},
		{"2+4,8+2", Range{5, 9}, false},
		{"2+4,8+2", Range{9, 11}, false},
		{"2+4,8+2", Range{10, 11}, false},
		{"2+4,8+2", Range{7, 7}, true},
		{"2+4,8+2", Range{9, 1}, true},
		{"0+9223372036854775807", Range{0, Unbounded}, true},
	} {
		s := mustParseSet(t, tc.set)
		if got := s.Contains(tc.r); got != tc.want {
			t.Errorf("%q.Contains(%v): got %t, want %t", tc.set, tc.r, got, tc.want)
		}
	}
}

func TestSetLenAndPrefix(t *testing.T) {
	for _, tc := range []struct {
		set         string
		len, prefix int64
	}{
		{"", 0, 0},
		{"0+4", 4, 4},
		{"1+4", 4, 0},
		{"0+1,2+4,10+5", 10, 1},
		{"0+9223372036854775807", Unbounded, Unbounded},
	} {
		s := mustParseSet(t, tc.set)
		if got := s.Len(); got != tc.len {
			t.Errorf("%q.Len(): got %d, want %d", tc.set, got, tc.len)
		}
		if got := s.Prefix(); got != tc.prefix {
			t.Errorf("%q.Prefix(): got %d, want %d", tc.set, got, tc.prefix)
		}
	}
}

func TestSetMissing(t *testing.T) {
	for _, tc := range []struct {
		name, set string
		in        Range
		want      []Range
	}{
		{"of the empty set", "", Range{3, 9}, []Range{{3, 9}}},
		{"in an empty range", "0+2", Range{5, 5}, nil},
		{"reversed", "0+2", Range{9, 1}, nil},
		{"none", "2+4", Range{2, 6}, nil},
		{"below and above", "2+4", Range{0, 9}, []Range{{0, 2}, {6, 9}}},
		{"below", "2+4", Range{0, 6}, []Range{{0, 2}}},
		{"above", "2+4", Range{2, 9}, []Range{{6, 9}}},
		{"from inside", "2+4", Range{3, 9}, []Range{{6, 9}}},
		{"to inside", "2+4", Range{1, 4}, []Range{{1, 2}}},
		{"beyond", "2+4", Range{6, 9}, []Range{{6, 9}}},
		{"before", "2+4", Range{0, 2}, []Range{{0, 2}}},
		{"all gaps", "0+1,2+1,4+1", Range{0, 6}, []Range{{1, 2}, {3, 4}, {5, 6}}},
		{"part of a gap", "0+2,20+2", Range{5, 7}, []Range{{5, 7}}},
		{"unbounded", "0+2", Range{0, Unbounded}, []Range{{2, Unbounded}}},
	} {
		s := mustParseSet(t, tc.set)
		if got := slices.Collect(s.Missing(tc.in)); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q.Missing(%v): got %v, want %v", tc.name, tc.set, tc.in, got, tc.want)
		}
	}
}

// Missing must not yield after the loop has ended, or the loop panics.
func TestSetMissingStopsEarly(t *testing.T) {
	s := mustParseSet(t, "0+1,2+1,4+1")
	for stop := 1; stop <= 3; stop++ {
		gaps := 0
		for range s.Missing(Range{0, 6}) {
			if gaps++; gaps == stop {
				break
			}
		}
		if gaps != stop {
			t.Errorf("stopping at gap %d: got %d gaps", stop, gaps)
		}
	}
}

func TestNewSet(t *testing.T) {
	s := NewSet(Range{20, 25}, Range{}, Range{0, 5}, Range{4, 8}, Range{8, 10})
	if got, want := s.String(), "0+10,20+5"; got != want {
		t.Errorf("NewSet: got %q, want %q", got, want)
	}
	if got, want := slices.Collect(s.All()), []Range{{0, 10}, {20, 25}}; !slices.Equal(got, want) {
		t.Errorf("All: got %v, want %v", got, want)
	}
}

func TestSetCloneSharesNothing(t *testing.T) {
	s := mustParseSet(t, "0+2,4+2,8+2")
	c := s.Clone()
	if !c.Equal(s) {
		t.Errorf("clone: got %q, want %q", c, s)
	}
	s.Remove(Range{0, 5})
	c.Add(Range{6, 8})
	if got, want := s.String(), "5+1,8+2"; got != want {
		t.Errorf("original: got %q, want %q", got, want)
	}
	if got, want := c.String(), "0+2,4+6"; got != want {
		t.Errorf("clone: got %q, want %q", got, want)
	}
}

func TestSetEqual(t *testing.T) {
	emptied := NewSet(Range{0, 5})
	emptied.Remove(Range{0, 5})
	if !emptied.Equal(Set{}) {
		t.Errorf("emptied set: got not equal to the zero value")
	}
	a, b := mustParseSet(t, "0+2,4+2"), mustParseSet(t, "0+2,4+3")
	if a.Equal(b) || b.Equal(a) || a.Equal(Set{}) {
		t.Errorf("%q, %q and %q: got equal", a, b, Set{})
	}
}

func TestSetTextRoundTrip(t *testing.T) {
	for _, text := range []string{"", "0+1", "0+10,20+5", "3+1,5+1,7+9223372036854775800"} {
		b, err := json.Marshal(mustParseSet(t, text))
		if want := `"` + text + `"`; string(b) != want || err != nil {
			t.Errorf("Marshal: got %s, %v, want %s", b, err, want)
		}
		got := NewSet(Range{1, 2}) // must be replaced, not extended
		if err := json.Unmarshal(b, &got); got.String() != text || err != nil {
			t.Errorf("Unmarshal: got %q, %v, want %q", got, err, text)
		}
	}
}

// malformedSets are texts of valid ranges that are not the text form of a set.
var malformedSets = []string{
	",", "0+1,", ",0+1", "0+1,,4+1", "0+1;4+1", "0+1, 4+1", // separators
	"0+5,3+5", "0+5,0+5", "0+9,3+2", // overlapping
	"0+5,5+5", "0+5,7+1,8+1", // touching
	"7+1,0+5", "0+1,9+1,4+1", // out of order
	"5+9223372036854775802,9+1", // after an unbounded range
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
		if rebuilt := NewSet(s.ranges...); !rebuilt.Equal(s) {
			t.Errorf("UnmarshalText(%q): NewSet of its ranges: got %q", text, rebuilt)
		}
	})
}
