package fleet

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	// perContender is the delay per session that may want the same free place, so that not all of
	// them try at once. A few round trips to the broker: at half, more tries are in vain; double
	// leaves a free place unused for longer.
	perContender = 10 * time.Millisecond
	// maxDelay limits the delay in a fleet of many sessions.
	maxDelay = 2 * time.Second
)

// A taker takes and gives the places of a process. Only its goroutine waits for the broker.
type taker struct {
	*Places
	broker Broker
	alive  Bucket // the keys of sessions
}

// A watch receives the changes of keys, and signals.
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

// watchAgain begins another watch after the broker has ended w.
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

// run takes and gives places until ctx ends, whose error it returns, or until the watch does.
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
		if time.Now().After(syncAt) { // a watch may have missed something
			t.sync(ctx)
			syncAt = time.Now().Add(time.Duration(t.lease) / 2)
		}
		timer.Reset(t.step(ctx))
	}
	return ctx.Err()
}

// onPlace follows a change in the bucket of places.
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

// onSignal hears that a process has no place of a lane: "hungry.LANE.SESSION.MILLISECONDS", with the
// time for which it has had none.
func (t *taker) onSignal(signal string) {
	fields := strings.Split(signal, ".")
	if len(fields) != 4 || fields[0] != "hungry" {
		return
	}
	ms, err := strconv.ParseInt(fields[3], 10, 64)
	if err != nil || ms < 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.lanes[fields[1]]; l != nil && t.session != nil && fields[2] != t.session.id {
		l.hear(time.Now(), time.Duration(ms)*time.Millisecond)
	}
}

// sync compares the known holders of the places with the keys, because a watch may have missed some.
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
				l.see(i, holder{})
			}
		}
	}
	holders := make(map[string]bool)
	for key, v := range values {
		if name, i, ok := parsePlace(key); ok {
			t.lane(name).see(i, holder{string(v.Data), v.Revision})
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

// step does everything that is to be done now, and returns how long nothing else is to be done.
func (t *taker) step(ctx context.Context) time.Duration {
	wait := time.Duration(t.lease)
	for _, l := range t.activeLanes() {
		for range maxPlaces { // a limit, in case that the broker and we disagree
			t.mu.Lock()
			act, next := t.decide(l, time.Now())
			t.mu.Unlock()
			if act == nil {
				wait = min(wait, next)
				break
			}
			callCtx, cancel := context.WithTimeout(ctx, t.lease.patience())
			act(callCtx)
			cancel()
			if ctx.Err() != nil {
				return 0
			}
		}
	}
	return max(wait, time.Millisecond)
}

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
		if l.isActive(now) || l.hasStray(t.session.id) {
			all = append(all, l)
		}
	}
	return all
}

// decide returns the next call of the broker for a lane, or nil and how long there is none. The
// caller must hold mu.
func (t *taker) decide(l *lane, now time.Time) (func(context.Context), time.Duration) {
	s := t.session
	if s == nil || !s.Valid() {
		return nil, t.lease.tick()
	}
	next := l.update(now)
	defer func() {
		if usable := s.isFresh() && l.isUsable(now); usable != l.toldUsable || l.mustYield != l.toldYield {
			l.toldUsable, l.toldYield = usable, l.mustYield
			notify(t.changed)
		}
	}()
	if !s.isFresh() {
		return nil, t.lease.tick()
	}
	if i, ok := l.surplusPlace(); ok { // forgotten first
		revision := l.held[i].revision
		l.drop(i)
		return func(ctx context.Context) { t.give(ctx, l, i, revision) }, 0
	}
	want := l.wantsMore(now)
	if i, ok := l.stray(s.id); ok && now.After(l.retryAt) {
		h := l.seen[i]
		if want && i < l.limit.places() {
			return func(ctx context.Context) { t.take(ctx, s, l, i, h) }, 0
		}
		return func(ctx context.Context) { t.give(ctx, l, i, h.revision) }, 0
	}
	if !want || now.Before(l.retryAt) {
		return nil, next
	}
	return t.seek(s, l, now, next)
}

// seek returns the call that takes a place, or the signal that there is none. The caller must hold
// mu.
func (t *taker) seek(s *Session, l *lane, now time.Time, next time.Duration) (func(context.Context), time.Duration) {
	free := l.free(func(id string) bool { return t.roster.maybeDead(id, now) })
	if len(free) == 0 {
		l.takeAt = time.Time{}
		if len(l.held) == 0 && l.mustCall(now) {
			signal := fmt.Sprintf("hungry.%s.%s.%d", l.name, s.id, now.Sub(l.hungrySince).Milliseconds())
			return func(ctx context.Context) { t.broker.Signal(ctx, signal) }, 0
		}
		wait := t.lease.plea()/4 + randomly(t.lease.plea()/4)
		if d := l.calledAt.Add(t.lease.plea()).Sub(now); d > 0 {
			wait = min(wait, d)
		}
		return nil, min(next, wait)
	}
	if l.takeAt.IsZero() {
		window := min(maxDelay, time.Duration(t.roster.count(now))*perContender) / time.Duration(len(free))
		l.takeAt = now.Add(l.delay(now, window))
	}
	if d := l.takeAt.Sub(now); d > 0 {
		return nil, min(next, d)
	}
	l.takeAt = time.Time{}
	i := free[randN(len(free))]
	h := l.seen[i]
	return func(ctx context.Context) { t.take(ctx, s, l, i, h) }, 0
}

// take takes place i of a lane, whose holder was h.
func (t *taker) take(ctx context.Context, s *Session, l *lane, i int, h holder) {
	var revision uint64
	var err error
	switch {
	case h.session == "":
		revision, err = t.bucket.Create(ctx, l.key(i), []byte(s.id))
	case h.session == s.id:
		// An earlier call was done, but not confirmed. The new revision makes
		// others that are still under way fail.
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
	if t.mayHaveChanged(ctx, l, i, err) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	l.see(i, holder{s.id, revision})
	if t.session == s && s.Valid() {
		l.hold(i, revision, now)
	}
}

// give deletes place i of a lane, which the process has forgotten. If it fails, the place is a
// stray of the session, which step finds again.
func (t *taker) give(ctx context.Context, l *lane, i int, revision uint64) {
	err := t.bucket.Delete(ctx, l.key(i), revision)
	if t.mayHaveChanged(ctx, l, i, err) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l.see(i, holder{revision: revision})
}

// mayHaveChanged looks at a place after a call that failed. It returns false if err is nil.
func (t *taker) mayHaveChanged(ctx context.Context, l *lane, i int, err error) bool {
	if err == nil {
		return false
	}
	v, getErr := Value{}, err
	if errors.Is(err, ErrConflict) || errors.Is(err, ErrNoKey) {
		v, getErr = t.bucket.Get(ctx, l.key(i))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case getErr == nil:
		l.see(i, holder{string(v.Data), v.Revision})
	case errors.Is(getErr, ErrNoKey):
		l.see(i, holder{})
	default:
		l.retryAt = time.Now().Add(t.lease.tick())
	}
	return true
}

// endSession reports whether a session has ended. It may only say so if the key says that it has
// ended, or if the broker has forgotten the session: then the mark makes sure that its owner cannot
// renew it. A read alone may be stale.
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
