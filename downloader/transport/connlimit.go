package transport

import (
	"context"
	"errors"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pawl/downloader/failure"
	"pawl/downloader/recent"
)

const (
	// maintainInterval is the time between two comparisons of the open connections with the
	// share. It is the interval at which store.Slots counts: half finds nothing new; double
	// delays a newcomer's first connection by 0.4 s.
	maintainInterval = 200 * time.Millisecond
	// minPoll and pollSpread are the time between two tries to take a slot: minPoll and up to
	// pollSpread more, at random, so that processes do not try in step. A guess: each try is a
	// lock of a file for each slot that is in use. Half doubles that work, double leaves a free
	// slot unused for 100 ms.
	minPoll    = 20 * time.Millisecond
	pollSpread = 30 * time.Millisecond
	// unusedAfter is how long a connection without traffic is kept while other processes want
	// one. A guess: half closes connections between two small files of a slow disk, double
	// makes a newcomer wait for 2 s.
	unusedAfter = time.Second
	// lastReleaseAfter is how long a process must exceed its share before a download releases
	// its only connection. A guess: at half, closing the idle connections may not have helped
	// yet; double keeps a newcomer waiting.
	lastReleaseAfter = time.Second
	// maxSlotWait limits the wait of a dial for a slot that is not leased, including the wait for
	// earlier dials of this process. A guess: within ten seconds a process should have its first slot, so that two
	// minutes mean that the others do not work properly. Half may give up behind a stopped
	// process that continues, double hides the reason from the user for longer.
	maxSlotWait = 2 * time.Minute
	// CloseNoticeDelay is how long a server takes to notice that a connection was closed. A
	// guess: it covers an RTT of 100 ms to one side; a server farther away may count one
	// connection too many for a moment at half of it. Double is a pause in which the slot is
	// unused.
	CloseNoticeDelay = 50 * time.Millisecond
	// serverCloseDelay is how long a server takes until it no longer counts a connection that
	// it has closed itself. A guess: the server's own bookkeeping after the close; at half of
	// it, a loaded server may still count the connection.
	serverCloseDelay = 5 * time.Millisecond
)

// Slots are the connections to one address that all processes share. *store.Slots satisfies
// it. The methods must not block, and must be safe for concurrent use.
type Slots interface {
	// Try takes a slot. It fails if none is free, or if another process must get the next one.
	// The slot is released by Close.
	Try() (io.Closer, bool)
	// Share returns how many slots the process may hold now, and the maximum if no other
	// process holds one or waits for one. If slots are leased, 0 means that all were taken away.
	Share() int
	// Held returns how many slots the process holds.
	Held() int
	// Close releases all slots, and no longer waits for one. The next Try starts anew.
	Close() error
}

// ErrTaken means that a connection was closed because the process may have none to its address any
// more (Options.Leased). It is no failure of the server. Requests that have no response yet are
// repeated, so only the reader of a body meets it.
var ErrTaken = errors.New("the connection was taken away")

// errUnneeded ends a dial whose request was sent over another connection.
var errUnneeded = errors.New("the connection is not needed any more")

// errClosed means that a dial waited for a slot when the Transport was closed.
var errClosed = errors.New("the downloader was closed")

// A connLimiter limits the TCP connections to each address, together with the other processes
// that share the slots. Each connection holds a slot of its address from before the dial until
// the server has noticed that the connection is closed.
//
// Leased slots may be taken away. While the share is 0 then, all connections of the address are closed at
// once, and dials wait.
//
// A process that exceeds its share first closes idle connections. Then requests close their
// connections at their end, and downloads end requests (addrLimiter.mustRelease). Safe for
// concurrent use.
type connLimiter struct {
	slots     func(addr string, n int) Slots // nil if connections are not limited
	leased    bool                           // see Options.Leased
	max       func(addr string) int          // connections to an address
	maxSmall  func(addr string) int          // connections to an address, those for small files included
	closeIdle []func()                       // of all transports that dial through it; immutable after the first dial

	mu         sync.Mutex
	addrs      recent.Map[*addrLimiter] // by address; guarded by mu
	lastClosed time.Time                // when closeIdle was last called; guarded by mu
	closed     bool                     // guarded by mu

	done        chan struct{}  // closed by close
	maintainers sync.WaitGroup // one for each address in use
	dials       sync.WaitGroup // one for each dial that waits for a slot
}

func newConnLimiter(slots func(addr string, n int) Slots, leased bool, most, mostSmall func(addr string) int) *connLimiter {
	return &connLimiter{slots: slots, leased: leased, max: most, maxSmall: mostSmall, addrs: recent.NewMap((*addrLimiter).isUnused), done: make(chan struct{})}
}

// limited makes dial take a slot first.
func (l *connLimiter) limited(dial dialFunc) dialFunc {
	if l.slots == nil {
		return dial
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		return l.limiter(addr).dial(ctx, func() (net.Conn, error) { return dial(ctx, network, addr) })
	}
}

// wrap returns the transport to use in place of rt, whose dials must be limited by l. It must
// be called before the first request.
func (l *connLimiter) wrap(rt idleCloser, proxy func(*http.Request) (*url.URL, error)) http.RoundTripper {
	l.closeIdle = append(l.closeIdle, rt.CloseIdleConnections)
	if l.slots == nil {
		return rt
	}
	return limitedTripper{l, rt, proxy}
}

// A limitedTripper makes requests the last ones of their connections while too many connections
// are open. It repeats requests whose connections were taken away before the response; they must have no
// body.
type limitedTripper struct {
	limiter *connLimiter
	next    http.RoundTripper
	proxy   func(*http.Request) (*url.URL, error)
}

func (t limitedTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.limiter.limiter(dialedAddress(req.URL, t.proxy)).mustRelease(false) {
		req = req.WithContext(req.Context()) // a copy, because a RoundTripper must not change the caller's request
		req.Close = true
	}
	for {
		resp, err := t.next.RoundTrip(req)
		if !errors.Is(err, ErrTaken) || req.Context().Err() != nil {
			return resp, err
		}
	}
}

// dialedAddress returns the address that is dialed for u: host and port of the server, or of
// its proxy.
func dialedAddress(u *url.URL, choose func(*http.Request) (*url.URL, error)) string {
	if p := proxyOf(u, choose); p != nil {
		u = p
	}
	return hostPort(u)
}

// lookedUpAddress returns the host and port whose addresses pawl has to know for u: of the server,
// or of a proxy that looks up the server itself.
func lookedUpAddress(u *url.URL, choose func(*http.Request) (*url.URL, error)) string {
	if p := proxyOf(u, choose); resolvesNames(p) {
		u = p
	}
	return hostPort(u)
}

// proxyOf returns the proxy of u, nil if there is none. choose may be nil.
func proxyOf(u *url.URL, choose func(*http.Request) (*url.URL, error)) *url.URL {
	if choose == nil {
		return nil
	}
	p, err := choose(&http.Request{URL: u})
	if err != nil {
		return nil
	}
	return p
}

// limiter returns the limiter of an address, nil if connections are not limited.
func (l *connLimiter) limiter(addr string) *addrLimiter {
	if l.slots == nil {
		return nil
	}
	addr = strings.ToLower(addr)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addrs.Get(addr, func() *addrLimiter {
		n := l.max(addr)
		a := &addrLimiter{owner: l, max: n, slots: l.slots(addr, n), polling: make(chan struct{}, 1), conns: make(map[*limitedConn]struct{})}
		if more := l.maxSmall(addr) - n; more > 0 {
			a.small = l.slots(addr+" small", more)
		}
		return a
	})
}

// dropIdle closes the idle connections of all transports, and ends dials that no request waits
// for. It does nothing if it did so within maintainInterval.
func (l *connLimiter) dropIdle() {
	l.mu.Lock()
	soon := time.Since(l.lastClosed) < maintainInterval
	if !soon {
		l.lastClosed = time.Now()
	}
	l.mu.Unlock()
	if soon {
		return
	}
	for _, closeIdle := range l.closeIdle {
		closeIdle()
	}
}

// close closes the idle connections and releases all slots. No request may be under way. It may
// be called again.
func (l *connLimiter) close() {
	for _, closeIdle := range l.closeIdle {
		closeIdle()
	}
	l.mu.Lock()
	closed := l.closed
	l.closed = true
	l.mu.Unlock()
	if closed {
		return
	}
	close(l.done)
	l.dials.Wait()
	l.maintainers.Wait()
	shared := false
	for a := range l.addrs.All() { // without mu: no further address is added
		shared = shared || a.slots.Held() > 0 && a.slots.Share() < a.max
	}
	if shared { // else another process connects before the server has noticed
		time.Sleep(CloseNoticeDelay)
	}
	for a := range l.addrs.All() {
		a.closeSlots()
	}
}

// An addrLimiter limits the connections to one address. The nil addrLimiter limits nothing.
type addrLimiter struct {
	owner   *connLimiter
	max     int // connections
	slots   Slots
	small   Slots         // further ones for small files; nil for none
	polling chan struct{} // holds a mark while a dial looks for a slot, so that only one does

	mu         sync.Mutex
	conns      map[*limitedConn]struct{} // open connections; guarded by mu
	closing    int                       // closed connections that hold a slot until the server has noticed; guarded by mu
	waiting    int                       // dials without a slot; guarded by mu
	maintained bool                      // maintain is running; guarded by mu
	takings    int                       // how often all connections were taken away; guarded by mu
	surplus    int                       // connections to be released; guarded by mu
	overSince  time.Time                 // since when the share is exceeded, zero if it is not; guarded by mu
}

// dial takes a slot, for which it may wait up to maxSlotWait, or without limit if slots are leased, and then
// dials.
func (a *addrLimiter) dial(ctx context.Context, dial func() (net.Conn, error)) (net.Conn, error) {
	slot, err := a.acquire(ctx)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	takings := a.takings
	a.mu.Unlock()
	conn, err := dial()
	if err != nil {
		slot.Close()
		return nil, err
	}
	c := &limitedConn{Conn: conn, limiter: a, slot: slot}
	c.used.Store(time.Now().UnixNano())
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.takings != takings { // the slot with them
		conn.Close()
		slot.Close()
		return nil, ErrTaken
	}
	a.conns[c] = struct{}{}
	return c, nil
}

// acquire waits for a slot, which the caller must close. Only one dial at a time looks for a slot,
// every minPoll to minPoll+pollSpread. Each look says that our own queue is slow, and not the
// server, so that the clock of the request starts again; maxSlotWait limits the wait instead, from
// the beginning and including the wait for earlier dials of this process. A leased slot is waited for
// without limit, because other machines may need theirs for hours.
//
// ctx is the context of the dial, which may outlive its request: if another connection becomes idle, that gets the request, and the dial
// goes on. Such a dial gives up as long as it has no slot.
func (a *addrLimiter) acquire(ctx context.Context) (io.Closer, error) {
	if !a.beginWait() {
		return nil, errClosed
	}
	defer a.owner.dials.Done() // last, because close goes on then
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.waiting--
	}()
	begun := time.Now()
	if err := a.awaitTurn(ctx); err != nil {
		return nil, err
	}
	defer func() { <-a.polling }()
	for {
		if slot, ok := a.try(ctx); ok {
			attemptOf(ctx).gotSlot()
			return slot, nil
		}
		if !a.owner.leased && time.Since(begun) > maxSlotWait {
			return nil, failure.New(failure.ErrThrottled, "no connection to the host became free in time; other pawls may have all of them")
		}
		if attemptOf(ctx).conn.Load() != nil {
			return nil, errUnneeded
		}
		attemptOf(ctx).notSilent(false)
		if a.isIdle(time.Now()) { // a connection of another transport, which cannot serve this request
			a.owner.dropIdle()
		}
		poll := time.NewTimer(minPoll + rand.N(pollSpread))
		select {
		case <-poll.C:
		case <-ctx.Done():
			poll.Stop()
			return nil, context.Cause(ctx)
		case <-a.owner.done:
			poll.Stop()
			return nil, errClosed
		}
	}
}

// try takes a slot for the request of ctx, if one is free.
func (a *addrLimiter) try(ctx context.Context) (io.Closer, bool) {
	slot, ok := a.slots.Try()
	if info := infoOf(ctx); !ok && a.small != nil && info != nil && info.Small {
		return a.small.Try()
	}
	return slot, ok
}

// closeSlots releases all slots.
func (a *addrLimiter) closeSlots() {
	a.slots.Close()
	if a.small != nil {
		a.small.Close()
	}
}

// awaitTurn waits until no other dial looks for a slot. The caller must receive from polling when it
// has one. The order of the dials is roughly the order in which they came.
func (a *addrLimiter) awaitTurn(ctx context.Context) error {
	tick := time.NewTicker(maintainInterval)
	defer tick.Stop()
	for {
		select {
		case a.polling <- struct{}{}:
			return nil
		case <-tick.C:
			attemptOf(ctx).notSilent(false)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-a.owner.done:
			return errClosed
		}
	}
}

// beginWait counts a dial that waits, and starts maintain. It returns false if the connLimiter
// is closed.
func (a *addrLimiter) beginWait() bool {
	a.owner.mu.Lock()
	defer a.owner.mu.Unlock()
	if a.owner.closed {
		return false
	}
	a.owner.dials.Add(1)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting++
	if !a.maintained {
		a.maintained = true
		a.owner.maintainers.Go(a.maintain)
	}
	return true
}

// maintain keeps the connections within the share until the address is no longer in use.
func (a *addrLimiter) maintain() {
	tick := time.NewTicker(maintainInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-a.owner.done:
			return
		}
		a.obeyLease()
		drop, unused := a.rebalance(time.Now())
		if unused {
			return
		}
		if drop {
			a.owner.dropIdle()
		}
	}
}

// obeyLease closes all connections if the slots were taken away.
func (a *addrLimiter) obeyLease() {
	if !a.owner.leased || a.slots.Share() > 0 {
		return
	}
	a.mu.Lock()
	conns := slices.Collect(maps.Keys(a.conns))
	a.takings++
	a.mu.Unlock()
	for _, c := range conns {
		c.take()
	}
}

// rebalance compares the open connections with the share. drop means that idle connections
// must be closed; unused means that there are no connections and no dials.
func (a *addrLimiter) rebalance(now time.Time) (drop, unused bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting == 0 && len(a.conns) == 0 && a.slots.Held() == 0 {
		a.closeSlots()
		a.maintained = false
		return false, true
	}
	share := a.slots.Share()
	over := min(len(a.conns), a.slots.Held()) - share // no slot is held if there are no locks
	switch {
	case over <= 0:
		a.surplus, a.overSince = 0, time.Time{}
	case a.overSince.IsZero(): // closing the idle connections may suffice
		a.overSince = now
	default:
		a.surplus = over
	}
	return over > 0 || share < a.max && a.hasUnused(now, unusedAfter), false
}

// hasUnused reports whether a connection had no traffic for a time. The caller holds mu.
func (a *addrLimiter) hasUnused(now time.Time, after time.Duration) bool {
	for c := range a.conns {
		if now.UnixNano()-c.used.Load() > int64(after) {
			return true
		}
	}
	return false
}

// isIdle reports whether an idle connection may keep a dial waiting. If a slot is about to be released, it is too early to
// say: net/http closes not only the idle connections then, but also the next one that becomes idle, whose
// successor waits for a slot in turn.
func (a *addrLimiter) isIdle(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.closing == 0 && a.hasUnused(now, maintainInterval)
}

// isUnused reports whether the limiter may be forgotten. An Address may still have it, and then
// only asks for the share; another limiter of the same address competes for slots as another
// process does.
func (a *addrLimiter) isUnused() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.maintained && a.waiting == 0 && len(a.conns) == 0 && a.slots.Held() == 0
}

// share returns how many connections the process should have: at least one, which then may have
// to wait for its slot.
func (a *addrLimiter) share() int {
	if a == nil {
		return math.MaxInt
	}
	return max(1, a.slots.Share())
}

// mustRelease reports whether the caller must close a connection, and counts it as closed. If
// last is true, the connection is the only one of a download, which is released last.
func (a *addrLimiter) mustRelease(last bool) bool {
	if a == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.surplus <= 0 || last && time.Since(a.overSince) < lastReleaseAfter {
		return false
	}
	a.surplus--
	return true
}

// isQueued reports whether a dial waits for a slot.
func (a *addrLimiter) isQueued() bool {
	if a == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.waiting > 0
}

// A limitedConn is a connection that holds a slot.
type limitedConn struct {
	net.Conn
	limiter *addrLimiter
	slot    io.Closer
	used    atomic.Int64 // time of the last read or write, in Unix nanoseconds
	gone    atomic.Bool  // the server has closed it
	taken   atomic.Bool  // it was closed by take
	once    sync.Once    // for the first Close
}

func (c *limitedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.used.Store(time.Now().UnixNano())
	if err != nil && !errors.Is(err, net.ErrClosed) && !isTimeout(err) {
		c.gone.Store(true)
	}
	return n, c.explain(err)
}

func (c *limitedConn) Write(p []byte) (int, error) {
	c.used.Store(time.Now().UnixNano())
	n, err := c.Conn.Write(p)
	return n, c.explain(err)
}

// explain returns the reason for an error of the connection.
func (c *limitedConn) explain(err error) error {
	if err != nil && c.taken.Load() {
		return ErrTaken
	}
	return err
}

// take closes the connection, whose users meet ErrTaken.
func (c *limitedConn) take() {
	c.taken.Store(true)
	c.Close()
}

// Close closes the connection, and releases its slot when the server should have noticed.
func (c *limitedConn) Close() error {
	gone := c.gone.Load()
	err := c.Conn.Close()
	c.once.Do(func() {
		c.limiter.mu.Lock()
		delete(c.limiter.conns, c)
		c.limiter.closing++
		c.limiter.mu.Unlock()
		after := CloseNoticeDelay
		if gone {
			after = serverCloseDelay
		}
		time.AfterFunc(after, func() {
			c.slot.Close()
			c.limiter.mu.Lock()
			defer c.limiter.mu.Unlock()
			c.limiter.closing--
		})
	})
	return err
}

// An Address is a host and port that is dialed, of a server or its proxy. All its methods may
// be called on nil, which is an address without limits that nothing is known of.
type Address struct {
	hostPort string // whose addresses are looked up
	dialer   *dialer
	limiter  *addrLimiter // nil if connections are not limited
}

// Share returns how many connections this process should have at most. The number changes as
// other processes come and go; it is at least 1.
func (a *Address) Share() int {
	if a == nil {
		return math.MaxInt
	}
	return a.limiter.share()
}

// MustRelease reports whether the caller must close a connection, because the process has more
// than its share. If it returns true, the caller must do so. If last is true, the connection is
// the only one of a download, which is released last.
func (a *Address) MustRelease(last bool) bool { return a != nil && a.limiter.mustRelease(last) }

// IsQueued reports whether a dial waits because other processes have the connections.
func (a *Address) IsQueued() bool { return a != nil && a.limiter.isQueued() }

// Forget makes the next dial look up the name again, because another of the machines behind it
// may do better.
func (a *Address) Forget() {
	if a != nil {
		a.dialer.resolver.forget(a.hostPort)
	}
}

// HasResolved reports whether the name has had an address in this run.
func (a *Address) HasResolved() bool { return a != nil && a.dialer.hasResolved(a.hostPort) }
