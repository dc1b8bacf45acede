package chunk

import (
	"math"
	"testing"
)

// thieve steals from a plan in which the claims of sizes were taken.
func thieve(least int64, sizes []int64, cost ...float64) func(*Plan) any {
	return func(p *Plan) any {
		for _, n := range sizes {
			p.Take(n)
		}
		return coming(p.Steal(least, costs(p, cost...)))
	}
}

func TestPlanSteal(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	runPlanCases(t, []planCase{
		{"no claims", false, "", thieve(1, nil), "no claim", ".........."},
		{"upper half", false, "", thieve(1, []int64{8}, 1), "4+4", "aaaabbbb.."},
		{"smaller half of an odd number", false, "", thieve(1, []int64{7}, 1), "4+3", "aaaabbb..."},
		{"two bytes", false, "", thieve(1, []int64{2}, 1), "1+1", "ab........"},
		{"one byte", false, "", thieve(1, []int64{1}, 1), "no claim", "a........."},
		{"one byte, least of none", false, "", thieve(0, []int64{1}, 1), "no claim", "a........."},
		{"two bytes, least below none", false, "", thieve(-5, []int64{2}, 1), "1+1", "ab........"},
		{"just twice the least", false, "", thieve(3, []int64{6}, 1), "3+3", "aaabbb...."},
		{"less than twice the least", false, "", thieve(4, []int64{7}, 1), "no claim", "aaaaaaa..."},
		{"least beyond the half of all", false, "", thieve(Unbounded/2+1, []int64{7}, 1), "no claim", "aaaaaaa..."},
		{"boundless least", false, "", thieve(Unbounded, []int64{7}, 1), "no claim", "aaaaaaa..."},
		{"highest cost", false, "", thieve(1, []int64{4, 4}, 1, 2), "6+2", "aaaabbcc.."},
		{"first of equal costs", false, "", thieve(1, []int64{4, 4}, 2, 2), "2+2", "aaccbbbb.."},
		{"not the larger", false, "", thieve(1, []int64{2, 6}, 2, 1), "1+1", "acbbbbbb.."},
		{"highest is too small", false, "", thieve(2, []int64{2, 4}, 2, 1), "4+2", "aabbcc...."},
		{"no cost", false, "", thieve(1, []int64{4, 4}, 0, -1), "no claim", "aaaabbbb.."},
		{"no number", false, "", thieve(1, []int64{4, 4}, nan, 1), "6+2", "aaaabbcc.."},
		{"infinite cost", false, "", thieve(1, []int64{4, 4}, inf, 1), "2+2", "aaccbbbb.."},
		{"the tail of the unknown", true, "", thieve(1, []int64{Unbounded}, 1), "4611686018427387904+4611686018427387903", "aaaaaaaaaa"},
	})
}

func TestPlanStealSparesWhatArrived(t *testing.T) {
	steal := func(least, arrived int64) func(*Plan) any {
		return func(p *Plan) any {
			take(p, 9, arrived)
			return coming(p.Steal(least, costs(p, 1)))
		}
	}
	runPlanCases(t, []planCase{
		{"some to come", false, "", steal(1, 3), "6+3", "AAAaaabbb."},
		{"too few to come", false, "", steal(3, 4), "no claim", "AAAAaaaaa."},
		{"nothing to come", false, "", steal(1, 9), "no claim", "AAAAAAAAA."},
		{"nothing to come, boundless least", false, "", steal(Unbounded, 9), "no claim", "AAAAAAAAA."},
	})
}

// What a connection reads after its tail was stolen belongs to the thief.
func TestPlanArriveAfterSteal(t *testing.T) {
	p := NewPlan(10, Set{})
	c := p.Take(10)
	p.Steal(1, costs(p, 1))
	if got, want := p.Arrive(c, 8), int64(5); got != want {
		t.Errorf("Arrive: got %d, want %d", got, want)
	}
	p.Hold(c, 5)
	if got, want := layout(p, bytesTo(10)), "#####aaaaa"; got != want {
		t.Errorf("layout: got %s, want %s", got, want)
	}
}

func TestPlanSeize(t *testing.T) {
	seize := func(n, arrived, held int64) func(*Plan) any {
		return func(p *Plan) any {
			c := take(p, n, arrived)
			p.Hold(c, held)
			return coming(p.Seize(c))
		}
	}
	runPlanCases(t, []planCase{
		{"nothing arrived", false, "", seize(6, 0, 0), "0+6", "aaaaaa...."},
		{"some arrived", false, "", seize(6, 2, 0), "2+4", "AAbbbb...."},
		{"some arrived, some held", false, "", seize(6, 4, 1), "4+2", "#AAAbb...."},
		{"all that arrived is held", false, "", seize(6, 4, 4), "4+2", "####aa...."},
		{"all arrived", false, "", seize(6, 6, 0), "no claim", "AAAAAA...."},
		{"all held", false, "", seize(6, 6, 6), "no claim", "######...."},
		{"unknown", true, "", seize(Unbounded, 2, 1), "2+9223372036854775805", "#Abbbbbbbb"},
		{"released", false, "", func(p *Plan) any {
			c := take(p, 6, 2)
			p.Release(c)
			return coming(p.Seize(c))
		}, "no claim", ".........."},
		{"others stay", false, "", func(p *Plan) any {
			c := take(p, 4, 2)
			take(p, 4, 1)
			return coming(p.Seize(c))
		}, "2+2", "AAccBbbb.."},
	})
}
