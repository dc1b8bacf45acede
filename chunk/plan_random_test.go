package chunk

import (
	"fmt"
	"slices"
	"testing"
)

// maxClaims limits the claims that a random run has at a time.
const maxClaims = 8

// A planRun performs random operations, chosen by a source, on a plan and its model.
type planRun struct {
	*planModel
	src source
	log []string // operations so far
}

// newPlanRun starts with a file of random size, sometimes unknown, with up to two held
// ranges, which may lie beyond its end.
func newPlanRun(src source) *planRun {
	size := int64(src.IntN(modelBytes + 1))
	if src.IntN(3) == 0 {
		size = Unbounded
	}
	var held Set
	for range src.IntN(3) {
		off := int64(src.IntN(modelBytes))
		held.Add(Range{off, min(off+int64(src.IntN(10)), modelBytes)})
	}
	r := &planRun{planModel: newPlanModel(size, held), src: src}
	r.logf("size %d, held %v", size, held)
	return r
}

func (r *planRun) logf(format string, args ...any) {
	r.log = append(r.log, fmt.Sprintf(format, args...))
}

// pickClaim returns a random claim, or one of the last two that ended, because a connection
// may report bytes after its claim has ended. It returns nil if there was no claim yet.
func (r *planRun) pickClaim() *Claim {
	all := slices.Concat(r.claims, r.ended[max(0, len(r.ended)-2):])
	if len(all) == 0 {
		return nil
	}
	return all[r.src.IntN(len(all))]
}

// step performs one operation and compares the plan with the model.
func (r *planRun) step() error {
	var err error
	if op, c := r.src.IntN(20), r.pickClaim(); op == 0 && r.src.IntN(4) == 0 {
		r.doDiscard()
	} else if op == 0 {
		err = r.doSetSize()
	} else if op == 1 && c != nil {
		err = r.doExtend(c)
	} else if op < 6 || c == nil {
		err = r.doTake()
	} else {
		err = r.doRead(op, c)
	}
	if err == nil {
		err = r.check()
	}
	if err != nil {
		return fmt.Errorf("%w\nafter %q", err, r.log[max(0, len(r.log)-30):])
	}
	return nil
}

// doTake acts as a new connection that takes bytes.
func (r *planRun) doTake() error {
	if len(r.claims) >= maxClaims {
		return nil
	}
	off, limit := int64(r.src.IntN(modelBytes)), int64(1+r.src.IntN(20))
	if run := r.unclaimedFrom(off); run.Off+limit > modelBytes {
		limit = Unbounded // the model allows no border beyond modelBytes
	}
	r.logf("take %d from %d", limit, off)
	return r.take(off, limit)
}

// doExtend acts as a connection that can read further than its claim.
func (r *planRun) doExtend(c *Claim) error {
	if c.end >= modelBytes {
		return nil // the model allows no border beyond modelBytes
	}
	limit := min(int64(1+r.src.IntN(20)), modelBytes-c.end)
	r.logf("extend %d by %d", slices.Index(r.claims, c), limit)
	return r.extend(c, limit)
}

// doDiscard acts as a check that has found damaged bytes.
func (r *planRun) doDiscard() {
	off := int64(r.src.IntN(modelBytes))
	damaged := Range{off, min(off+int64(r.src.IntN(6)), modelBytes)}
	r.logf("discard %v", damaged)
	r.discard(damaged)
}

// doRead performs an operation on the connection of c: bytes arrive or are written, it
// ends, or another connection steals from it.
func (r *planRun) doRead(op int, c *Claim) error {
	index := slices.Index(r.claims, c) // -1 for an ended claim
	switch {
	case op < 12:
		n := int64(r.src.IntN(12))
		if arriving := r.find('a', c); arriving.End == Unbounded {
			n = min(n, modelBytes-arriving.Off) // the model allows no border beyond modelBytes
		}
		r.logf("arrive %d at %d", n, index)
		return r.arrive(c, n)
	case op < 18:
		n := int64(r.src.IntN(int(r.find('A', c).Len() + 1)))
		r.logf("hold %d of %d", n, index)
		r.hold(c, n)
	case op < 19:
		r.logf("release %d", index)
		r.release(c)
	default:
		n := int64(r.src.IntN(12))
		if arriving := r.find('a', c); arriving.End == Unbounded && n > 0 {
			n = Unbounded // the model allows no border beyond modelBytes
		}
		r.logf("steal %d of %d", n, index)
		return r.steal(c, n)
	}
	return nil
}

func (r *planRun) doSetSize() error {
	size := int64(r.src.IntN(modelBytes + 2))
	r.logf("set size %d", size)
	return r.setSize(size)
}

// finish performs steps until the plan is done. This must happen eventually, because bytes
// are written more often than they are discarded or released.
func (r *planRun) finish() error {
	for range 5000 {
		if r.plan.Done() {
			return nil
		}
		if err := r.step(); err != nil {
			return err
		}
	}
	return fmt.Errorf("not done, the layout is %s\nafter %q", r.lastLayout, r.log[len(r.log)-30:])
}

func TestPlanRandom(t *testing.T) {
	for seed := range uint64(100) {
		r := newPlanRun(newSource(seed))
		err := r.check()
		for i := 0; i < 100 && err == nil; i++ {
			err = r.step()
		}
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

func TestPlanRandomFinishes(t *testing.T) {
	for seed := range uint64(100) {
		if err := newPlanRun(newSource(seed)).finish(); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

func FuzzPlan(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(newScript(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		bytes := &script{data}
		r := newPlanRun(bytes)
		for i := 0; i < 100 && len(bytes.left) > 0; i++ {
			if err := r.step(); err != nil {
				t.Fatal(err)
			}
		}
		r.src = newSource(1) // every state must allow the plan to be finished
		if err := r.finish(); err != nil {
			t.Fatal(err)
		}
	})
}
