package chunk

import (
	"fmt"
	"slices"
)

// modelBytes is the number of bytes that a planModel stores one by one. For a file of
// unknown size it also stores the first byte after them and the last possible byte; these
// two stand for the rest of the file. Tests must not use an operation that puts a border
// between the two.
const modelBytes = 64

// A planModel is a simple second implementation of Plan: it stores the state of each byte
// of a file. Its methods perform an operation on the plan and on the model, and return an
// error if the results differ. It identifies claims by their pointers.
type planModel struct {
	plan       *Plan
	size       int64
	cells      []cell
	claims     []*Claim // with bytes, in the order of creation
	ended      []*Claim // without bytes
	lastLayout string   // layout after the previous step
}

// A cell is one byte of the file and its state: '#' held, '.' unclaimed, 'a' arriving or
// 'A' arrived in the claim owner.
type cell struct {
	off   int64
	state byte
	owner *Claim
}

func newPlanModel(size int64, held Set) *planModel {
	m := &planModel{plan: NewPlan(size, held), size: size}
	for _, off := range append(offsets(modelBytes+1), Unbounded-1) {
		if off < size {
			m.cells = append(m.cells, cell{off: off, state: '.'})
		}
	}
	for r := range held.All() {
		m.setState(r, '#', nil)
	}
	return m
}

// setState sets the state of the bytes of r that exist in the file.
func (m *planModel) setState(r Range, place byte, owner *Claim) {
	for i, c := range m.cells {
		if r.Off <= c.off && c.off < r.End {
			m.cells[i].state, m.cells[i].owner = place, owner
		}
	}
}

// find returns the lowest run of bytes in this state, an empty range if there is none.
func (m *planModel) find(place byte, owner *Claim) Range {
	in := func(c cell) bool { return c.state == place && c.owner == owner }
	first := slices.IndexFunc(m.cells, in)
	if first < 0 {
		return Range{}
	}
	last := first
	for last+1 < len(m.cells) && in(m.cells[last+1]) {
		last++
	}
	return Range{m.cells[first].off, m.cells[last].off + 1}
}

// endClaims moves claims without remaining bytes from claims to ended.
func (m *planModel) endClaims() {
	m.claims = slices.DeleteFunc(m.claims, func(c *Claim) bool {
		empty := m.find('a', c).Empty() && m.find('A', c).Empty()
		if empty {
			m.ended = append(m.ended, c)
		}
		return empty
	})
}

// addClaim records that c was created. It returns an error unless c claims the bytes of
// want, or is nil if want is empty.
func (m *planModel) addClaim(c *Claim, want Range) error {
	if want.Empty() != (c == nil) || c != nil && c.Arriving() != want {
		return fmt.Errorf("got %s, want %v", arrivingText(c), want)
	}
	if c != nil {
		m.setState(want, 'a', c)
		m.claims = append(m.claims, c)
	}
	return nil
}

// unclaimedFrom returns the lowest run of unclaimed bytes from off on, or else the highest one before off.
func (m *planModel) unclaimedFrom(off int64) (r Range) {
	last := -2 // cell of the run
	for i, c := range m.cells {
		switch {
		case c.state != '.':
			continue
		case i == last+1 && (r.Off >= off || c.off < off):
			r.End, last = c.off+1, i
		case r.Off < off || r.Empty():
			r, last = Range{c.off, c.off + 1}, i
		}
	}
	return r
}

func (m *planModel) take(off, limit int64) error {
	want := m.unclaimedFrom(off)
	switch n := min(limit, want.Len()); {
	case want.Off >= off:
		want.End = want.Off + n
	default:
		want.Off = want.End - n
	}
	return m.addClaim(m.plan.Take(off, limit), want)
}

func (m *planModel) steal(c *Claim, n int64) error {
	want := m.find('a', c)
	want.Off = max(want.Off, want.End-n)
	return m.addClaim(m.plan.Steal(c, n), want)
}

func (m *planModel) extend(c *Claim, limit int64) error {
	end := c.end
	var want int64
	for i, cell := range m.cells {
		if cell.off == end+want && cell.state == '.' && want < limit {
			m.cells[i].state, m.cells[i].owner = 'a', c
			want++
		}
	}
	if i := slices.Index(m.ended, c); i >= 0 && want > 0 {
		m.ended = slices.Delete(m.ended, i, i+1)
		m.claims = append(m.claims, c)
	}
	if got := m.plan.Extend(c, limit); got != want {
		return fmt.Errorf("got %d, want %d", got, want)
	}
	return nil
}

func (m *planModel) discard(r Range) {
	for i, c := range m.cells {
		if r.Off <= c.off && c.off < r.End && c.state == '#' {
			m.cells[i].state = '.'
		}
	}
	m.lastLayout = ""
	m.plan.Discard(r)
}

func (m *planModel) arrive(c *Claim, n int64) error {
	r := m.find('a', c)
	want := min(n, r.Len())
	m.setState(Range{r.Off, r.Off + want}, 'A', c)
	if got := m.plan.Arrive(c, n); got != want {
		return fmt.Errorf("got %d, want %d", got, want)
	}
	return nil
}

func (m *planModel) hold(c *Claim, n int64) {
	r := m.find('A', c)
	m.setState(Range{r.Off, r.Off + n}, '#', nil)
	m.plan.Hold(c, n)
}

func (m *planModel) release(c *Claim) {
	m.setState(m.find('A', c), '.', nil)
	m.setState(m.find('a', c), '.', nil)
	m.plan.Release(c)
}

func (m *planModel) setSize(size int64) error {
	losesBytes := slices.ContainsFunc(m.cells, func(c cell) bool {
		return c.off >= size && (c.state == '#' || c.state == 'A')
	})
	wantErr := m.size != Unbounded || losesBytes
	if !wantErr {
		m.size = size
		m.cells = slices.DeleteFunc(m.cells, func(c cell) bool { return c.off >= size })
	}
	if err := m.plan.SetSize(size); wantErr != (err != nil) {
		return fmt.Errorf("got error %v, want an error: %t", err, wantErr)
	}
	return nil
}

// layout draws the bytes of the model, in the format of the function layout.
func (m *planModel) layout() string {
	letters := make(map[*Claim]byte)
	for i, c := range m.claims {
		letters[c] = byte(i % 26)
	}
	b := make([]byte, len(m.cells))
	for i, c := range m.cells {
		b[i] = c.state
		if c.owner != nil {
			b[i] += letters[c.owner]
		}
	}
	return string(b)
}

// check returns the first difference between the plan and the model.
func (m *planModel) check() error {
	m.endClaims()
	p, want := m.plan, m.layout()
	offs := make([]int64, len(m.cells))
	for i, c := range m.cells {
		offs[i] = c.off
	}
	if got := layout(p, offs); got != want {
		return fmt.Errorf("layout: got %s, want %s", got, want)
	}
	if !slices.Equal(p.claims, m.claims) {
		return fmt.Errorf("claims: got %d claims, want %d others", len(p.claims), len(m.claims))
	}
	if p.Size() != m.size || totalBytes(p) != m.size {
		return fmt.Errorf("size, bytes in the plan: got %d, %d, want %d", p.Size(), totalBytes(p), m.size)
	}
	for i := range min(len(want), len(m.lastLayout)) {
		if m.lastLayout[i] == '#' && want[i] != '#' {
			return fmt.Errorf("byte %d was held, now the layout is %s", i, want)
		}
	}
	m.lastLayout = want
	return m.checkClaims()
}

// checkClaims compares the arriving bytes of each claim with the model.
func (m *planModel) checkClaims() error {
	for _, c := range m.claims {
		if got, want := c.Arriving(), m.find('a', c); got != want && !(got.Empty() && want.Empty()) {
			return fmt.Errorf("Arriving: got %v, want %v", got, want)
		}
	}
	for _, c := range m.ended {
		if r := c.Arriving(); r.Off != r.End {
			return fmt.Errorf("Arriving of an ended claim: got %#v", r)
		}
	}
	return m.checkTotals()
}

// checkTotals compares the totals of the plan with the model. The unclaimed bytes of a file
// of unknown size cannot be counted.
func (m *planModel) checkTotals() error {
	p, held, unclaimed := m.plan, NewSet(), NewSet()
	for _, c := range m.cells {
		switch r := (Range{c.off, c.off + 1}); c.state {
		case '#':
			held.Add(r)
		case '.':
			unclaimed.Add(r)
		}
	}
	done := m.size != Unbounded && held.Len() == m.size
	switch {
	case !held.Equal(p.Held()):
		return fmt.Errorf("Held: got %v, want %v", p.Held(), held)
	case p.HeldLen() != held.Len() || p.Prefix() != held.Prefix():
		return fmt.Errorf("HeldLen, Prefix: got %d, %d, want %d, %d", p.HeldLen(), p.Prefix(), held.Len(), held.Prefix())
	case m.size != Unbounded && p.Unclaimed() != unclaimed.Len():
		return fmt.Errorf("Unclaimed: got %d, want %d", p.Unclaimed(), unclaimed.Len())
	case p.Done() != done:
		return fmt.Errorf("Done: got %t, want %t", p.Done(), done)
	}
	return nil
}
