package downloader

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"pawl/downloader/failure"
	"pawl/store"
)

const (
	keepEvery   = 200 * time.Millisecond  // between two looks at the connections of an address
	firstPoll   = 20 * time.Millisecond   // least wait between two tries to take a slot
	pollSpread  = 30 * time.Millisecond   // up to so much longer, at random
	outOfUse    = time.Second             // an idle connection is closed after, where others want one
	lastAfter   = time.Second             // over its share, before downloads give back their only connection
	longestTurn = 2 * time.Minute         // until a slot that others have is given up
	leaveAfter  = 1500 * time.Millisecond // without connections, before an address is left
	afterClose  = 50 * time.Millisecond   // until a server has noticed that a connection was closed
	afterClosed = 5 * time.Millisecond    // until it counts one as closed that it has closed itself
)

// A group is the connections to one address. The nil group limits nothing.
type group struct {
	owner *slots
	slots *store.Slots
	turn  chan struct{} // holds a token while a dial tries to take a slot

	mu         sync.Mutex
	conns      map[*slotConn]struct{} // open; guarded by mu
	waiting    int                    // dials without a slot; guarded by mu
	ever       bool                   // there has been a connection; guarded by mu
	kept       bool                   // its keeper runs; guarded by mu
	debt       int                    // connections to be given back; guarded by mu
	overSince  time.Time              // zero if it has its share; guarded by mu
	emptySince time.Time              // zero if it is in use; guarded by mu
}

// dial takes a slot, however long that takes, and then dials.
func (g *group) dial(ctx context.Context, dial func() (net.Conn, error)) (net.Conn, error) {
	slot, err := g.acquire(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := dial()
	if err != nil {
		slot.Close()
		return nil, err
	}
	c := &slotConn{Conn: conn, group: g, slot: slot}
	c.used.Store(time.Now().UnixNano())
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns[c] = struct{}{}
	g.ever = true
	return c, nil
}

// acquire waits for a slot. The connections that are in its way may be our own
// idle ones.
func (g *group) acquire(ctx context.Context) (io.Closer, error) {
	if !g.wait() {
		return nil, errClosedSlots
	}
	defer g.owner.dials.Done()
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.waiting--
	}()
	begun := time.Now()
	look := time.NewTicker(keepEvery)
	defer look.Stop()
	for mine := false; !mine; {
		select {
		case g.turn <- struct{}{}: // one after the other, as they came
			mine = true
		case <-look.C:
			waitsInTurn(ctx, false)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-g.owner.done:
			return nil, errClosedSlots
		}
	}
	defer func() { <-g.turn }()
	for {
		if slot, ok := g.slots.Try(); ok {
			return slot, nil
		}
		if time.Since(begun) > longestTurn {
			return nil, failure.New(failure.ErrThrottled, "other pawls have all connections to the host that there may be, for too long")
		}
		waitsInTurn(ctx, false) // longestTurn is the limit
		g.owner.dropIdle()
		poll := time.NewTimer(firstPoll + rand.N(pollSpread))
		select {
		case <-poll.C:
		case <-ctx.Done():
			poll.Stop()
			return nil, context.Cause(ctx)
		case <-g.owner.done:
			poll.Stop()
			return nil, errClosedSlots
		}
	}
}

// wait counts a dial that waits, and sees that the group is kept. It returns false
// when nothing may be dialed any more.
func (g *group) wait() bool {
	g.owner.mu.Lock()
	defer g.owner.mu.Unlock()
	if g.owner.ended {
		return false
	}
	g.owner.dials.Add(1)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting++
	if !g.kept {
		g.kept = true
		g.owner.keepers.Go(g.keep)
	}
	return true
}

// keep looks after the connections until the address is left.
func (g *group) keep() {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-g.owner.done:
			return
		}
		drop, left := g.look(time.Now())
		if left {
			return
		}
		if drop {
			g.owner.dropIdle()
		}
	}
}

// look compares the connections with the share. drop says that idle ones are to
// be closed, and left that there are none, and the membership has ended.
func (g *group) look(now time.Time) (drop, left bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.waiting > 0 || len(g.conns) > 0 || g.slots.Held() > 0:
		g.emptySince = time.Time{}
	case g.emptySince.IsZero():
		g.emptySince = now
	case now.Sub(g.emptySince) >= leaveAfter || !g.ever: // a host that cannot be reached keeps nothing open
		g.slots.Close()
		g.kept, g.emptySince = false, time.Time{}
		return false, true
	}
	share := g.slots.Share()
	over := min(len(g.conns), g.slots.Held()) - share // none is held where there are no locks
	switch {
	case over <= 0:
		g.debt, g.overSince = 0, time.Time{}
	case g.overSince.IsZero(): // closing the idle ones may do
		g.overSince = now
	default:
		g.debt = over
	}
	return over > 0 || share < g.owner.most && g.unused(now), false
}

// unused reports whether a connection seems to be idle, with mu held.
func (g *group) unused(now time.Time) bool {
	for c := range g.conns {
		if now.UnixNano()-c.used.Load() > int64(outOfUse) {
			return true
		}
	}
	return false
}

// idle reports whether the group may be forgotten: it has left the address. A host that still
// has it only asks it for its share then; a further group of the address takes its slots as
// another process does.
func (g *group) idle() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.kept && g.waiting == 0 && len(g.conns) == 0 && g.slots.Held() == 0
}

// share returns how many connections there should be; at least one, which then
// may have to wait for its slot.
func (g *group) share() int {
	return max(1, g.slots.Share())
}

// owes reports whether the caller is to give a connection back. last says that it
// is a download's only one, which is given back last.
func (g *group) owes(last bool) bool {
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.debt <= 0 || last && time.Since(g.overSince) < lastAfter {
		return false
	}
	g.debt--
	return true
}

// queued reports whether a dial waits for a slot.
func (g *group) queued() bool {
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waiting > 0
}

// A slotConn is a connection that holds a slot.
type slotConn struct {
	net.Conn
	group *group
	slot  io.Closer
	used  atomic.Int64 // when something last came or went, in Unix nanoseconds
	gone  atomic.Bool  // the server has closed it
	once  sync.Once
}

func (c *slotConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.used.Store(time.Now().UnixNano())
	if err != nil && !errors.Is(err, net.ErrClosed) && !isTimeout(err) {
		c.gone.Store(true)
	}
	return n, err
}

func (c *slotConn) Write(p []byte) (int, error) {
	c.used.Store(time.Now().UnixNano())
	return c.Conn.Write(p)
}

// Close gives the slot back when the server can be expected to have noticed.
func (c *slotConn) Close() error {
	gone := c.gone.Load()
	err := c.Conn.Close()
	c.once.Do(func() {
		c.group.mu.Lock()
		delete(c.group.conns, c)
		c.group.mu.Unlock()
		after := afterClose
		if gone {
			after = afterClosed
		}
		time.AfterFunc(after, func() { c.slot.Close() })
	})
	return err
}
