package fleet

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	placePrefix = "p."

	// perContender is the delay per session that may want the same free place, so that not all of
	// them try at once. A few round trips to the broker: at half, more tries are in vain; double
	// leaves a free place unused for longer.
	perContender = 10 * time.Millisecond
	// maxDelay limits the delay in a fleet of many sessions.
	maxDelay = 2 * time.Second
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
// One goroutine takes and gives places. The other methods only look at what it has, so that they
// never wait for the broker. A Places is safe for concurrent use; a process must have one.
type Places struct {
	broker        Broker
	bucket, alive Bucket // the keys of places and of sessions
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
		broker: b, lease: l, full: o.Full, kick: make(chan struct{}, 1), changed: make(chan struct{}, 1), done: make(chan struct{}),
		lanes: make(map[string]*lane), addrs: make(map[string]*address), roster: roster{l, make(map[string]time.Time)}, told: make(map[string]bool),
	}
	if p.limits, err = ReadLimits(ctx, b); err != nil {
		return nil, err
	}
	if p.bucket, err = b.Bucket(ctx, placesBucket, 0); err != nil {
		return nil, err
	}
	if p.alive, err = b.Bucket(ctx, aliveBucket, time.Duration(l)); err != nil {
		return nil, err
	}
	var runCtx context.Context
	runCtx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	w, err := p.watch(runCtx)
	if err != nil {
		p.cancel()
		return nil, err
	}
	go func() {
		defer close(p.done)
		for p.run(runCtx, w) == nil { // what a watch has missed, the next one says
			w = p.watchAgain(runCtx, w)
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
// when those that are in work have ended. It may call Want again at once.
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

// A watch is what the broker tells.
type watch struct {
	places, sessions <-chan Change
	signals          <-chan string
	cancel           context.CancelFunc
}

// watch begins a watch, which ends with ctx.
func (p *Places) watch(ctx context.Context) (w watch, err error) {
	ctx, w.cancel = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			w.cancel()
		}
	}()
	if w.places, err = p.bucket.Watch(ctx, ""); err != nil {
		return w, err
	}
	if w.sessions, err = p.alive.Watch(ctx, sessionPrefix); err != nil {
		return w, err
	}
	w.signals, err = p.broker.Signals(ctx)
	return w, err
}

// watchAgain begins a watch in place of one that the broker has ended.
func (p *Places) watchAgain(ctx context.Context, w watch) watch {
	w.cancel()
	for ctx.Err() == nil {
		next, err := p.watch(ctx)
		if err == nil {
			return next
		}
		select {
		case <-time.After(p.lease.tick()):
		case <-ctx.Done():
		}
	}
	return watch{cancel: func() {}}
}

// run takes and gives places until ctx ends, whose error it returns, or until the watch does.
func (p *Places) run(ctx context.Context, w watch) error {
	defer w.cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	syncAt := time.Now().Add(time.Duration(p.lease) / 2)
	for ctx.Err() == nil {
		select {
		case c, ok := <-w.places:
			if !ok {
				return ctx.Err()
			}
			p.onPlace(c)
		case c, ok := <-w.sessions:
			if !ok {
				return ctx.Err()
			}
			p.onSession(c)
		case s, ok := <-w.signals:
			if !ok {
				return ctx.Err()
			}
			p.onSignal(s)
		case <-p.kick:
		case <-timer.C:
		case <-ctx.Done():
		}
		if time.Now().After(syncAt) { // a watch may have missed something
			p.sync(ctx)
			syncAt = time.Now().Add(time.Duration(p.lease) / 2)
		}
		timer.Reset(p.step(ctx))
	}
	return ctx.Err()
}

// onPlace follows a change in the bucket of places.
func (p *Places) onPlace(c Change) {
	if c.Key == limitsKey {
		if l, err := decodeLimits(c.Data); err == nil { // else the old ones hold
			p.setLimits(l)
		}
		return
	}
	name, i, ok := parsePlace(c.Key)
	if !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lane(name)
	if old, ok := l.seen[i]; ok && c.Revision != 0 && c.Revision <= old.revision {
		return // old news
	}
	l.see(i, holder{string(c.Data), c.Revision})
}

// parsePlace parses the key of a place.
func parsePlace(key string) (lane string, i int, ok bool) {
	rest, ok := strings.CutPrefix(key, placePrefix)
	lane, number, found := strings.Cut(rest, ".")
	i, err := strconv.Atoi(number)
	return lane, i, ok && found && err == nil && i >= 0 && i < maxPlaces
}

// onSession follows a change of a session.
func (p *Places) onSession(c Change) {
	id := strings.TrimPrefix(c.Key, sessionPrefix)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case c.Deleted:
		p.roster.forgotten(id)
	case string(c.Data) == deadMark:
		p.roster.died(id)
	default:
		p.roster.lives(id, time.Now())
	}
}

// onSignal hears that a process has no place of a lane: "hungry.LANE.SESSION.MILLISECONDS", with the
// time for which it has had none.
func (p *Places) onSignal(signal string) {
	fields := strings.Split(signal, ".")
	if len(fields) != 4 || fields[0] != "hungry" {
		return
	}
	ms, err := strconv.ParseInt(fields[3], 10, 64)
	if err != nil || ms < 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.lanes[fields[1]]; l != nil && p.session != nil && fields[2] != p.session.id {
		l.hear(time.Now(), time.Duration(ms)*time.Millisecond)
	}
}

// sync replaces what was seen of the places by what there is.
func (p *Places) sync(ctx context.Context) {
	if !p.isActive() {
		return
	}
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, p.lease.patience())
	defer cancel()
	values, err := p.bucket.List(ctx, placePrefix)
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lanes {
		for i := range l.seen {
			if _, ok := values[l.key(i)]; !ok && l.held[i].since.Before(begun.Add(-p.lease.tick())) {
				l.see(i, holder{})
			}
		}
	}
	holders := make(map[string]bool)
	for key, v := range values {
		if name, i, ok := parsePlace(key); ok {
			p.lane(name).see(i, holder{string(v.Data), v.Revision})
			holders[string(v.Data)] = true
		}
	}
	p.roster.keep(holders, time.Now())
}

// isActive reports whether the process looks for places or holds any.
func (p *Places) isActive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lanes {
		if p.session != nil && l.isActive(time.Now()) {
			return true
		}
	}
	return false
}

// step does everything that is to be done now, and returns how long nothing else is to be done.
func (p *Places) step(ctx context.Context) time.Duration {
	wait := time.Duration(p.lease)
	for _, l := range p.activeLanes() {
		for range maxPlaces { // a limit, in case that the broker and we disagree
			p.mu.Lock()
			act, next := p.decide(l, time.Now())
			p.mu.Unlock()
			if act == nil {
				wait = min(wait, next)
				break
			}
			callCtx, cancel := context.WithTimeout(ctx, p.lease.patience())
			act(callCtx)
			cancel()
			if ctx.Err() != nil {
				return 0
			}
		}
	}
	return max(wait, time.Millisecond)
}

func (p *Places) activeLanes() (all []*lane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.session == nil {
		return nil
	}
	if !p.session.Valid() {
		for _, l := range p.lanes {
			if len(l.held) > 0 {
				notify(p.changed)
			}
			l.forget()
		}
		return nil
	}
	now := time.Now()
	for _, l := range p.lanes {
		if l.isActive(now) || l.hasStray(p.session.id) {
			all = append(all, l)
		}
	}
	return all
}

// decide returns the next call of the broker for a lane, or nil and how long there is none. The
// caller must hold mu.
func (p *Places) decide(l *lane, now time.Time) (func(context.Context), time.Duration) {
	s := p.session
	if s == nil || !s.Valid() {
		return nil, p.lease.tick()
	}
	next := l.update(now)
	defer func() {
		if usable := s.isFresh() && l.isUsable(now); usable != l.toldUsable || l.mustYield != l.toldYield {
			l.toldUsable, l.toldYield = usable, l.mustYield
			notify(p.changed)
		}
	}()
	if !s.isFresh() {
		return nil, p.lease.tick()
	}
	if i, ok := l.surplusPlace(); ok { // forgotten first
		revision := l.held[i].revision
		l.drop(i)
		return func(ctx context.Context) { p.give(ctx, l, i, revision) }, 0
	}
	want := l.wantsMore(now)
	if i, ok := l.stray(s.id); ok && now.After(l.retryAt) {
		h := l.seen[i]
		if want && i < l.limit.places() {
			return func(ctx context.Context) { p.take(ctx, s, l, i, h) }, 0
		}
		return func(ctx context.Context) { p.give(ctx, l, i, h.revision) }, 0
	}
	if !want || now.Before(l.retryAt) {
		return nil, next
	}
	return p.seek(s, l, now, next)
}

// seek returns the call that takes a place, or that tells that there is none. The caller must hold
// mu.
func (p *Places) seek(s *Session, l *lane, now time.Time, next time.Duration) (func(context.Context), time.Duration) {
	free := l.free(func(id string) bool { return p.roster.maybeDead(id, now) })
	if len(free) == 0 {
		l.takeAt = time.Time{}
		if len(l.held) == 0 && l.mustCall(now) {
			signal := fmt.Sprintf("hungry.%s.%s.%d", l.name, s.id, now.Sub(l.hungrySince).Milliseconds())
			return func(ctx context.Context) { p.broker.Signal(ctx, signal) }, 0
		}
		wait := p.lease.plea()/4 + randomly(p.lease.plea()/4)
		if d := l.calledAt.Add(p.lease.plea()).Sub(now); d > 0 {
			wait = min(wait, d)
		}
		return nil, min(next, wait)
	}
	if l.takeAt.IsZero() {
		window := min(maxDelay, time.Duration(p.roster.count(now))*perContender) / time.Duration(len(free))
		l.takeAt = now.Add(l.delay(now, window))
	}
	if d := l.takeAt.Sub(now); d > 0 {
		return nil, min(next, d)
	}
	l.takeAt = time.Time{}
	i := free[randN(len(free))]
	h := l.seen[i]
	return func(ctx context.Context) { p.take(ctx, s, l, i, h) }, 0
}

// take takes place i of a lane, whose holder was h.
func (p *Places) take(ctx context.Context, s *Session, l *lane, i int, h holder) {
	var revision uint64
	var err error
	switch {
	case h.session == "":
		revision, err = p.bucket.Create(ctx, l.key(i), []byte(s.id))
	case h.session == s.id:
		// An earlier call was done, but not confirmed. The new revision makes
		// others that are still under way fail.
		revision, err = p.bucket.Update(ctx, l.key(i), []byte(s.id), h.revision)
	default:
		var dead bool
		if dead, err = p.endSession(ctx, h.session); err == nil && !dead {
			return
		}
		if err == nil {
			revision, err = p.bucket.Update(ctx, l.key(i), []byte(s.id), h.revision)
		}
	}
	if p.mayHaveChanged(ctx, l, i, err) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	l.see(i, holder{s.id, revision})
	if p.session == s && s.Valid() {
		l.hold(i, revision, now)
	}
}

// give deletes place i of a lane, which the process has forgotten. If it fails, the place is a
// stray of the session, which step finds again.
func (p *Places) give(ctx context.Context, l *lane, i int, revision uint64) {
	err := p.bucket.Delete(ctx, l.key(i), revision)
	if p.mayHaveChanged(ctx, l, i, err) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l.see(i, holder{revision: revision})
}

// mayHaveChanged looks at a place after a call that failed. It returns false if err is nil.
func (p *Places) mayHaveChanged(ctx context.Context, l *lane, i int, err error) bool {
	if err == nil {
		return false
	}
	v, getErr := Value{}, err
	if errors.Is(err, ErrConflict) || errors.Is(err, ErrNoKey) {
		v, getErr = p.bucket.Get(ctx, l.key(i))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case getErr == nil:
		l.see(i, holder{string(v.Data), v.Revision})
	case errors.Is(getErr, ErrNoKey):
		l.see(i, holder{})
	default:
		l.retryAt = time.Now().Add(p.lease.tick())
	}
	return true
}

// endSession reports whether a session has ended. It may only say so if the key says that it has
// ended, or if the broker has forgotten the session: then the mark makes sure that its owner cannot
// renew it. A read alone may be stale.
func (p *Places) endSession(ctx context.Context, id string) (dead bool, err error) {
	p.mu.Lock()
	known := p.roster.isDead(id)
	p.mu.Unlock()
	if known {
		return true, nil
	}
	_, err = p.alive.Create(ctx, sessionPrefix+id, []byte(deadMark))
	if errors.Is(err, ErrConflict) {
		var v Value
		v, err = p.alive.Get(ctx, sessionPrefix+id)
		dead = err == nil && string(v.Data) == deadMark
	} else {
		dead = err == nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case dead:
		p.roster.died(id)
	case err == nil:
		p.roster.lives(id, time.Now())
	}
	return dead, err
}
