package fleet

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	placePrefix = "p."
	// maxTold limits the addresses that Full is called for.
	maxTold = 1000
)

// PlacesOptions are the options of OpenPlaces. The zero value is valid.
type PlacesOptions struct {
	Lease time.Duration // as in SessionOptions
	// Full is called once for each address to which all connections are open that its limit
	// allows. It must not block. nil for none.
	Full func(addr string, l Limit)
}

// Places are the places of all lanes that this process holds. Each place allows some connections
// to each host of its lane, and only the process whose session holds it may have them open.
//
// One goroutine takes and gives places, see taker. No other method but GiveAll
// waits for the broker. A Places is safe for concurrent use; a process must have one.
type Places struct {
	bucket        Bucket // the keys of places
	lease         lease
	full          func(addr string, l Limit)
	kick, changed chan struct{} // capacity 1
	cancel        context.CancelFunc
	done          chan struct{} // closed when run has ended

	mu      sync.Mutex
	session *Session // nil for none; guarded by mu, as all fields below
	limits  Limits
	lanes   map[string]*lane    // by name
	addrs   map[string]*address // those in use, by host and port
	roster  roster
	told    map[string]bool // addresses that Full was called for
}

// OpenPlaces begins to watch the places of the fleet. They are taken once Use has been called.
func OpenPlaces(ctx context.Context, b Broker, o PlacesOptions) (*Places, error) {
	l, err := agreeLease(ctx, b, o.Lease)
	if err != nil {
		return nil, err
	}
	p := &Places{
		lease: l, full: o.Full, kick: make(chan struct{}, 1), changed: make(chan struct{}, 1), done: make(chan struct{}),
		lanes: make(map[string]*lane), addrs: make(map[string]*address), roster: roster{l, make(map[string]time.Time)}, told: make(map[string]bool),
	}
	if p.limits, err = ReadLimits(ctx, b); err != nil {
		return nil, err
	}
	if p.bucket, err = b.Bucket(ctx, placesBucket, 0); err != nil {
		return nil, err
	}
	t := &taker{Places: p, broker: b}
	if t.alive, err = b.Bucket(ctx, aliveBucket, time.Duration(l)); err != nil {
		return nil, err
	}
	var runCtx context.Context
	runCtx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	w, err := t.watch(runCtx)
	if err != nil {
		p.cancel()
		return nil, err
	}
	go func() {
		defer close(p.done)
		for t.run(runCtx, w) == nil { // the next watch begins with all keys
			w = t.watchAgain(runCtx, w)
		}
	}()
	return p, nil
}

// Close ends the watch. It gives no place back, see GiveAll.
func (p *Places) Close() error {
	p.cancel()
	<-p.done
	return nil
}

// Use makes the process hold places for a session. Those of an earlier session are forgotten.
func (p *Places) Use(s *Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.session = s
	for _, l := range p.lanes {
		l.forget()
	}
	notify(p.kick)
	notify(p.changed)
}

// GiveAll gives all places back, and takes no others until Use is called. The caller must have closed
// all connections.
func (p *Places) GiveAll(ctx context.Context) error {
	var errs []error
	for key, revision := range p.forgetAll() {
		if err := p.bucket.Delete(ctx, key, revision); err != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrNoKey) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// forgetAll forgets the session and all places, whose keys and revisions it returns.
func (p *Places) forgetAll() map[string]uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[string]uint64)
	for _, l := range p.lanes {
		for i, place := range l.held {
			all[l.key(i)] = place.revision
		}
		l.forget()
	}
	p.session = nil
	return all
}

// Want makes the process look for a place of a lane. A process should want about as many lanes
// as it has jobs.
func (p *Places) Want(lane string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.lane(lane); !l.wanted {
		l.use(time.Now())
		l.wanted = true
		notify(p.kick)
	}
}

// Release ends Want. The places of the lane are given back when they have no connections; at once
// if other processes have none.
func (p *Places) Release(lane string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lane(lane)
	if l.mustYield {
		l.leave(time.Now().Add(p.lease.rest()))
	}
	l.wanted = false
	notify(p.kick)
}

// Has reports whether the process may begin work of a lane: it has a place, and no other process
// must get it.
func (p *Places) Has(lane string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.isFresh() && p.lane(lane).isUsable(time.Now())
}

// MustYield reports whether other processes have no place of the lane while this one has had one for
// half a lease. The caller should begin no other file of the lane, and call Release
// when the files in work have ended. It may call Want again at once.
func (p *Places) MustYield(lane string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lane(lane).mustYield
}

// Changed receives after each change of the results of Has, MustYield and Limits.
func (p *Places) Changed() <-chan struct{} { return p.changed }

// Limits returns the limits of the fleet as they are known now.
func (p *Places) Limits() Limits {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limits
}

// Lane returns the lane of a host and port.
func (p *Places) Lane(hostPort string) string { return p.Limits().Lane(hostPort) }

// Host returns how many connections to a host and port the fleet may have, and how many requests
// per second this process may send, 0 for any number.
func (p *Places) Host(hostPort string) (connections int, rate float64) {
	l := p.Limits().For(hostPort)
	return l.Connections, l.placeRate()
}

// notify sends to a channel with the capacity 1, unless the receiver has something to receive anyway.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// isFresh reports whether connections may be open. The caller must hold mu.
func (p *Places) isFresh() bool { return p.session != nil && p.session.isFresh() }

// lane returns a lane. The caller must hold mu.
func (p *Places) lane(name string) *lane {
	l := p.lanes[name]
	if l == nil {
		l = &lane{name: name, limit: p.limits.ofLane(name), lease: p.lease, held: make(map[int]place), seen: make(map[int]holder), addrs: make(map[string]*address)}
		p.lanes[name] = l
	}
	return l
}

// setLimits changes the limits, and the lanes of the addresses in use.
func (p *Places) setLimits(limits Limits) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limits = limits
	for name, l := range p.lanes {
		l.limit = limits.ofLane(name)
	}
	for addr, a := range p.addrs {
		delete(a.lane.addrs, addr)
		a.lane = p.lane(limits.Lane(addr))
		a.lane.addrs[addr] = a
	}
	notify(p.changed)
}
