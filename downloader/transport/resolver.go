package transport

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"pawl/downloader/failure"
)

const (
	// lookupTTL is how long the addresses of a name are used before it is looked up again. A
	// guess, because the system's resolver does not report the lifetime that the name server
	// states; one to five minutes are common. Half doubles the lookups, double keeps connecting
	// to a machine that was taken out of service for longer, which costs one failed dial.
	lookupTTL = 5 * time.Minute
	// staleTTL is how long old addresses are used again if their name cannot be looked up now. A
	// guess: half asks a name server that does not respond twice as often, double uses old
	// addresses for longer although the name server is back.
	staleTTL = 30 * time.Second
	// maxNames is how many names are remembered, and how many addresses, of 420 bytes for a name
	// with four addresses and for one of these (measured). Half costs further lookups in lists of
	// many hosts, double 4 MiB.
	maxNames = 10_000
)

// A Family is a version of the Internet Protocol.
type Family int

// The families of the addresses that may be dialed.
const (
	AnyFamily Family = iota
	IPv4
	IPv6
)

// network returns the name that package net has for lookups of addresses of the family.
func (f Family) network() string { return [...]string{"ip", "ip4", "ip6"}[f] }

// has reports whether a is an address of the family.
func (f Family) has(a netip.Addr) bool { return f == AnyFamily || a.Is4() == (f == IPv4) }

func (f Family) String() string { return [...]string{"IP", "IPv4", "IPv6"}[f] }

// FixedAddresses are the addresses that are used for a host and port in place of a lookup.
// Without addresses, the host is looked up although other FixedAddresses are for all hosts.
type FixedAddresses struct {
	Addrs   []netip.Addr
	Expires bool // they are used for as long as the answer of a lookup, from the beginning of the run
}

// A resolver returns the addresses of hosts. It looks up a name once for all that wait for it,
// and remembers the addresses for lookupTTL. It does not remember failures, because the retry
// budget decides when to ask again. If a name that has had addresses cannot be looked up now, the
// old addresses stay in use. Safe for concurrent use; close must be called at the end.
type resolver struct {
	family Family
	fixed  map[string]FixedAddresses // by host:port in lower case, "*:port" for all hosts; immutable
	began  time.Time                 // of the run
	ask    func(ctx context.Context, network, host string) ([]netip.Addr, error)

	mu      sync.Mutex
	known   map[string]answer  // by name; guarded by mu
	running map[string]*lookup // by name; guarded by mu
	lookups sync.WaitGroup     // one for each goroutine of a lookup
}

// An answer is the addresses of a name. The slice must not be changed.
type answer struct {
	addrs   []netip.Addr // at least one
	expires time.Time
}

// A lookup is one request to the system's resolver, for all that wait for the same name.
type lookup struct {
	cancel  context.CancelFunc
	waiting int           // guarded by resolver.mu
	done    chan struct{} // closed at the end
	addrs   []netip.Addr  // set before done is closed
	err     error         // set before done is closed
}

func newResolver(family Family, fixed map[string]FixedAddresses) *resolver {
	return &resolver{
		family: family, fixed: fixed, began: time.Now(),
		ask: func(ctx context.Context, network, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, network, host)
		},
		known: make(map[string]answer), running: make(map[string]*lookup),
	}
}

// addresses returns the addresses of hostPort, for example "example.org:443", in the order of the
// system's resolver; at least one if err is nil. remembered means that they come from an earlier
// lookup, so that another one may have another result.
func (r *resolver) addresses(ctx context.Context, hostPort string) (addrs []netip.AddrPort, remembered bool, err error) {
	host, portText, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, false, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, false, &net.AddrError{Err: "invalid port", Addr: hostPort}
	}
	found, remembered, err := r.find(ctx, host, portText)
	if err != nil {
		return nil, false, err
	}
	for _, a := range found {
		if r.family.has(a) {
			addrs = append(addrs, netip.AddrPortFrom(a, uint16(port)))
		}
	}
	if len(addrs) == 0 { // of a literal or of fixed addresses; a lookup returns only such addresses
		return nil, false, r.noAddress(host)
	}
	return addrs, remembered, nil
}

// find is addresses for a host and the text of its port. It may return addresses of any family.
func (r *resolver) find(ctx context.Context, host, port string) (addrs []netip.Addr, remembered bool, err error) {
	if fixed := r.fixedFor(host, port); len(fixed) > 0 {
		return fixed, false, nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, false, nil
	}
	return r.lookUp(ctx, strings.ToLower(host))
}

// fixedFor returns the fixed addresses of a host and port, none if it must be looked up.
func (r *resolver) fixedFor(host, port string) []netip.Addr {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	fixed, ok := r.fixed[net.JoinHostPort(host, port)]
	if !ok {
		fixed = r.fixed["*:"+port]
	}
	if fixed.Expires && time.Since(r.began) >= lookupTTL {
		return nil
	}
	return fixed.Addrs
}

// lookUp returns the addresses of a name. If ctx ends first, the lookup continues for the others
// that wait for it, and ends without them.
func (r *resolver) lookUp(ctx context.Context, name string) (addrs []netip.Addr, remembered bool, err error) {
	r.mu.Lock()
	if a, ok := r.known[name]; ok && time.Now().Before(a.expires) {
		r.mu.Unlock()
		return a.addrs, true, nil
	}
	l := r.running[name]
	if l == nil {
		l = r.beginLocked(name)
	}
	l.waiting++
	r.mu.Unlock()
	select {
	case <-l.done:
		return l.addrs, false, l.err
	case <-ctx.Done():
		r.leave(name, l)
		return nil, false, &net.DNSError{Err: ctx.Err().Error(), Name: name, IsTimeout: errors.Is(ctx.Err(), context.DeadlineExceeded), UnwrapErr: ctx.Err()}
	}
}

// beginLocked starts the lookup of a name. The caller holds mu.
func (r *resolver) beginLocked(name string) *lookup {
	ctx, cancel := context.WithCancel(context.Background())
	l := &lookup{cancel: cancel, done: make(chan struct{})}
	r.running[name] = l
	r.lookups.Go(func() {
		defer cancel()
		addrs, err := r.ask(ctx, r.family.network(), name)
		r.end(name, l, addrs, err)
	})
	return l
}

// leave notes that somebody no longer waits for the lookup l, which ends if nobody else does.
func (r *resolver) leave(name string, l *lookup) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.waiting--; l.waiting == 0 {
		l.cancel()
		if r.running[name] == l { // a newcomer must not get the error of a cancelled lookup
			delete(r.running, name)
		}
	}
}

// end ends the lookup l with its result, and remembers the addresses.
func (r *resolver) end(name string, l *lookup, addrs []netip.Addr, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer close(l.done)
	if r.running[name] != l { // all have left, which says nothing about the name
		l.err = err
		return
	}
	delete(r.running, name)
	addrs = slices.Clone(addrs)
	for i, a := range addrs {
		addrs[i] = a.Unmap()
	}
	ttl := lookupTTL
	switch {
	case err == nil && len(addrs) == 0, isNoSuchHost(err):
		l.err = r.noAddress(name)
	case err != nil:
		l.err = err
	}
	if old, ok := r.known[name]; ok && l.err != nil && !isNoSuchHost(l.err) {
		addrs, ttl, l.err = old.addrs, staleTTL, nil
	}
	if l.err != nil {
		delete(r.known, name)
		return
	}
	l.addrs = addrs
	trim(r.known)
	r.known[name] = answer{addrs, time.Now().Add(ttl)}
}

// forget makes the next dial look up the name of hostPort again. The addresses stay known for the
// case that this fails.
func (r *resolver) forget(hostPort string) {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	name := strings.ToLower(host)
	if a, ok := r.known[name]; ok {
		r.known[name] = answer{addrs: a.addrs}
	}
}

// close waits for the end of the lookups. None may begin afterwards, and nobody may wait for one.
func (r *resolver) close() {
	r.mu.Lock()
	for l := range maps.Values(r.running) {
		l.cancel()
	}
	r.mu.Unlock()
	r.lookups.Wait()
}

// noAddress returns the error for a host without an address of the family.
func (r *resolver) noAddress(host string) error {
	text := "no such host"
	if r.family != AnyFamily {
		text = failure.NoFamily(r.family.String())
	}
	return &net.DNSError{Err: text, Name: host, IsNotFound: true}
}

// isNoSuchHost reports whether err is the response of a name server that a name does not exist.
func isNoSuchHost(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}
