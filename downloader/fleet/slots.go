package fleet

import (
	"io"
	"strings"
	"time"

	"pawl/downloader/transport"
)

// An address is a host and port with open or wanted connections. Everything is guarded by Places.mu.
type address struct {
	lane  *lane
	open  int // connections
	users map[*slots]struct{}

	// backlog is set if requests to a host with a request rate wait for a place. The limiter of
	// the rate has let them pass already, so the place must open their connections at the rate.
	backlog bool
	nextAt  time.Time // the next connection of the backlog must not be opened before
}

// addToBacklog notes that a request waits for a place or for the broker.
func (a *address) addToBacklog() {
	if a.lane.limit.Rate > 0 && a.open == 0 && !a.backlog {
		a.backlog, a.nextAt = true, time.Time{}
	}
}

// opened notes that a connection was opened. interval is the time between two requests.
func (a *address) opened(now time.Time, interval time.Duration) {
	a.open++
	if !a.nextAt.IsZero() && now.Sub(a.nextAt) > interval { // nobody was waiting any more
		a.backlog = false
	}
	a.nextAt = now.Add(interval)
}

// slots are the connections of one user to one address. They satisfy transport.Slots.
type slots struct {
	places *Places
	addr   string
	most   int // open at the same time

	// guarded by Places.mu
	held      map[*slot]struct{} // the open connections
	heldSince time.Time          // when held was last empty
	failedAt  time.Time          // when Try last failed because the places allow no more; zero after a success
}

// A slot is a connection that may be open.
type slot struct{ slots *slots }

// Slots returns the connections to an address, at most n of them, for downloader.Options.Slots.
// Several users of one address share the connections that the places allow. If the process has no place of the lane,
// Try makes it look for one.
func (p *Places) Slots(addr string, n int) transport.Slots {
	if strings.HasSuffix(addr, " small") { // additional connections for small files would exceed the limit
		n = 0
	}
	return &slots{places: p, addr: exactly(addr).hostPort(), most: n, held: make(map[*slot]struct{})}
}

// address returns the address of s, and makes s a user of it until s.Close. The caller must hold mu.
func (s *slots) address() *address {
	p := s.places
	a := p.addrs[s.addr]
	if a == nil {
		a = &address{lane: p.lane(p.limits.Lane(s.addr)), users: make(map[*slots]struct{})}
		p.addrs[s.addr] = a
		a.lane.addrs[s.addr] = a
	}
	a.users[s] = struct{}{}
	return a
}

// Try takes a slot. Closing the result releases it.
func (s *slots) Try() (io.Closer, bool) {
	taken, full, limit := s.try(time.Now())
	if full && s.places.full != nil {
		s.places.full(s.addr, limit)
	}
	if taken == nil {
		return nil, false
	}
	return taken, true
}

// try takes a slot, nil if there is none. full means that the caller must call Places.full with
// limit.
func (s *slots) try(now time.Time) (taken *slot, full bool, limit Limit) {
	p := s.places
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.most <= 0 {
		return nil, false, limit
	}
	a := s.address()
	l := a.lane
	l.use(now)
	switch {
	case len(s.held) >= s.most:
		return nil, false, limit
	case !p.isFresh():
		a.addToBacklog()
		return nil, false, limit
	case a.open >= l.allowed(now):
		l.lackedAt, s.failedAt = now, now
		a.addToBacklog()
		notify(p.kick)
		full = len(l.held) > 0 && len(l.free()) == 0 && !p.told[s.addr] && len(p.told) < maxTold
		if full {
			p.told[s.addr] = true
		}
		return nil, full, l.limit
	case a.backlog && now.Before(a.nextAt) || s.mustLeaveOne(a, now):
		return nil, false, limit
	}
	if len(s.held) == 0 {
		s.heldSince = now
	}
	a.opened(now, l.requestInterval())
	taken = &slot{s}
	s.held[taken] = struct{}{}
	s.failedAt = time.Time{}
	return taken, false, limit
}

// mustLeaveOne reports whether this user must leave a connection to another user of the address, who
// waits for its first one.
func (s *slots) mustLeaveOne(a *address, now time.Time) bool {
	if len(s.held) == 0 {
		return false
	}
	for o := range a.users {
		if o != s && len(o.held) == 0 && now.Sub(o.failedAt) < time.Second {
			return true
		}
	}
	return false
}

// Close releases the slot. It may be called again.
func (c *slot) Close() error {
	s := c.slots
	p := s.places
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := s.held[c]; ok {
		delete(s.held, c)
		s.released(1)
	}
	return nil
}

// released counts connections that are closed. The caller must hold mu.
func (s *slots) released(n int) {
	p := s.places
	a := s.address()
	a.open -= n
	a.lane.usedAt = time.Now()
	notify(p.kick)
}

// Share returns how many connections may be open now: as many as the held places and the free ones
// allow. It is 0 if the session or the places are lost, and then all connections must be closed.
func (s *slots) Share() int {
	p := s.places
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if s.most <= 0 || !p.isFresh() {
		return 0
	}
	a := p.addrs[s.addr]
	if a == nil {
		a = &address{lane: p.lane(p.limits.Lane(s.addr))}
	}
	l := a.lane
	held := len(s.held)
	allowed := l.allowed(now)
	switch {
	case a.open > allowed:
		return max(0, held-(a.open-allowed))
	case held > 1 && s.mustLeaveOne(a, now), held == 1 && now.Sub(s.heldSince) > p.lease.patience() && s.mustLeaveOne(a, now):
		return held - 1
	case !l.isDemanded(now): // the transport closes idle connections if there could be more
		return min(held, max(1, s.most-1))
	}
	share := held + allowed - a.open
	if l.limit.Rate > 0 && len(l.held) > 0 || l.hunger.othersAreHungry(now, l.lease) || l.mustYield || l.leaving {
		return min(s.most, share)
	}
	for _, i := range l.free() {
		share += l.limit.worth(i)
		if l.limit.Rate > 0 { // one place at most
			break
		}
	}
	return min(s.most, share)
}

// Held returns how many connections are open.
func (s *slots) Held() int {
	s.places.mu.Lock()
	defer s.places.mu.Unlock()
	return len(s.held)
}

// Close releases all slots.
func (s *slots) Close() error {
	p := s.places
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.addrs[s.addr]
	if a == nil {
		return nil
	}
	if n := len(s.held); n > 0 {
		clear(s.held)
		s.released(n)
	}
	delete(a.users, s)
	if len(a.users) == 0 {
		delete(p.addrs, s.addr)
		delete(a.lane.addrs, s.addr)
	}
	return nil
}
