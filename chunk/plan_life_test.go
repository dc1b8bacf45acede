package chunk

import (
	"strings"
	"testing"
)

func TestPlanArrive(t *testing.T) {
	arrive := func(n, first, second int64) func(*Plan) any {
		return func(p *Plan) any {
			c := take(p, n, first)
			return p.Arrive(c, second)
		}
	}
	runPlanCases(t, []planCase{
		{"none", false, "", arrive(6, 0, 0), 0, "aaaaaa...."},
		{"some", false, "", arrive(6, 0, 2), 2, "AAaaaa...."},
		{"more", false, "", arrive(6, 2, 3), 3, "AAAAAa...."},
		{"the rest", false, "", arrive(6, 2, 4), 4, "AAAAAA...."},
		{"too many", false, "", arrive(6, 2, 5), 4, "AAAAAA...."},
		{"after the rest", false, "", arrive(6, 6, 1), 0, "AAAAAA...."},
		{"of the unknown", true, "", arrive(Unbounded, 2, 3), 3, "AAAAAaaaaa"},
		{"after release", false, "", func(p *Plan) any {
			c := take(p, 6, 2)
			p.Release(c)
			return p.Arrive(c, 3)
		}, 0, ".........."},
		{"after all was stolen", false, "", func(p *Plan) any {
			c := take(p, 6, 2)
			p.Steal(c, Unbounded)
			return p.Arrive(c, 3)
		}, 0, "AAbbbb...."},
	})
}

func TestPlanHold(t *testing.T) {
	// hold returns the number of claims that are left.
	hold := func(n, arrived int64, held ...int64) func(*Plan) any {
		return func(p *Plan) any {
			c := take(p, n, arrived)
			for _, n := range held {
				p.Hold(c, n)
			}
			return len(p.claims)
		}
	}
	runPlanCases(t, []planCase{
		{"none", false, "", hold(6, 3, 0), 1, "AAAaaa...."},
		{"some", false, "", hold(6, 3, 2), 1, "##Aaaa...."},
		{"twice", false, "", hold(6, 3, 1, 1), 1, "##Aaaa...."},
		{"all that arrived", false, "", hold(6, 3, 3), 1, "###aaa...."},
		{"all", false, "", hold(6, 6, 2, 4), 0, "######...."},
		{"up to more", false, "6+2", hold(6, 6, 6), 0, "########.."},
		{"unknown", true, "", hold(Unbounded, 3, 2), 1, "##Aaaaaaaa"},
	})
}

// Writing what never arrived would make a hole in the file that nobody sees.
func TestPlanHoldPanics(t *testing.T) {
	for _, tc := range []struct {
		name    string
		n       int64
		release bool
	}{
		{"below zero", -1, false},
		{"more than arrived", 4, false},
		{"released", 1, true},
	} {
		p := NewPlan(10, Set{})
		c := take(p, 6, 3)
		if tc.release {
			p.Release(c)
		}
		before := layout(p, bytesTo(10))
		if !panics(func() { p.Hold(c, tc.n) }) {
			t.Errorf("%s: Hold(%d): got no panic", tc.name, tc.n)
		}
		if got := layout(p, bytesTo(10)); got != before {
			t.Errorf("%s: layout: got %s, want it unchanged, %s", tc.name, got, before)
		}
	}
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}

func TestPlanRelease(t *testing.T) {
	// release returns the number of claims that are left.
	release := func(n, arrived, held int64, times int) func(*Plan) any {
		return func(p *Plan) any {
			c := take(p, n, arrived)
			p.Hold(c, held)
			for range times {
				p.Release(c)
			}
			return len(p.claims)
		}
	}
	runPlanCases(t, []planCase{
		{"untouched", false, "", release(6, 0, 0, 1), 0, ".........."},
		{"arrived is lost", false, "", release(6, 4, 0, 1), 0, ".........."},
		{"held stays", false, "", release(6, 4, 2, 1), 0, "##........"},
		{"all held", false, "", release(6, 6, 6, 1), 0, "######...."},
		{"twice", false, "", release(6, 4, 2, 2), 0, "##........"},
		{"unknown", true, "", release(Unbounded, 4, 2, 1), 0, "##........"},
		{"again, when others have it", false, "", func(p *Plan) any {
			c := take(p, 6, 3)
			p.Release(c)
			p.Take(4)
			p.Release(c)
			return len(p.claims)
		}, 1, "aaaa......"},
		{"not what was stolen", false, "", func(p *Plan) any {
			c := take(p, 8, 2)
			p.Steal(c, 3)
			p.Release(c)
			return len(p.claims)
		}, 1, ".....aaa.."},
		{"not what was stolen, all of it", false, "", func(p *Plan) any {
			c := take(p, 8, 2)
			p.Steal(c, Unbounded)
			p.Release(c)
			return len(p.claims)
		}, 1, "..aaaaaa.."},
	})
}

// setSize returns what a plan says to size when claims have been taken, each
// given by its size and how much of it arrived.
func setSize(size int64, claims ...[2]int64) func(*Plan) any {
	return func(p *Plan) any {
		for _, c := range claims {
			take(p, c[0], c[1])
		}
		if err := p.SetSize(size); err != nil {
			return strings.Fields(err.Error())[0] + " is refused"
		}
		return p.Size()
	}
}

func TestPlanSetSize(t *testing.T) {
	const refused = "size is refused"
	runPlanCases(t, []planCase{
		{"nothing claimed", true, "", setSize(7), 7, "......."},
		{"no bytes", true, "", setSize(0), 0, ""},
		{"at what is held", true, "0+2,4+1", setSize(5), 5, "##..#"},
		{"below what is held", true, "0+2,4+1", setSize(4), refused, "##..#....."},
		{"claim of all", true, "", setSize(7, [2]int64{Unbounded, 0}), 7, "aaaaaaa"},
		{"nothing comes of the claim", true, "", setSize(0, [2]int64{Unbounded, 0}), 0, ""},
		{"amid what comes", true, "", setSize(7, [2]int64{Unbounded, 4}), 7, "AAAAaaa"},
		{"at what arrived", true, "", setSize(4, [2]int64{Unbounded, 4}), 4, "AAAA"},
		{"below what arrived", true, "", setSize(3, [2]int64{Unbounded, 4}), refused, "AAAAaaaaaa"},
		{"above the claim", true, "", setSize(7, [2]int64{4, 2}), 7, "AAaa..."},
		{"at the claim's end", true, "", setSize(4, [2]int64{4, 2}, [2]int64{2, 0}), 4, "AAaa"},
		{"drops a claim above", true, "", setSize(3, [2]int64{4, 2}, [2]int64{2, 0}), 3, "AAa"},
		{"drops all claims above", true, "0+2", setSize(2, [2]int64{2, 0}, [2]int64{2, 0}, [2]int64{Unbounded, 0}), 2, "##"},
		{"below what arrived above", true, "", setSize(3, [2]int64{4, 2}, [2]int64{2, 1}), refused, "AAaaBb...."},
		{"known", false, "", setSize(9), refused, ".........."},
		{"known to be the same", false, "", setSize(10), refused, ".........."},
	})
}

// The connection of a claim that SetSize dropped may still be reading.
func TestPlanSetSizeEndsClaims(t *testing.T) {
	for size := range int64(5) {
		p := NewPlan(Unbounded, Set{})
		p.Take(2)
		c := p.Take(2)
		if err := p.SetSize(size); err != nil {
			t.Errorf("SetSize(%d): %v", size, err)
		}
		want := max(0, size-2)
		if r := c.Arriving(); r.Len() != want || r.Off > r.End {
			t.Errorf("SetSize(%d): Arriving: got %#v, want %d bytes", size, r, want)
		}
		if got := p.Arrive(c, 2); got != want {
			t.Errorf("SetSize(%d): Arrive: got %d, want %d", size, got, want)
		}
	}
}

// A stream of unknown length: its end becomes known when it has been read.
func TestPlanStream(t *testing.T) {
	p := NewPlan(Unbounded, Set{})
	c := take(p, Unbounded, 6)
	p.Hold(c, 6)
	if p.Done() {
		t.Error("Done before the size is known: got true")
	}
	if err := p.SetSize(6); err != nil {
		t.Fatal(err)
	}
	if !p.Done() || len(p.claims) != 0 || p.Unclaimed() != 0 {
		t.Errorf("done, claims, unclaimed: got %t, %d, %d, want true, 0, 0", p.Done(), len(p.claims), p.Unclaimed())
	}
}

// However much is held, the file may go on.
func TestPlanUnknownIsNeverDone(t *testing.T) {
	if p := NewPlan(Unbounded, NewSet(Range{0, Unbounded})); p.Done() {
		t.Error("Done: got true, want false")
	}
}
