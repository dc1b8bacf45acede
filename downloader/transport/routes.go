package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// attemptDelay is how long a dial waits for one address before it also tries the next one.
	// It is the value that RFC 8305, section 5, recommends. Half opens useless connections to
	// distant servers, double makes the user wait for an address that does not respond.
	attemptDelay = 250 * time.Millisecond
	// knownDelay is attemptDelay for an address that has accepted a connection in this run. It is the
	// longest delay that RFC 8305, section 8, allows. Half opens useless connections to busy
	// servers, double hangs longer when a machine is switched off.
	knownDelay = 2 * time.Second
	// deadTime is how long an address that has failed is used only if no other one is left. A
	// guess: half tries a dead machine twice as often, each time for attemptDelay; double leaves
	// a machine that is back without work for longer.
	deadTime = time.Minute
)

// routes know which addresses, and which families of addresses, can be reached. A family that has
// failed and has not yet worked is left alone for the rest of the run, as long as there are
// addresses of the other one. Safe for concurrent use.
type routes struct {
	mu       sync.Mutex
	known    map[netip.AddrPort]route // guarded by mu
	families [2]familyState           // IPv4 and IPv6; guarded by mu
}

// A route has the results of earlier connections to one address.
type route struct {
	worked    bool
	deadUntil time.Time
}

// A familyState has the results of earlier connections to the addresses of one family.
type familyState struct {
	worked bool // an address has accepted a connection
	failed bool // an address could not be reached
}

func newRoutes() *routes { return &routes{known: make(map[netip.AddrPort]route)} }

// familyOf returns the index of the family of an address in routes.families.
func familyOf(a netip.AddrPort) int {
	if a.Addr().Is4() {
		return 0
	}
	return 1
}

// order returns the addresses in the order in which a dial tries them. Usable addresses come
// first. They alternate between the families, and each dial, which takes its turn, begins with
// another one. Addresses of a family that has failed follow, then dead addresses.
func (r *routes) order(addrs []netip.AddrPort, turn int) []netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	var usable, alone, dead []netip.AddrPort
	now := time.Now()
	for _, a := range addrs {
		switch f := r.families[familyOf(a)]; {
		case now.Before(r.known[a].deadUntil):
			dead = append(dead, a)
		case f.failed && !f.worked:
			alone = append(alone, a)
		default:
			usable = append(usable, a)
		}
	}
	if usable = alternate(usable); len(usable) > 0 {
		n := turn % len(usable)
		usable = slices.Concat(usable[n:], usable[:n])
	}
	return slices.Concat(usable, alone, dead)
}

// alternate returns the addresses in turn of one family and of the other, beginning with the
// family of the first one (RFC 8305, section 4).
func alternate(addrs []netip.AddrPort) []netip.AddrPort {
	var groups [2][]netip.AddrPort // the family of the first address, and the other one
	for _, a := range addrs {
		i := familyOf(a) ^ familyOf(addrs[0])
		groups[i] = append(groups[i], a)
	}
	var mixed []netip.AddrPort
	for i := range len(addrs) {
		for _, g := range groups {
			if i < len(g) {
				mixed = append(mixed, g[i])
			}
		}
	}
	return mixed
}

// delay returns how long a dial waits for the address before it also tries the next one.
func (r *routes) delay(a netip.AddrPort) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.known[a]; k.worked && k.deadUntil.IsZero() {
		return knownDelay
	}
	return attemptDelay
}

// noteWorked notes that the address has accepted a connection.
func (r *routes) noteWorked(a netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	trim(r.known)
	r.known[a] = route{worked: true}
	r.families[familyOf(a)] = familyState{worked: true}
}

// noteFailed notes that the address could not be reached because of err, nil if another address
// was faster although it was tried later. An address that refuses a connection proves that its
// family works.
func (r *routes) noteFailed(a netip.AddrPort, err error) {
	if isLocalFailure(err) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	trim(r.known)
	r.known[a] = route{worked: r.known[a].worked, deadUntil: time.Now().Add(deadTime)}
	f := &r.families[familyOf(a)]
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET):
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EAFNOSUPPORT): // the machine has no route to any address of the family
		*f = familyState{failed: true}
	default:
		f.failed = true
	}
}

// isLocalFailure reports whether a dial failed for want of something that has nothing to do with
// its address.
func isLocalFailure(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// noteWon notes that the address at index won has accepted a connection before the pending ones, of
// which those before it have had more time.
func (r *routes) noteWon(addrs []netip.AddrPort, won int, pending map[int]bool) {
	r.noteWorked(addrs[won])
	for i := range pending {
		if i < won {
			r.noteFailed(addrs[i], nil)
		}
	}
}

// A racer is an attempt to connect to one address, with its outcome.
type racer struct {
	index int // of the address
	conn  net.Conn
	err   error
}

// race connects to the first of the addresses that accepts a connection. It tries one after
// another, in their order, and does not wait long for one before it also tries the next (Happy
// Eyeballs, RFC 8305, section 5). It returns when all its attempts have ended. It returns the error of
// the first address that failed for another reason than a missing route, if there is one.
func (r *routes) race(ctx context.Context, addrs []netip.AddrPort, connect func(context.Context, netip.AddrPort) (net.Conn, error)) (net.Conn, error) {
	outer := ctx
	ctx, cancel := context.WithCancel(ctx)
	var attempts sync.WaitGroup
	outcomes := make(chan racer, len(addrs))
	defer func() {
		cancel()
		attempts.Wait()
		close(outcomes)
		for late := range outcomes {
			if late.err == nil {
				late.conn.Close()
			}
		}
	}()
	pending := make(map[int]bool)
	started := 0
	next := time.NewTimer(0)
	defer next.Stop()
	var errs []error
	for len(errs) < len(addrs) {
		select {
		case o := <-outcomes:
			delete(pending, o.index)
			switch {
			case o.err == nil:
				r.noteWon(addrs, o.index, pending)
				return o.conn, nil
			case outer.Err() != nil:
				return nil, o.err
			}
			r.noteFailed(addrs[o.index], o.err)
			errs = append(errs, o.err)
			next.Reset(0)
		case <-next.C:
			if started == len(addrs) {
				continue
			}
			i := started
			started++
			pending[i] = true
			attempts.Go(func() {
				c, err := connect(ctx, addrs[i])
				outcomes <- racer{i, c, err}
			})
			next.Reset(r.delay(addrs[i]))
		}
	}
	return nil, tellingError(errs)
}

// tellingError returns the first of the errors that is not a missing route, if there is one: the
// family without a route is not the user's problem if the other one has a route.
func tellingError(errs []error) error {
	for _, err := range errs {
		if !errors.Is(err, syscall.ENETUNREACH) && !errors.Is(err, syscall.EAFNOSUPPORT) && !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return err
		}
	}
	return errs[0]
}
