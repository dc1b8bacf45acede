package chunk

import (
	"fmt"
	"strings"
	"testing"
)

// layout draws the state of the bytes at offs in p, one character per byte: '#' held, '.'
// unclaimed, 'a' arriving or 'A' arrived in the first claim, 'b' or 'B' in the second and
// so on. A byte in no state is '?', a byte in several states is '!'.
func layout(p *Plan, offs []int64) string {
	b := make([]byte, len(offs))
	for i, off := range offs {
		b[i] = stateOf(p, Range{off, off + 1})
	}
	return string(b)
}

func stateOf(p *Plan, r Range) byte {
	state := byte('?')
	add := func(in bool, as byte) {
		if in && state != '?' {
			state = '!'
		} else if in {
			state = as
		}
	}
	add(p.held.Contains(r), '#')
	add(p.unclaimed.Contains(r), '.')
	for i, c := range p.claims {
		add((Range{c.writeOff, c.readOff}).Contains(r), 'A'+byte(i%26))
		add((Range{c.readOff, c.end}).Contains(r), 'a'+byte(i%26))
	}
	return state
}

// totalBytes adds up the bytes of p in all states. For a valid plan it is the size.
func totalBytes(p *Plan) int64 {
	n := p.held.Len() + p.unclaimed.Len()
	for _, c := range p.claims {
		n += c.whole().Len()
	}
	return n
}

// offsets returns the offsets 0 to n-1.
func offsets(n int64) []int64 {
	offs := make([]int64, n)
	for i := range offs {
		offs[i] = int64(i)
	}
	return offs
}

// A planCase performs an action on a plan of ten bytes, or of unknown size, and states the
// result and the layout of the first ten bytes afterwards.
type planCase struct {
	name    string
	unsized bool
	held    string // text of the held set
	action  func(p *Plan) any
	result  any // of action
	layout  string
}

func checkPlanCases(t *testing.T, cases []planCase) {
	t.Helper()
	for _, tc := range cases {
		size := int64(10)
		if tc.unsized {
			size = Unbounded
		}
		p := NewPlan(size, mustParseSet(t, tc.held))
		if got := tc.action(p); fmt.Sprint(got) != fmt.Sprint(tc.result) {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.result)
		}
		offs := offsets(min(p.Size(), 10))
		if got := layout(p, offs); got != tc.layout {
			t.Errorf("%s: layout: got %s, want %s", tc.name, got, tc.layout)
		}
		if got := totalBytes(p); got != p.Size() {
			t.Errorf("%s: bytes in the plan: got %d, want %d", tc.name, got, p.Size())
		}
		for _, c := range p.claims {
			if c.whole().Empty() {
				t.Errorf("%s: claim %+v is empty", tc.name, *c)
			}
		}
	}
}

// arrivingText returns the arriving bytes of c as text, for comparison in a planCase.
func arrivingText(c *Claim) string {
	if c == nil {
		return "no claim"
	}
	return c.Arriving().String()
}

// takeArrived claims n bytes and lets the first of them arrive, as many as arrived says.
func takeArrived(p *Plan, n, arrived int64) *Claim {
	c := p.Take(0, n)
	p.Arrive(c, arrived)
	return c
}

func TestNewPlan(t *testing.T) {
	for _, tc := range []struct {
		size    int64
		held    string // text of the held set
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
		held := mustParseSet(t, tc.held)
		p := NewPlan(tc.size, held)
		held.Add(Range{0, 100}) // must not change the plan, which has a copy
		if got := layout(p, offsets(min(tc.size, 10))); got != tc.want {
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
	checkPlanCases(t, []planCase{
		{"part", false, "", func(p *Plan) any { return arrivingText(p.Take(0, 3)) }, "0+3", "aaa......."},
		{"all", false, "", func(p *Plan) any { return arrivingText(p.Take(0, 10)) }, "0+10", "aaaaaaaaaa"},
		{"more than the file has", false, "", func(p *Plan) any { return arrivingText(p.Take(0, 11)) }, "0+10", "aaaaaaaaaa"},
		{"without limit", false, "", func(p *Plan) any { return arrivingText(p.Take(0, Unbounded)) }, "0+10", "aaaaaaaaaa"},
		{"above held bytes", false, "0+2", func(p *Plan) any { return arrivingText(p.Take(0, 3)) }, "2+3", "##aaa....."},
		{"up to held bytes", false, "2+2", func(p *Plan) any { return arrivingText(p.Take(0, 5)) }, "0+2", "aa##......"},
		{"above another claim", false, "", func(p *Plan) any { p.Take(0, 4); return arrivingText(p.Take(0, 2)) }, "4+2", "aaaabb...."},
		{"lowest gap first", false, "2+1,6+1", func(p *Plan) any { p.Take(0, 9); p.Take(0, 1); return arrivingText(p.Take(0, 9)) }, "4+2", "aa#bcc#..."},
		{"from an offset", false, "", func(p *Plan) any { return arrivingText(p.Take(4, 3)) }, "4+3", "....aaa..."},
		{"above an offset", false, "3+3", func(p *Plan) any { return arrivingText(p.Take(4, 3)) }, "6+3", "...###aaa."},
		{"below an offset", false, "5+5", func(p *Plan) any { return arrivingText(p.Take(6, 3)) }, "2+3", "..aaa#####"},
		{"highest below an offset", false, "2+1,5+5", func(p *Plan) any { return arrivingText(p.Take(6, 3)) }, "3+2", "..#aa#####"},
		{"nothing left", false, "0+5", func(p *Plan) any { p.Take(0, 9); return arrivingText(p.Take(0, 9)) }, "no claim", "#####aaaaa"},
		{"all held", false, "0+10", func(p *Plan) any { return arrivingText(p.Take(0, 1)) }, "no claim", "##########"},
		{"part of unknown size", true, "0+1", func(p *Plan) any { return arrivingText(p.Take(0, 3)) }, "1+3", "#aaa......"},
		{"all of unknown size", true, "0+1", func(p *Plan) any { return arrivingText(p.Take(0, Unbounded)) }, "1+9223372036854775806", "#aaaaaaaaa"},
	})
}

func TestPlanSteal(t *testing.T) {
	// steal steals the last bytes of a claim of n bytes.
	steal := func(n, arrived, held, last int64) func(*Plan) any {
		return func(p *Plan) any {
			c := takeArrived(p, n, arrived)
			p.Hold(c, held)
			return arrivingText(p.Steal(c, last))
		}
	}
	checkPlanCases(t, []planCase{
		{"some", false, "", steal(8, 0, 0, 3), "5+3", "aaaaabbb.."},
		{"none", false, "", steal(8, 0, 0, 0), "no claim", "aaaaaaaa.."},
		{"all", false, "", steal(8, 0, 0, 8), "0+8", "aaaaaaaa.."},
		{"more than arriving", false, "", steal(8, 0, 0, 9), "0+8", "aaaaaaaa.."},
		{"unbounded", false, "", steal(8, 0, 0, Unbounded), "0+8", "aaaaaaaa.."},
		{"not the arrived bytes", false, "", steal(8, 6, 0, 3), "6+2", "AAAAAAbb.."},
		{"neither arrived nor held bytes", false, "", steal(8, 6, 1, Unbounded), "6+2", "#AAAAAbb.."},
		{"all arrived bytes are held", false, "", steal(6, 4, 4, Unbounded), "4+2", "####aa...."},
		{"nothing arriving", false, "", steal(6, 6, 0, 1), "no claim", "AAAAAA...."},
		{"all held", false, "", steal(6, 6, 6, 1), "no claim", "######...."},
		{"tail of unknown size", true, "", steal(Unbounded, 2, 1, Unbounded-5), "5+9223372036854775802", "#Aaaabbbbb"},
		{"all of unknown size", true, "", steal(Unbounded, 2, 1, Unbounded), "2+9223372036854775805", "#Abbbbbbbb"},
		{"after release", false, "", func(p *Plan) any {
			c := takeArrived(p, 6, 2)
			p.Release(c)
			return arrivingText(p.Steal(c, 1))
		}, "no claim", ".........."},
		{"other claims stay", false, "", func(p *Plan) any {
			c := takeArrived(p, 4, 2)
			takeArrived(p, 4, 1)
			return arrivingText(p.Steal(c, 1))
		}, "3+1", "AAacBbbb.."},
	})
}

// Bytes that a connection reads after its tail was stolen do not belong to its claim.
func TestPlanArriveAfterSteal(t *testing.T) {
	p := NewPlan(10, Set{})
	c := p.Take(0, 10)
	p.Steal(c, 5)
	if got, want := p.Arrive(c, 8), int64(5); got != want {
		t.Errorf("Arrive: got %d, want %d", got, want)
	}
	p.Hold(c, 5)
	if got, want := layout(p, offsets(10)), "#####aaaaa"; got != want {
		t.Errorf("layout: got %s, want %s", got, want)
	}
}

func TestPlanArrive(t *testing.T) {
	arrive := func(n, first, second int64) func(*Plan) any {
		return func(p *Plan) any {
			c := takeArrived(p, n, first)
			return p.Arrive(c, second)
		}
	}
	checkPlanCases(t, []planCase{
		{"none", false, "", arrive(6, 0, 0), 0, "aaaaaa...."},
		{"some", false, "", arrive(6, 0, 2), 2, "AAaaaa...."},
		{"more", false, "", arrive(6, 2, 3), 3, "AAAAAa...."},
		{"the rest", false, "", arrive(6, 2, 4), 4, "AAAAAA...."},
		{"more than the rest", false, "", arrive(6, 2, 5), 4, "AAAAAA...."},
		{"after the rest", false, "", arrive(6, 6, 1), 0, "AAAAAA...."},
		{"unknown size", true, "", arrive(Unbounded, 2, 3), 3, "AAAAAaaaaa"},
		{"after release", false, "", func(p *Plan) any {
			c := takeArrived(p, 6, 2)
			p.Release(c)
			return p.Arrive(c, 3)
		}, 0, ".........."},
		{"after all was stolen", false, "", func(p *Plan) any {
			c := takeArrived(p, 6, 2)
			p.Steal(c, Unbounded)
			return p.Arrive(c, 3)
		}, 0, "AAbbbb...."},
	})
}

func TestPlanHold(t *testing.T) {
	// hold returns the number of remaining claims.
	hold := func(n, arrived int64, held ...int64) func(*Plan) any {
		return func(p *Plan) any {
			c := takeArrived(p, n, arrived)
			for _, n := range held {
				p.Hold(c, n)
			}
			return len(p.claims)
		}
	}
	checkPlanCases(t, []planCase{
		{"none", false, "", hold(6, 3, 0), 1, "AAAaaa...."},
		{"some", false, "", hold(6, 3, 2), 1, "##Aaaa...."},
		{"twice", false, "", hold(6, 3, 1, 1), 1, "##Aaaa...."},
		{"all arrived bytes", false, "", hold(6, 3, 3), 1, "###aaa...."},
		{"all", false, "", hold(6, 6, 2, 4), 0, "######...."},
		{"up to a held range", false, "6+2", hold(6, 6, 6), 0, "########.."},
		{"unknown size", true, "", hold(Unbounded, 3, 2), 1, "##Aaaaaaaa"},
	})
}

// Holding bytes that have not arrived would leave a hole in the file unnoticed.
func TestPlanHoldPanics(t *testing.T) {
	for _, tc := range []struct {
		name    string
		n       int64
		release bool
	}{
		{"negative", -1, false},
		{"more than arrived", 4, false},
		{"released", 1, true},
	} {
		p := NewPlan(10, Set{})
		c := takeArrived(p, 6, 3)
		if tc.release {
			p.Release(c)
		}
		before := layout(p, offsets(10))
		if !panics(func() { p.Hold(c, tc.n) }) {
			t.Errorf("%s: Hold(%d): got no panic", tc.name, tc.n)
		}
		if got := layout(p, offsets(10)); got != before {
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
	// release returns the number of remaining claims.
	release := func(n, arrived, held int64, times int) func(*Plan) any {
		return func(p *Plan) any {
			c := takeArrived(p, n, arrived)
			p.Hold(c, held)
			for range times {
				p.Release(c)
			}
			return len(p.claims)
		}
	}
	checkPlanCases(t, []planCase{
		{"untouched", false, "", release(6, 0, 0, 1), 0, ".........."},
		{"arrived bytes become unclaimed", false, "", release(6, 4, 0, 1), 0, ".........."},
		{"held bytes stay held", false, "", release(6, 4, 2, 1), 0, "##........"},
		{"all held", false, "", release(6, 6, 6, 1), 0, "######...."},
		{"twice", false, "", release(6, 4, 2, 2), 0, "##........"},
		{"unknown size", true, "", release(Unbounded, 4, 2, 1), 0, "##........"},
		{"twice, after another claim took the bytes", false, "", func(p *Plan) any {
			c := takeArrived(p, 6, 3)
			p.Release(c)
			p.Take(0, 4)
			p.Release(c)
			return len(p.claims)
		}, 1, "aaaa......"},
		{"after a steal", false, "", func(p *Plan) any {
			c := takeArrived(p, 8, 2)
			p.Steal(c, 3)
			p.Release(c)
			return len(p.claims)
		}, 1, ".....aaa.."},
		{"after a steal of all arriving bytes", false, "", func(p *Plan) any {
			c := takeArrived(p, 8, 2)
			p.Steal(c, Unbounded)
			p.Release(c)
			return len(p.claims)
		}, 1, "..aaaaaa.."},
	})
}

// setSize returns an action that takes claims and calls SetSize. Each claim is given by its
// length and its number of arrived bytes. The result is the new size or an error.
func setSize(size int64, claims ...[2]int64) func(*Plan) any {
	return func(p *Plan) any {
		for _, c := range claims {
			takeArrived(p, c[0], c[1])
		}
		if err := p.SetSize(size); err != nil {
			return strings.Fields(err.Error())[0] + " rejected"
		}
		return p.Size()
	}
}

func TestPlanSetSize(t *testing.T) {
	const rejected = "size rejected"
	checkPlanCases(t, []planCase{
		{"nothing claimed", true, "", setSize(7), 7, "......."},
		{"empty file", true, "", setSize(0), 0, ""},
		{"at the end of held bytes", true, "0+2,4+1", setSize(5), 5, "##..#"},
		{"below held bytes", true, "0+2,4+1", setSize(4), rejected, "##..#....."},
		{"cuts a claim of all bytes", true, "", setSize(7, [2]int64{Unbounded, 0}), 7, "aaaaaaa"},
		{"drops a claim of all bytes", true, "", setSize(0, [2]int64{Unbounded, 0}), 0, ""},
		{"cuts arriving bytes", true, "", setSize(7, [2]int64{Unbounded, 4}), 7, "AAAAaaa"},
		{"at the end of arrived bytes", true, "", setSize(4, [2]int64{Unbounded, 4}), 4, "AAAA"},
		{"below arrived bytes", true, "", setSize(3, [2]int64{Unbounded, 4}), rejected, "AAAAaaaaaa"},
		{"above the claim", true, "", setSize(7, [2]int64{4, 2}), 7, "AAaa..."},
		{"at the claim's end", true, "", setSize(4, [2]int64{4, 2}, [2]int64{2, 0}), 4, "AAaa"},
		{"drops a claim above", true, "", setSize(3, [2]int64{4, 2}, [2]int64{2, 0}), 3, "AAa"},
		{"drops all claims above", true, "0+2", setSize(2, [2]int64{2, 0}, [2]int64{2, 0}, [2]int64{Unbounded, 0}), 2, "##"},
		{"below arrived bytes of the second claim", true, "", setSize(3, [2]int64{4, 2}, [2]int64{2, 1}), rejected, "AAaaBb...."},
		{"size known", false, "", setSize(9), rejected, ".........."},
		{"size known and equal", false, "", setSize(10), rejected, ".........."},
	})
}

// Claims that SetSize has dropped can still be used, since their connections may be reading.
func TestPlanSetSizeDropsClaims(t *testing.T) {
	for size := range int64(5) {
		p := NewPlan(Unbounded, Set{})
		p.Take(0, 2)
		c := p.Take(0, 2)
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

// The size of a stream without a length becomes known when it has been read to its end.
func TestPlanStream(t *testing.T) {
	p := NewPlan(Unbounded, Set{})
	c := takeArrived(p, Unbounded, 6)
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

// A file of unknown size is never done, because more bytes may follow.
func TestPlanUnknownSizeIsNeverDone(t *testing.T) {
	if p := NewPlan(Unbounded, NewSet(Range{0, Unbounded})); p.Done() {
		t.Error("Done: got true, want false")
	}
}
