package chunk

import (
	"fmt"
	"slices"
)

// A Plan records which connection fetches which bytes of one file. Every byte of the file
// is in exactly one of three states:
//
//   - held: written to the part file
//   - claimed: in exactly one Claim, because a connection fetches it
//   - unclaimed: neither; Take or Extend may claim it
//
// A held byte stays held, unless Discard is called.
//
// A Plan knows nothing of time: whether a connection is slow, and whether stealing from it
// is worth a request, is the caller's decision.
type Plan struct {
	size      int64    // in bytes; Unbounded while unknown
	held      Set      // written bytes
	unclaimed Set      // bytes that are neither held nor claimed
	claims    []*Claim // in the order of creation; none of them is empty
}

// A Claim is the run of bytes that one connection fetches. A byte of a claim is first
// arriving (not yet read from the connection), then arrived (read, but not yet written).
// Once it is written, it is held and no longer part of the claim:
//
//	writeOff ........ readOff ............ end
//	         arrived          arriving
//
// The end moves down if another connection steals the tail, and up if Extend is called.
//
// A claim whose bytes are all held, stolen or released has ended. It may still be passed
// to the methods of its Plan, because its connection may notice late; only Extend can give
// it bytes again.
type Claim struct {
	writeOff int64 // next byte to write
	readOff  int64 // next byte to read; at least writeOff
	end      int64 // one past the last byte; at least readOff
}

// Arriving returns the bytes of c that are not yet read from the connection.
func (c *Claim) Arriving() Range { return Range{c.readOff, c.end} }

// whole returns all bytes of c: arrived and arriving.
func (c *Claim) whole() Range { return Range{c.writeOff, c.end} }

// NewPlan returns a Plan without claims for a file of size bytes, Unbounded if the size is
// unknown. The bytes of held are taken as written; held itself is copied. Bytes of held
// beyond the size are ignored.
func NewPlan(size int64, held Set) *Plan {
	p := &Plan{size: size, held: held.Clone()}
	p.held.Remove(Range{size, Unbounded})
	p.unclaimed.Add(Range{0, size})
	for r := range p.held.All() {
		p.unclaimed.Remove(r)
	}
	return p
}

// Size returns the size of the file in bytes, Unbounded if it is unknown.
func (p *Plan) Size() int64 { return p.size }

// Held returns a copy of the set of written bytes.
func (p *Plan) Held() Set { return p.held.Clone() }

// HeldLen returns the number of written bytes.
func (p *Plan) HeldLen() int64 { return p.held.Len() }

// Prefix returns the length of the run of written bytes that starts at byte 0.
func (p *Plan) Prefix() int64 { return p.held.Prefix() }

// Unclaimed returns the number of bytes that are neither held nor claimed.
func (p *Plan) Unclaimed() int64 { return p.unclaimed.Len() }

// Done reports whether every byte is held. A file of unknown size is never done, since
// more bytes may follow.
func (p *Plan) Done() bool { return p.size != Unbounded && p.held.Contains(Range{0, p.size}) }

// Take claims at most limit bytes, which must be positive: the first ones of the lowest range that is
// unclaimed from off on, or else the last ones of the highest unclaimed range before off. It returns
// nil if nothing is unclaimed.
func (p *Plan) Take(off, limit int64) *Claim {
	var r Range
	for r = range p.unclaimed.All() {
		if r.End > off {
			break
		}
	}
	switch {
	case r.Empty():
		return nil
	case r.End > off:
		r.Off = max(r.Off, off)
		r.End = r.Off + min(limit, r.Len())
	default:
		r.Off = r.End - min(limit, r.Len())
	}
	p.unclaimed.Remove(r)
	return p.addClaim(r)
}

// Steal moves the last n arriving bytes of c to a new claim, or all of them if there are
// fewer. It returns nil if there is nothing to move. Bytes that have arrived are never
// moved, since nobody needs to request them again.
func (p *Plan) Steal(c *Claim, n int64) *Claim {
	r := c.Arriving()
	r.Off = r.End - min(n, r.Len())
	if r.Empty() {
		return nil
	}
	c.end = r.Off
	p.dropIfEmpty(c)
	return p.addClaim(r)
}

// Extend appends to c the unclaimed bytes that directly follow it, at most limit of them,
// and returns their number. A claim that has ended becomes active again.
func (p *Plan) Extend(c *Claim, limit int64) int64 {
	for r := range p.unclaimed.All() {
		if r.Off > c.end || r.End <= c.end {
			continue
		}
		n := min(limit, r.End-c.end)
		p.unclaimed.Remove(Range{c.end, c.end + n})
		if c.whole().Empty() && n > 0 {
			p.claims = append(p.claims, c)
		}
		c.end += n
		return n
	}
	return 0
}

// Discard makes the held bytes of r unclaimed, so that they are fetched again. Claimed
// bytes of r are not affected.
func (p *Plan) Discard(r Range) {
	discarded := p.held.Clone()
	p.held.Remove(r)
	for x := range p.held.All() {
		discarded.Remove(x)
	}
	for x := range discarded.All() {
		p.unclaimed.Add(x)
	}
}

// addClaim creates a claim of r, whose bytes must be in no other state.
func (p *Plan) addClaim(r Range) *Claim {
	c := &Claim{r.Off, r.Off, r.End}
	p.claims = append(p.claims, c)
	return c
}

// Arrive records that n more bytes of c have been read, and returns how many of them still
// belong to c. If the tail was stolen meanwhile, that is fewer than n; the caller must then
// drop the remaining bytes, because another connection will write them.
func (p *Plan) Arrive(c *Claim, n int64) int64 {
	n = min(n, c.Arriving().Len())
	c.readOff += n
	return n
}

// Hold records that the next n arrived bytes of c have been written. It panics if fewer
// than n bytes have arrived: a byte recorded without being written would be a hole in the
// file that nothing detects.
func (p *Plan) Hold(c *Claim, n int64) {
	if n < 0 || n > c.readOff-c.writeOff {
		panic(fmt.Sprintf("chunk: %d bytes of a claim written, but %d have arrived", n, c.readOff-c.writeOff))
	}
	p.held.Add(Range{c.writeOff, c.writeOff + n})
	c.writeOff += n
	p.dropIfEmpty(c)
}

// Release ends c and makes its bytes unclaimed, including those that have arrived but are
// not yet written. It may be called again on an ended claim, without effect.
func (p *Plan) Release(c *Claim) {
	p.unclaimed.Add(c.whole())
	c.writeOff, c.readOff = c.end, c.end
	p.dropIfEmpty(c)
}

// SetSize sets the size of a file whose size was unknown, for example when a stream without
// Content-Length ends. Claims and unclaimed bytes beyond the size are dropped. It returns an
// error and changes nothing if the size is already known, or if bytes beyond it are held or
// have arrived.
func (p *Plan) SetSize(size int64) error {
	if p.size != Unbounded {
		return fmt.Errorf("size is already known to be %d, not %d", p.size, size)
	}
	if p.held.Len() > 0 && !(Range{0, size}).Contains(p.held.ranges[len(p.held.ranges)-1]) {
		return fmt.Errorf("size %d would cut off written ranges, %s", size, p.held)
	}
	for _, c := range p.claims {
		if c.readOff > max(size, c.writeOff) { // it has arrived bytes beyond size
			return fmt.Errorf("size %d would cut off bytes that have arrived, up to %d", size, c.readOff)
		}
	}
	p.size = size
	p.unclaimed.Remove(Range{size, Unbounded})
	for _, c := range slices.Clone(p.claims) { // dropIfEmpty changes p.claims
		c.end = max(c.readOff, min(c.end, size))
		p.dropIfEmpty(c)
	}
	return nil
}

// dropIfEmpty removes c from the list of claims if it has no bytes left.
func (p *Plan) dropIfEmpty(c *Claim) {
	if c.whole().Empty() {
		p.claims = slices.DeleteFunc(p.claims, func(o *Claim) bool { return o == c })
	}
}
