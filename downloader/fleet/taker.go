package fleet

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"
)

// This file takes and gives back places: it is the protocol between the processes of a fleet.
//
// Place number i of a lane is the key "p.LANE.i". Its value is the ID of the session that holds
// the place; a free place has no key. Whoever creates the key has the place. Each call names the
// revision of the key that it is about, so of two processes that want the same place the broker
// refuses one (ErrConflict). Places do not expire. Sessions do: the key "s.ID" exists while the
// process renews it, or has the value "dead". A process takes the place of another session only if
// that one is dead, or if it can itself create "s.ID" with the value "dead": then the broker has
// forgotten the session, and its process can no longer renew it.
//
// A process forgets a place before it deletes the key, so that it opens no connection meanwhile. A
// call may be done although its confirmation is lost. Then a key names our session while we do not
// hold the place: a stray. It is taken again, with a new revision that makes calls fail which are
// still under way, or deleted.
//
// A process learns of changes by watching the keys, and compares all keys twice in each lease,
// because a watch may miss a change. A change of one of its own places by anybody else means that
// it no longer holds the place.
//
// A process that needs a place while none is free is hungry, and sends signals (hunger.go). A
// process that hears one gives a place back if no session holds more than it: one of several at
// once, its only one when it has had it for half a lease and the files in work have ended. All
// hungry processes see the free key. The one that has been hungry for the longest time tries first.

const (
	// perContender is the delay per session that may want the same free place, so that not all of
	// them try at once. A few round trips to the broker: at half, more tries are in vain; double
	// leaves a free place unused for longer.
	perContender = 10 * time.Millisecond
	// maxDelay limits the delay in a fleet of many sessions.
	maxDelay = 2 * time.Second
)

// A taker takes and gives back the places of a process. Its goroutine (run) makes all calls of the
// broker for them, except in OpenPlaces and GiveAll. The decisions are made under mu, mostly by the
// lanes. mu must not be held during a call.
type taker struct {
	*Places
	broker Broker
	alive  Bucket // the keys of sessions
}

// A brokerCall is one call of the broker for a place, or a signal.
type brokerCall func(ctx context.Context)

// run takes and gives back places until ctx ends, whose error it returns, or until the watch does.
func (t *taker) run(ctx context.Context, w watch) error {
	defer w.cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	syncAt := time.Now().Add(time.Duration(t.lease) / 2)
	for ctx.Err() == nil {
		select {
		case c, ok := <-w.places:
			if !ok {
				return ctx.Err()
			}
			t.onPlace(c)
		case c, ok := <-w.sessions:
			if !ok {
				return ctx.Err()
			}
			t.onSession(c)
		case s, ok := <-w.signals:
			if !ok {
				return ctx.Err()
			}
			t.onSignal(s)
		case <-t.kick:
		case <-timer.C:
		case <-ctx.Done():
		}
		if time.Now().After(syncAt) {
			t.sync(ctx)
			syncAt = time.Now().Add(time.Duration(t.lease) / 2)
		}
		timer.Reset(t.makeCalls(ctx))
	}
	return ctx.Err()
}

// makeCalls makes all calls that are due, and returns the time until the next one.
func (t *taker) makeCalls(ctx context.Context) time.Duration {
	wait := time.Duration(t.lease)
	for _, l := range t.activeLanes() {
		for range maxPlaces { // a limit, in case that the broker and we disagree
			t.mu.Lock()
			call, next := t.nextCall(l, time.Now())
			t.mu.Unlock()
			if call == nil {
				wait = min(wait, next)
				break
			}
			callCtx, cancel := context.WithTimeout(ctx, t.lease.patience())
			call(callCtx)
			cancel()
			if ctx.Err() != nil {
				return 0
			}
		}
	}
	return max(wait, time.Millisecond)
}

// activeLanes returns the lanes that calls may be due for. If the session has ended, there are
// none, and all held places are forgotten.
func (t *taker) activeLanes() (all []*lane) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.session == nil {
		return nil
	}
	if !t.session.Valid() {
		for _, l := range t.lanes {
			if len(l.held) > 0 {
				notify(t.changed)
			}
			l.forget()
		}
		return nil
	}
	now := time.Now()
	for _, l := range t.lanes {
		if _, hasStray := l.stray(t.session.id); hasStray || l.isActive(now) {
			all = append(all, l)
		}
	}
	return all
}

// nextCall returns the call that is due for a lane: it gives a place back, resolves a stray, takes
// a place, or signals hunger, in this order. If none is due, it returns nil and the time until it
// must be called again. The caller must hold mu.
func (t *taker) nextCall(l *lane, now time.Time) (brokerCall, time.Duration) {
	s := t.session
	if s == nil || !s.Valid() {
		return nil, t.lease.tick()
	}
	next := l.updateGiveBack(now)
	defer t.notifyUsability(l, now)
	if !s.isFresh() {
		return nil, t.lease.tick()
	}
	if i, ok := l.placeToGive(); ok {
		revision := l.held[i].revision
		l.removeHeld(i)
		return func(ctx context.Context) { t.give(ctx, l, i, revision) }, 0
	}
	l.updateHunger(now)
	wantsMore := l.wantsMore(now)
	if i, ok := l.stray(s.id); ok && now.After(l.retryAt) {
		h := l.seen[i]
		if wantsMore && i < l.limit.places() {
			return func(ctx context.Context) { t.take(ctx, s, l, i, h) }, 0
		}
		return func(ctx context.Context) { t.give(ctx, l, i, h.revision) }, 0
	}
	if !wantsMore || now.Before(l.retryAt) {
		return nil, next
	}
	takeable := l.takeable(func(id string) bool { return t.roster.maybeDead(id, now) })
	if len(takeable) == 0 {
		return t.signalHunger(s, l, now, next)
	}
	return t.takeOne(s, l, takeable, now, next)
}

// notifyUsability notifies Places.Changed if the worker must look at the lane. The caller must hold
// mu.
func (t *taker) notifyUsability(l *lane, now time.Time) {
	if u := (usability{t.isFresh() && l.isUsable(now), l.mustYield}); u != l.notified {
		l.notified = u
		notify(t.changed)
	}
}

// takeOne returns the call that takes a random one of the places, or nil and the time that is left
// of the delay before it. The caller must hold mu.
func (t *taker) takeOne(s *Session, l *lane, places []int, now time.Time, next time.Duration) (brokerCall, time.Duration) {
	if l.takeAt.IsZero() {
		window := min(maxDelay, time.Duration(t.roster.count(now))*perContender) / time.Duration(len(places))
		l.takeAt = now.Add(l.takeDelay(now, window))
	}
	if d := l.takeAt.Sub(now); d > 0 {
		return nil, min(next, d)
	}
	l.takeAt = time.Time{}
	i := places[randN(len(places))]
	h := l.seen[i]
	return func(ctx context.Context) { t.take(ctx, s, l, i, h) }, 0
}

// signalHunger returns the call that signals that the process has no place and none can be taken,
// or nil and the time until the next look. The caller must hold mu.
func (t *taker) signalHunger(s *Session, l *lane, now time.Time, next time.Duration) (brokerCall, time.Duration) {
	l.takeAt = time.Time{}
	if len(l.held) == 0 && l.hunger.mustSignal(now, l.lease) {
		l.hunger.signaledAt = now
		signal := hungrySignal(l.name, s.id, l.hunger.age(now))
		return func(ctx context.Context) { t.broker.Signal(ctx, signal) }, 0
	}
	wait := t.lease.plea()/4 + randomly(t.lease.plea()/4)
	if d := l.hunger.signaledAt.Add(t.lease.plea()).Sub(now); d > 0 {
		wait = min(wait, d)
	}
	return nil, min(next, wait)
}

// take takes place i of a lane, whose holder was h.
func (t *taker) take(ctx context.Context, s *Session, l *lane, i int, h holder) {
	var revision uint64
	var err error
	switch {
	case h.session == "":
		revision, err = t.bucket.Create(ctx, l.key(i), []byte(s.id))
	case h.session == s.id: // a stray
		revision, err = t.bucket.Update(ctx, l.key(i), []byte(s.id), h.revision)
	default:
		var dead bool
		if dead, err = t.endSession(ctx, h.session); err == nil && !dead {
			return
		}
		if err == nil {
			revision, err = t.bucket.Update(ctx, l.key(i), []byte(s.id), h.revision)
		}
	}
	if err != nil {
		t.findHolder(ctx, l, i, err)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	l.setHolder(i, holder{s.id, revision})
	if t.session == s && s.Valid() {
		l.addHeld(i, revision, now)
	}
}

// give deletes the key of place i of a lane, which the process has forgotten. If that fails, the
// place is a stray, for which nextCall tries again.
func (t *taker) give(ctx context.Context, l *lane, i int, revision uint64) {
	if err := t.bucket.Delete(ctx, l.key(i), revision); err != nil {
		t.findHolder(ctx, l, i, err)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l.setHolder(i, holder{revision: revision})
}

// findHolder finds out who holds place i after a call for it has failed with err. If the broker
// cannot say so, no other call is made for the lane for a lease.tick.
func (t *taker) findHolder(ctx context.Context, l *lane, i int, err error) {
	var v Value
	if errors.Is(err, ErrConflict) || errors.Is(err, ErrNoKey) {
		v, err = t.bucket.Get(ctx, l.key(i))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil:
		l.setHolder(i, holder{string(v.Data), v.Revision})
	case errors.Is(err, ErrNoKey):
		l.setHolder(i, holder{})
	default:
		l.retryAt = time.Now().Add(t.lease.tick())
	}
}

// endSession reports whether another session is dead. If the broker has forgotten the session, it
// is dead from now on. A read alone would not do, because it may return an old value.
func (t *taker) endSession(ctx context.Context, id string) (dead bool, err error) {
	t.mu.Lock()
	known := t.roster.isDead(id)
	t.mu.Unlock()
	if known {
		return true, nil
	}
	_, err = t.alive.Create(ctx, sessionPrefix+id, []byte(deadMark))
	if errors.Is(err, ErrConflict) {
		var v Value
		v, err = t.alive.Get(ctx, sessionPrefix+id)
		dead = err == nil && string(v.Data) == deadMark
	} else {
		dead = err == nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case dead:
		t.roster.died(id)
	case err == nil:
		t.roster.lives(id, time.Now())
	}
	return dead, err
}

// A watch receives the changes of the keys of places and sessions, and signals.
type watch struct {
	places, sessions <-chan Change
	signals          <-chan string
	cancel           context.CancelFunc
}

// watch begins a watch, which ends with ctx.
func (t *taker) watch(ctx context.Context) (w watch, err error) {
	ctx, w.cancel = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			w.cancel()
		}
	}()
	if w.places, err = t.bucket.Watch(ctx, ""); err != nil {
		return w, err
	}
	if w.sessions, err = t.alive.Watch(ctx, sessionPrefix); err != nil {
		return w, err
	}
	w.signals, err = t.broker.Signals(ctx)
	return w, err
}

// watchAgain begins another watch after the broker has ended w. It tries until it succeeds or ctx
// ends.
func (t *taker) watchAgain(ctx context.Context, w watch) watch {
	w.cancel()
	for ctx.Err() == nil {
		next, err := t.watch(ctx)
		if err == nil {
			return next
		}
		select {
		case <-time.After(t.lease.tick()):
		case <-ctx.Done():
		}
	}
	return watch{cancel: func() {}}
}

// onPlace follows a change in the bucket of places: of a place, or of the limits.
func (t *taker) onPlace(c Change) {
	if c.Key == limitsKey {
		if l, err := decodeLimits(c.Data); err == nil { // else the old ones hold
			t.setLimits(l)
		}
		return
	}
	name, i, ok := parsePlace(c.Key)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.lane(name)
	if old, ok := l.seen[i]; ok && c.Revision != 0 && c.Revision <= old.revision {
		return // we know it already
	}
	l.setHolder(i, holder{string(c.Data), c.Revision})
}

// parsePlace parses the key of a place.
func parsePlace(key string) (lane string, i int, ok bool) {
	rest, ok := strings.CutPrefix(key, placePrefix)
	lane, number, found := strings.Cut(rest, ".")
	i, err := strconv.Atoi(number)
	return lane, i, ok && found && err == nil && i >= 0 && i < maxPlaces
}

// onSession follows a change of a session.
func (t *taker) onSession(c Change) {
	id := strings.TrimPrefix(c.Key, sessionPrefix)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case c.Deleted:
		t.roster.forgotten(id)
	case string(c.Data) == deadMark:
		t.roster.died(id)
	default:
		t.roster.lives(id, time.Now())
	}
}

// onSignal hears that another process is hungry. Other signals, and those of lanes that this
// process does not use, are ignored.
func (t *taker) onSignal(signal string) {
	name, session, age, ok := parseHungrySignal(signal)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.lanes[name]; l != nil && t.session != nil && session != t.session.id {
		l.hearHungry(time.Now(), age)
	}
}

// sync compares the known holders of places with all keys, because a watch may have missed some
// changes.
func (t *taker) sync(ctx context.Context) {
	if !t.isActive() {
		return
	}
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, t.lease.patience())
	defer cancel()
	values, err := t.bucket.List(ctx, placePrefix)
	if err != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.lanes {
		for i := range l.seen {
			if _, ok := values[l.key(i)]; !ok && l.held[i].since.Before(begun.Add(-t.lease.tick())) {
				l.setHolder(i, holder{})
			}
		}
	}
	holders := make(map[string]bool)
	for key, v := range values {
		if name, i, ok := parsePlace(key); ok {
			t.lane(name).setHolder(i, holder{string(v.Data), v.Revision})
			holders[string(v.Data)] = true
		}
	}
	t.roster.keep(holders, time.Now())
}

// isActive reports whether the process looks for places or holds any.
func (t *taker) isActive() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.lanes {
		if t.session != nil && l.isActive(time.Now()) {
			return true
		}
	}
	return false
}
