package chunk

import "testing"

func TestPlanSteal(t *testing.T) {
	// steal takes the last bytes of a claim of n bytes.
	steal := func(n, arrived, held, last int64) func(*Plan) any {
		return func(p *Plan) any {
			c := take(p, n, arrived)
			p.Hold(c, held)
			return coming(p.Steal(c, last))
		}
	}
	runPlanCases(t, []planCase{
		{"some", false, "", steal(8, 0, 0, 3), "5+3", "aaaaabbb.."},
		{"none", false, "", steal(8, 0, 0, 0), "no claim", "aaaaaaaa.."},
		{"all", false, "", steal(8, 0, 0, 8), "0+8", "aaaaaaaa.."},
		{"more than there are", false, "", steal(8, 0, 0, 9), "0+8", "aaaaaaaa.."},
		{"no bound", false, "", steal(8, 0, 0, Unbounded), "0+8", "aaaaaaaa.."},
		{"not what arrived", false, "", steal(8, 6, 0, 3), "6+2", "AAAAAAbb.."},
		{"not what arrived, nor what is held", false, "", steal(8, 6, 1, Unbounded), "6+2", "#AAAAAbb.."},
		{"all that arrived is held", false, "", steal(6, 4, 4, Unbounded), "4+2", "####aa...."},
		{"nothing to come", false, "", steal(6, 6, 0, 1), "no claim", "AAAAAA...."},
		{"all held", false, "", steal(6, 6, 6, 1), "no claim", "######...."},
		{"the end of the unknown", true, "", steal(Unbounded, 2, 1, Unbounded-5), "5+9223372036854775802", "#Aaaabbbbb"},
		{"all of the unknown", true, "", steal(Unbounded, 2, 1, Unbounded), "2+9223372036854775805", "#Abbbbbbbb"},
		{"released", false, "", func(p *Plan) any {
			c := take(p, 6, 2)
			p.Release(c)
			return coming(p.Steal(c, 1))
		}, "no claim", ".........."},
		{"others stay", false, "", func(p *Plan) any {
			c := take(p, 4, 2)
			take(p, 4, 1)
			return coming(p.Steal(c, 1))
		}, "3+1", "AAacBbbb.."},
	})
}

// What a connection reads after its tail was stolen belongs to the thief.
func TestPlanArriveAfterSteal(t *testing.T) {
	p := NewPlan(10, Set{})
	c := p.Take(10)
	p.Steal(c, 5)
	if got, want := p.Arrive(c, 8), int64(5); got != want {
		t.Errorf("Arrive: got %d, want %d", got, want)
	}
	p.Hold(c, 5)
	if got, want := layout(p, bytesTo(10)), "#####aaaaa"; got != want {
		t.Errorf("layout: got %s, want %s", got, want)
	}
}
