package chunk

import (
	"fmt"
	"strings"
	"testing"
)

// layout draws where p has the byte at each of offs: '#' held, '.' unclaimed,
// 'a' arriving and 'A' arrived of the first claim, 'b' and 'B' of the second
// and so on. '?' is a byte that is nowhere, '!' one that is in several places.
func layout(p *Plan, offs []int64) string {
	b := make([]byte, len(offs))
	for i, off := range offs {
		b[i] = placeIn(p, Range{off, off + 1})
	}
	return string(b)
}

func placeIn(p *Plan, r Range) byte {
	place := byte('?')
	put := func(in bool, as byte) {
		if in && place != '?' {
			place = '!'
		} else if in {
			place = as
		}
	}
	put(p.held.Contains(r), '#')
	put(p.free.Contains(r), '.')
	for i, c := range p.claims {
		put((Range{c.base, c.off}).Contains(r), 'A'+byte(i%26))
		put((Range{c.off, c.end}).Contains(r), 'a'+byte(i%26))
	}
	return place
}

// planned is the sum of all that p has somewhere; of a sound plan, its size.
func planned(p *Plan) int64 {
	n := p.held.Len() + p.free.Len()
	for _, c := range p.claims {
		n += c.whole().Len()
	}
	return n
}

// bytesTo lists the offsets from 0 up to n.
func bytesTo(n int64) []int64 {
	offs := make([]int64, n)
	for i := range offs {
		offs[i] = int64(i)
	}
	return offs
}

// A planCase does something to a plan of ten bytes, or of Unbounded when
// unknown, and wants the layout of its first ten bytes.
type planCase struct {
	name    string
	unknown bool
	held    string
	do      func(p *Plan) any
	ret     any // what do returns
	want    string
}

func runPlanCases(t *testing.T, cases []planCase) {
	t.Helper()
	for _, tc := range cases {
		size := int64(10)
		if tc.unknown {
			size = Unbounded
		}
		p := NewPlan(size, mustSet(t, tc.held))
		if got := tc.do(p); fmt.Sprint(got) != fmt.Sprint(tc.ret) {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.ret)
		}
		drawn := bytesTo(min(p.Size(), 10))
		if got := layout(p, drawn); got != tc.want {
			t.Errorf("%s: layout: got %s, want %s", tc.name, got, tc.want)
		}
		if got := planned(p); got != p.Size() {
			t.Errorf("%s: bytes in the plan: got %d, want %d", tc.name, got, p.Size())
		}
		for _, c := range p.claims {
			if c.whole().Empty() {
				t.Errorf("%s: claim %+v is empty", tc.name, *c)
			}
		}
	}
}

// coming is what c has yet to read, in a form that a planCase can compare.
func coming(c *Claim) string {
	if c == nil {
		return "no claim"
	}
	return c.Arriving().String()
}

// take claims n bytes, of which the first arrived ones have arrived.
func take(p *Plan, n, arrived int64) *Claim {
	c := p.Take(n)
	p.Arrive(c, arrived)
	return c
}

func TestNewPlan(t *testing.T) {
	for _, tc := range []struct {
		size    int64
		held    string
		want    string
		prefix  int64
		missing int64
		done    bool
	}{
		{0, "", "", 0, 0, true},
		{0, "0+5", "", 0, 0, true},
		{5, "", ".....", 0, 5, false},
		{5, "0+2", "##...", 2, 3, false},
		{5, "1+1,3+1", ".#.#.", 0, 3, false},
		{5, "0+5", "#####", 5, 0, true},
		{5, "0+1,3+9", "#..##", 1, 2, false},
		{5, "0+1,5+2,9+1", "#....", 1, 4, false},
		{Unbounded, "", "..........", 0, Unbounded, false},
		{Unbounded, "0+3,5+1", "###..#....", 3, Unbounded - 4, false},
	} {
		held := mustSet(t, tc.held)
		p := NewPlan(tc.size, held)
		held.Add(Range{0, 100}) // the plan has its own copy
		if got := layout(p, bytesTo(min(tc.size, 10))); got != tc.want {
			t.Errorf("NewPlan(%d, %q): layout: got %s, want %s", tc.size, tc.held, got, tc.want)
		}
		if p.Size() != tc.size || p.Prefix() != tc.prefix || p.Unclaimed() != tc.missing || p.Done() != tc.done {
			t.Errorf("NewPlan(%d, %q): size, prefix, unclaimed, done: got %d, %d, %d, %t, want %d, %d, %d, %t", tc.size, tc.held,
				p.Size(), p.Prefix(), p.Unclaimed(), p.Done(), tc.size, tc.prefix, tc.missing, tc.done)
		}
		if got, want := p.HeldLen(), int64(strings.Count(tc.want, "#")); got != want {
			t.Errorf("NewPlan(%d, %q).HeldLen(): got %d, want %d", tc.size, tc.held, got, want)
		}
	}
}

func TestPlanHeldIsACopy(t *testing.T) {
	p := NewPlan(10, NewSet(Range{0, 2}))
	held := p.Held()
	held.Add(Range{0, 10})
	if got, want := p.Held().String(), "0+2"; got != want {
		t.Errorf("Held after a change to the copy: got %q, want %q", got, want)
	}
}

func TestPlanTake(t *testing.T) {
	runPlanCases(t, []planCase{
		{"part", false, "", func(p *Plan) any { return coming(p.Take(3)) }, "0+3", "aaa......."},
		{"all", false, "", func(p *Plan) any { return coming(p.Take(10)) }, "0+10", "aaaaaaaaaa"},
		{"more than there is", false, "", func(p *Plan) any { return coming(p.Take(11)) }, "0+10", "aaaaaaaaaa"},
		{"without limit", false, "", func(p *Plan) any { return coming(p.Take(Unbounded)) }, "0+10", "aaaaaaaaaa"},
		{"above what is held", false, "0+2", func(p *Plan) any { return coming(p.Take(3)) }, "2+3", "##aaa....."},
		{"up to what is held", false, "2+2", func(p *Plan) any { return coming(p.Take(5)) }, "0+2", "aa##......"},
		{"above another claim", false, "", func(p *Plan) any { p.Take(4); return coming(p.Take(2)) }, "4+2", "aaaabb...."},
		{"lowest gap first", false, "2+1,6+1", func(p *Plan) any { p.Take(9); p.Take(1); return coming(p.Take(9)) }, "4+2", "aa#bcc#..."},
		{"nothing left", false, "0+5", func(p *Plan) any { p.Take(9); return coming(p.Take(9)) }, "no claim", "#####aaaaa"},
		{"all held", false, "0+10", func(p *Plan) any { return coming(p.Take(1)) }, "no claim", "##########"},
		{"part of the unknown", true, "0+1", func(p *Plan) any { return coming(p.Take(3)) }, "1+3", "#aaa......"},
		{"all of the unknown", true, "0+1", func(p *Plan) any { return coming(p.Take(Unbounded)) }, "1+9223372036854775806", "#aaaaaaaaa"},
	})
}
