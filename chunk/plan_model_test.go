package chunk

import (
	"fmt"
	"slices"
)

// modelBytes is how many bytes a planModel knows one by one. The first byte
// after them and the last one of all stand for the rest of an unbounded file;
// operations are chosen so that no border comes to lie between these two.
const modelBytes = 64

// A planModel keeps, for each byte of a file, where it should be, and does to
// it what a plan is told to do. Claims are known by their pointers alone.
type planModel struct {
	plan   *Plan
	size   int64
	cells  []cell
	claims []*Claim // that have bytes, in the order they were made
	ended  []*Claim // that have none
	drawn  string   // the layout of the step before
}

// A cell is one byte of the file and where it is: '#' held, '.' unclaimed,
// 'a' arriving or 'A' arrived in the claim of owner.
type cell struct {
	off   int64
	place byte
	owner *Claim
}

func newPlanModel(size int64, held Set) *planModel {
	m := &planModel{plan: NewPlan(size, held), size: size}
	for _, off := range append(bytesTo(modelBytes+1), Unbounded-1) {
		if off < size {
			m.cells = append(m.cells, cell{off: off, place: '.'})
		}
	}
	for r := range held.All() {
		m.put(r, '#', nil)
	}
	return m
}

// put moves the bytes of r that the file has to a place.
func (m *planModel) put(r Range, place byte, owner *Claim) {
	for i, c := range m.cells {
		if r.Off <= c.off && c.off < r.End {
			m.cells[i].place, m.cells[i].owner = place, owner
		}
	}
}

// find returns the lowest run of bytes that are in a place, empty if none are.
func (m *planModel) find(place byte, owner *Claim) Range {
	in := func(c cell) bool { return c.place == place && c.owner == owner }
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

// endClaims moves the claims that have no bytes left to the ended ones.
func (m *planModel) endClaims() {
	m.claims = slices.DeleteFunc(m.claims, func(c *Claim) bool {
		gone := m.find('a', c).Empty() && m.find('A', c).Empty()
		if gone {
			m.ended = append(m.ended, c)
		}
		return gone
	})
}

// begin expects that c is a claim of the bytes of want, or nil when there are
// none.
func (m *planModel) begin(c *Claim, want Range) error {
	if want.Empty() != (c == nil) || c != nil && c.Arriving() != want {
		return fmt.Errorf("got %s, want %v", coming(c), want)
	}
	if c != nil {
		m.put(want, 'a', c)
		m.claims = append(m.claims, c)
	}
	return nil
}

func (m *planModel) take(most int64) error {
	want := m.find('.', nil)
	if want.Len() > most {
		want.End = want.Off + most
	}
	return m.begin(m.plan.Take(most), want)
}

func (m *planModel) steal(c *Claim, n int64) error {
	want := m.find('a', c)
	want.Off = max(want.Off, want.End-n)
	return m.begin(m.plan.Steal(c, n), want)
}

func (m *planModel) extend(c *Claim, most int64) error {
	end := c.end
	var want int64
	for i, cell := range m.cells {
		if cell.off == end+want && cell.place == '.' && want < most {
			m.cells[i].place, m.cells[i].owner = 'a', c
			want++
		}
	}
	if i := slices.Index(m.ended, c); i >= 0 && want > 0 {
		m.ended = slices.Delete(m.ended, i, i+1)
		m.claims = append(m.claims, c)
	}
	if got := m.plan.Extend(c, most); got != want {
		return fmt.Errorf("got %d, want %d", got, want)
	}
	return nil
}

func (m *planModel) lose(r Range) {
	for i, c := range m.cells {
		if r.Off <= c.off && c.off < r.End && c.place == '#' {
			m.cells[i].place = '.'
		}
	}
	m.drawn = ""
	m.plan.Lose(r)
}

func (m *planModel) arrive(c *Claim, n int64) error {
	r := m.find('a', c)
	want := min(n, r.Len())
	m.put(Range{r.Off, r.Off + want}, 'A', c)
	if got := m.plan.Arrive(c, n); got != want {
		return fmt.Errorf("got %d, want %d", got, want)
	}
	return nil
}

func (m *planModel) hold(c *Claim, n int64) {
	r := m.find('A', c)
	m.put(Range{r.Off, r.Off + n}, '#', nil)
	m.plan.Hold(c, n)
}

func (m *planModel) release(c *Claim) {
	m.put(m.find('A', c), '.', nil)
	m.put(m.find('a', c), '.', nil)
	m.plan.Release(c)
}

func (m *planModel) setSize(size int64) error {
	lost := slices.ContainsFunc(m.cells, func(c cell) bool {
		return c.off >= size && (c.place == '#' || c.place == 'A')
	})
	refuse := m.size != Unbounded || lost
	if !refuse {
		m.size = size
		m.cells = slices.DeleteFunc(m.cells, func(c cell) bool { return c.off >= size })
	}
	if err := m.plan.SetSize(size); refuse != (err != nil) {
		return fmt.Errorf("got error %v, want an error: %t", err, refuse)
	}
	return nil
}

// layout draws the bytes as the function layout draws those of a plan.
func (m *planModel) layout() string {
	letters := make(map[*Claim]byte)
	for i, c := range m.claims {
		letters[c] = byte(i % 26)
	}
	b := make([]byte, len(m.cells))
	for i, c := range m.cells {
		b[i] = c.place
		if c.owner != nil {
			b[i] += letters[c.owner]
		}
	}
	return string(b)
}

// check reports the first difference between the plan and m.
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
		return fmt.Errorf("claims: got %d that are not the %d wanted", len(p.claims), len(m.claims))
	}
	if p.Size() != m.size || planned(p) != m.size {
		return fmt.Errorf("size, bytes in the plan: got %d, %d, want %d", p.Size(), planned(p), m.size)
	}
	for i := range min(len(want), len(m.drawn)) {
		if m.drawn[i] == '#' && want[i] != '#' {
			return fmt.Errorf("byte %d was held, now the layout is %s", i, want)
		}
	}
	m.drawn = want
	return m.checkClaims()
}

// checkClaims reports claims that say other than m what they have yet to read.
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

// checkTotals compares what the plan says of itself with the bytes of m. Those
// unclaimed can only be counted when the size is known.
func (m *planModel) checkTotals() error {
	p, held, free := m.plan, NewSet(), NewSet()
	for _, c := range m.cells {
		switch r := (Range{c.off, c.off + 1}); c.place {
		case '#':
			held.Add(r)
		case '.':
			free.Add(r)
		}
	}
	done := m.size != Unbounded && held.Len() == m.size
	switch {
	case !held.Equal(p.Held()):
		return fmt.Errorf("Held: got %v, want %v", p.Held(), held)
	case p.HeldLen() != held.Len() || p.Prefix() != held.Prefix():
		return fmt.Errorf("HeldLen, Prefix: got %d, %d, want %d, %d", p.HeldLen(), p.Prefix(), held.Len(), held.Prefix())
	case m.size != Unbounded && p.Unclaimed() != free.Len():
		return fmt.Errorf("Unclaimed: got %d, want %d", p.Unclaimed(), free.Len())
	case p.Done() != done:
		return fmt.Errorf("Done: got %t, want %t", p.Done(), done)
	}
	return nil
}
