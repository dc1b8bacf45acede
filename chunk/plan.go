package chunk

import (
	"fmt"
	"slices"
)

// A Plan says who fetches which bytes of one file. At any moment each byte of
// the file is in exactly one of three places: held (arrived and written),
// unclaimed, or in one Claim. Held bytes only grow, but for Lose.
//
// A Plan knows bytes, not time: what is slow or worth stealing is the caller's
// to say.
type Plan struct {
	size   int64 // Unbounded while unknown
	held   Set
	free   Set
	claims []*Claim // in the order they were made; none is empty
}

// A Claim is the run of bytes that one connection fetches. Its bytes are first
// arriving, then arrived (read but not yet written), then held:
//
//	base ........ off ............ end
//	   arrived         arriving
//
// The end moves down when another connection takes the tail.
type Claim struct {
	base, off, end int64
}

// Arriving returns the bytes of c that have yet to be read.
func (c *Claim) Arriving() Range { return Range{c.off, c.end} }

// whole returns all bytes of c, arrived or not.
func (c *Claim) whole() Range { return Range{c.base, c.end} }

// NewPlan returns the plan of a file of size bytes, Unbounded if that is not
// known, of which held are there already. Nothing is claimed.
func NewPlan(size int64, held Set) *Plan {
	p := &Plan{size: size, held: held.Clone()}
	p.held.Remove(Range{size, Unbounded})
	p.free.Add(Range{0, size})
	for r := range p.held.All() {
		p.free.Remove(r)
	}
	return p
}

// Size returns the size of the file in bytes, Unbounded if it is not known.
func (p *Plan) Size() int64 { return p.size }

// Held returns a copy of the set of bytes that have been written.
func (p *Plan) Held() Set { return p.held.Clone() }

// HeldLen returns how many bytes have been written.
func (p *Plan) HeldLen() int64 { return p.held.Len() }

// Prefix returns the length of the written run of bytes from byte 0.
func (p *Plan) Prefix() int64 { return p.held.Prefix() }

// Unclaimed returns how many bytes nobody fetches or has fetched.
func (p *Plan) Unclaimed() int64 { return p.free.Len() }

// Done reports whether every byte is held. Without a known size it never is.
func (p *Plan) Done() bool { return p.size != Unbounded && p.held.Contains(Range{0, p.size}) }

// Take claims the lowest unclaimed bytes, at most most of them, which must be
// positive. It returns nil when nothing is unclaimed.
func (p *Plan) Take(most int64) *Claim {
	for r := range p.free.All() {
		if r.Len() > most {
			r.End = r.Off + most
		}
		p.free.Remove(r)
		return p.claim(r)
	}
	return nil
}

// Steal moves the last n bytes that c has yet to read to a new claim, all of them if
// there are no more. It returns nil when there is nothing to move.
func (p *Plan) Steal(c *Claim, n int64) *Claim {
	r := c.Arriving()
	r.Off = r.End - min(n, r.Len())
	if r.Empty() {
		return nil
	}
	c.end = r.Off
	p.settle(c)
	return p.claim(r)
}

// Extend adds to c the unclaimed bytes that follow it, at most most of them, and
// returns how many. A claim that has ended lives again with them.
func (p *Plan) Extend(c *Claim, most int64) int64 {
	for r := range p.free.All() {
		if r.Off > c.end || r.End <= c.end {
			continue
		}
		n := min(most, r.End-c.end)
		p.free.Remove(Range{c.end, c.end + n})
		if c.whole().Empty() && n > 0 {
			p.claims = append(p.claims, c)
		}
		c.end += n
		return n
	}
	return 0
}

// Lose makes the held bytes of r unclaimed.
func (p *Plan) Lose(r Range) {
	lost := p.held.Clone()
	p.held.Remove(r)
	for x := range p.held.All() {
		lost.Remove(x)
	}
	for x := range lost.All() {
		p.free.Add(x)
	}
}

func (p *Plan) claim(r Range) *Claim {
	c := &Claim{r.Off, r.Off, r.End}
	p.claims = append(p.claims, c)
	return c
}

// Arrive notes that n more bytes of c were read, and returns how many of them
// still belong to c: fewer than n when the tail was taken meanwhile, and then
// the rest must be thrown away.
func (p *Plan) Arrive(c *Claim, n int64) int64 {
	n = min(n, c.Arriving().Len())
	c.off += n
	return n
}

// Hold notes that the next n arrived bytes of c were written.
func (p *Plan) Hold(c *Claim, n int64) {
	if n < 0 || n > c.off-c.base {
		panic(fmt.Sprintf("chunk: %d bytes held of a claim of which %d arrived", n, c.off-c.base))
	}
	p.held.Add(Range{c.base, c.base + n})
	c.base += n
	p.settle(c)
}

// Release ends c: what of it is not held is unclaimed again. An ended claim is
// empty, and may be released again.
func (p *Plan) Release(c *Claim) {
	p.free.Add(c.whole())
	c.base, c.off = c.end, c.end
	p.settle(c)
}

// SetSize makes known that the file ends at size, as the end of a stream of
// unknown length tells. Claims and unclaimed bytes beyond it are dropped.
// Only a plan of unknown size takes one, and not below what is held or arrived.
func (p *Plan) SetSize(size int64) error {
	if p.size != Unbounded {
		return fmt.Errorf("size %d is known already, not %d", p.size, size)
	}
	if p.held.Len() > 0 && !(Range{0, size}).Contains(p.held.ranges[len(p.held.ranges)-1]) {
		return fmt.Errorf("size %d is below what is held, %s", size, p.held)
	}
	for _, c := range p.claims {
		if c.off > max(size, c.base) { // something of it has arrived
			return fmt.Errorf("size %d is below what has arrived, %d", size, c.off)
		}
	}
	p.size = size
	p.free.Remove(Range{size, Unbounded})
	for _, c := range slices.Clone(p.claims) {
		c.end = max(c.off, min(c.end, size))
		p.settle(c)
	}
	return nil
}

// settle forgets c when it has no bytes left.
func (p *Plan) settle(c *Claim) {
	if c.whole().Empty() {
		p.claims = slices.DeleteFunc(p.claims, func(o *Claim) bool { return o == c })
	}
}
