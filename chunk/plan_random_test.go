package chunk

import (
	"fmt"
	"slices"
	"testing"
)

// connections is how many claims a random run has at a time, at most.
const connections = 8

// A planRun drives a plan and its model with the choices of a source.
type planRun struct {
	*planModel
	src source
	log []string // the operations since the start
}

// newPlanRun starts with a file of some size, now and then unknown, parts of
// which may be held, even beyond its end.
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

// claim chooses one of the claims, or one of the last to end: a connection may
// come late with what it read. It returns nil when there never was a claim.
func (r *planRun) claim() *Claim {
	all := slices.Concat(r.claims, r.ended[max(0, len(r.ended)-2):])
	if len(all) == 0 {
		return nil
	}
	return all[r.src.IntN(len(all))]
}

// step does one operation and checks everything.
func (r *planRun) step() error {
	var err error
	if op, c := r.src.IntN(20), r.claim(); op == 0 && r.src.IntN(4) == 0 {
		r.doLose()
	} else if op == 0 {
		err = r.doSetSize()
	} else if op == 1 && c != nil {
		err = r.doExtend(c)
	} else if op < 6 || c == nil {
		err = r.doClaim()
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

// doClaim is a new connection that wants bytes.
func (r *planRun) doClaim() error {
	if len(r.claims) >= connections {
		return nil
	}
	most := int64(1 + r.src.IntN(20))
	if lowest := r.find('.', nil); lowest.Off+most > modelBytes {
		most = Unbounded // no border beyond the known bytes
	}
	r.logf("take %d", most)
	return r.take(most)
}

// doExtend is a connection that could read on.
func (r *planRun) doExtend(c *Claim) error {
	if c.end >= modelBytes {
		return nil // no border beyond the known bytes
	}
	most := min(int64(1+r.src.IntN(20)), modelBytes-c.end)
	r.logf("extend %d by %d", slices.Index(r.claims, c), most)
	return r.extend(c, most)
}

// doLose is damage that has been found.
func (r *planRun) doLose() {
	off := int64(r.src.IntN(modelBytes))
	lost := Range{off, min(off+int64(r.src.IntN(6)), modelBytes)}
	r.logf("lose %v", lost)
	r.lose(lost)
}

// doRead is what happens to the connection of c.
func (r *planRun) doRead(op int, c *Claim) error {
	index := slices.Index(r.claims, c) // -1 for one that ended
	switch {
	case op < 12:
		n := int64(r.src.IntN(12))
		if coming := r.find('a', c); coming.End == Unbounded {
			n = min(n, modelBytes-coming.Off) // no border beyond the known bytes
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
		if coming := r.find('a', c); coming.End == Unbounded && n > 0 {
			n = Unbounded // no border beyond the known bytes
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

// finish goes on until the plan is done, as every run must at some time: each
// connection makes progress more often than it loses what it has.
func (r *planRun) finish() error {
	for range 5000 {
		if r.plan.Done() {
			return nil
		}
		if err := r.step(); err != nil {
			return err
		}
	}
	return fmt.Errorf("not done, the layout is %s\nafter %q", r.drawn, r.log[len(r.log)-30:])
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

func TestPlanRandomEndsDone(t *testing.T) {
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
		r.src = newSource(1) // whatever state that was, there is a way out
		if err := r.finish(); err != nil {
			t.Fatal(err)
		}
	})
}
