package chunk

import (
	"strings"
	"testing"
)

func TestRangeLen(t *testing.T) {
	for _, tc := range []struct {
		r    Range
		want int64
	}{
		{Range{}, 0},
		{Range{3, 7}, 4},
		{Range{7, 7}, 0},
		{Range{7, 3}, 0},
		{Range{0, Unbounded}, Unbounded},
		{Range{Unbounded, Unbounded}, 0},
	} {
		if got := tc.r.Len(); got != tc.want {
			t.Errorf("%#v.Len(): got %d, want %d", tc.r, got, tc.want)
		}
		if got := tc.r.Empty(); got != (tc.want == 0) {
			t.Errorf("%#v.Empty(): got %t, want %t", tc.r, got, tc.want == 0)
		}
	}
}

func TestRangeContainsAndIntersect(t *testing.T) {
	for _, tc := range []struct {
		name     string
		r, o     Range
		contains bool
		both     Range
	}{
		{"same", Range{2, 8}, Range{2, 8}, true, Range{2, 8}},
		{"inside", Range{2, 8}, Range{3, 7}, true, Range{3, 7}},
		{"around", Range{3, 7}, Range{2, 8}, false, Range{3, 7}},
		{"one below", Range{2, 8}, Range{1, 8}, false, Range{2, 8}},
		{"one above", Range{2, 8}, Range{2, 9}, false, Range{2, 8}},
		{"touching below", Range{2, 8}, Range{0, 2}, false, Range{}},
		{"touching above", Range{2, 8}, Range{8, 9}, false, Range{}},
		{"apart", Range{2, 8}, Range{20, 30}, false, Range{}},
		{"empty inside", Range{2, 8}, Range{5, 5}, true, Range{}},
		{"empty elsewhere", Range{2, 8}, Range{50, 50}, true, Range{}},
		{"reversed", Range{2, 8}, Range{7, 3}, true, Range{}},
		{"empty in empty", Range{}, Range{}, true, Range{}},
		{"byte in empty", Range{}, Range{0, 1}, false, Range{}},
		{"unbounded", Range{5, Unbounded}, Range{9, Unbounded}, true, Range{9, Unbounded}},
	} {
		if got := tc.r.Contains(tc.o); got != tc.contains {
			t.Errorf("%s: %v.Contains(%v): got %t, want %t", tc.name, tc.r, tc.o, got, tc.contains)
		}
		if got := tc.r.Intersect(tc.o); got != tc.both {
			t.Errorf("%s: %#v.Intersect(%#v): got %#v, want %#v", tc.name, tc.r, tc.o, got, tc.both)
		}
		if got := tc.o.Intersect(tc.r); got != tc.both {
			t.Errorf("%s: %#v.Intersect(%#v): got %#v, want %#v", tc.name, tc.o, tc.r, got, tc.both)
		}
	}
}

func TestRangeText(t *testing.T) {
	for _, tc := range []struct {
		r    Range
		want string
	}{
		{Range{0, 1}, "0+1"},
		{Range{1024, 1536}, "1024+512"},
		{Range{0, Unbounded}, "0+9223372036854775807"},
		{Range{Unbounded - 1, Unbounded}, "9223372036854775806+1"},
	} {
		if got := tc.r.String(); got != tc.want {
			t.Errorf("%#v.String(): got %q, want %q", tc.r, got, tc.want)
		}
		if got, err := parseRange(tc.want); got != tc.r || err != nil {
			t.Errorf("parseRange(%q): got %v, %v, want %v", tc.want, got, err, tc.r)
		}
	}
}

// malformedRanges are texts that no range has as its text form. The tests of Set use them
// as well.
var malformedRanges = []string{
	"5", "5-6", "+", "5+", "+5", "5++6", "5+6+7", // not two numbers
	"5+0", "0+0", // empty
	"-5+6", "5+-6", "++5+6", // signs
	"05+6", "5+06", "00+1", // leading zeros
	" 5+6", "5 +6", "5+6 ", "5+6\n", // spaces
	"0x5+6", "1e3+6", "1_000+6", "5.0+6", "a+b", "٥+٦", // not plain decimals
	"9223372036854775807+1",  // ends beyond Unbounded
	"1+9223372036854775807",  // the same, because of its length
	"0+9223372036854775808",  // overflows int64
	"9223372036854775808+1",  // overflows int64
	"0+18446744073709551616", // overflows uint64
}

func TestParseRangeMalformed(t *testing.T) {
	for _, text := range malformedRanges {
		r, err := parseRange(text)
		if err == nil || r != (Range{}) {
			t.Errorf("parseRange(%q): got %v, %v, want an error", text, r, err)
			continue
		}
		if !strings.HasPrefix(err.Error(), "range ") {
			t.Errorf("parseRange(%q): got error %v, want one that begins with \"range \"", text, err)
		}
	}
}
