package fleet

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// lateSends is how much closer than the rate allows the last requests of one process and the first ones of the next may be, because each
// makes up for timers that were up to 0.1 s late. With less, a loaded machine exceeds a rate when it changes hands; more is time in which the
// host gets no request.
const lateSends = 200 * time.Millisecond

// A lane is the places of some hosts, as this process sees and holds them. Everything is guarded by
// Places.mu.
type lane struct {
	name  string
	limit Limit // of each host
	lease lease
	addrs map[string]*address // in use

	seen map[int]holder // places that other processes or this one hold, as far as is known
	held map[int]place  // places that this process holds for its valid session

	heldSince time.Time // when held was last empty
	leaving   bool      // all places are given back when their connections are closed
	keep      int       // number of places to use; the others are given back when they have no connections
	takeAt    time.Time // when to try to take a place; zero if there is none
	retryAt   time.Time // not to call the broker before, after a failure
	restUntil time.Time // not to take a place before

	demand
	hunger
}

// A demand is the need of this process for connections of a lane.
type demand struct {
	wanted       bool      // the worker has work
	usedAt       time.Time // when a connection was last tried for, or closed
	lackedAt     time.Time // when a connection was last not possible because all places were in use
	surplusSince time.Time // since when there are more places than needed; zero if there are not
	toldUsable   bool      // result of Has that Changed was last signaled for
	toldYield    bool      // the same of MustYield
}

// A hunger is the state of the processes without a place of a lane, this one included.
type hunger struct {
	hungrySince time.Time // since when this process has been looking for its first place; zero if it does not
	calledAt    time.Time // when this process last said so
	heardAt     time.Time // when another one last said so
	oldestSince time.Time // since when the oldest one has been looking
	oldestAt    time.Time // when it said so
	giveAt      time.Time // when to give a place to the others; zero if none has to be given
	mustYield   bool      // the worker must release the lane soon
}

// A holder is the value of a place.
type holder struct {
	session  string // "" if nobody holds it
	revision uint64
}

// A place is a place that this process holds.
type place struct {
	revision uint64
	since    time.Time
	usableAt time.Time // later than since if the hosts have a request rate
}

func randN(n int) int { return rand.IntN(n) }

// randomly returns a random duration below d.
func randomly(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}

func (l *lane) key(i int) string { return fmt.Sprint(placePrefix, l.name, ".", i) }

// see notes the holder of a place. If it is another session, this process no longer holds the place.
func (l *lane) see(i int, h holder) {
	if mine, ok := l.held[i]; ok && mine.revision != h.revision {
		l.drop(i)
	}
	switch old := l.seen[i].session; {
	case h.session == "" && old != "": // a hungry process has one to take
		l.giveAt, l.mustYield = time.Time{}, false
	case h.session != "" && h.session != old && !l.hungrySince.IsZero():
		// The oldest one has got it, and the next one calls.
		now := time.Now()
		l.calledAt = now.Add(l.delay(now, l.lease.plea()/4) - l.lease.plea())
		l.oldestAt = time.Time{}
	}
	if h == (holder{}) {
		delete(l.seen, i)
		return
	}
	l.seen[i] = h
}

// hold notes that place i was taken. The previous holder may have sent a request just now, so the
// first one of this process waits for the time of one request, and for what timers may have been late.
func (l *lane) hold(i int, revision uint64, now time.Time) {
	if len(l.held) == 0 {
		l.heldSince, l.usedAt = now, now
		l.leaving, l.giveAt, l.mustYield = false, time.Time{}, false
	}
	usable := now
	if l.limit.Rate > 0 {
		usable = now.Add(l.interval() + lateSends)
	}
	l.held[i] = place{revision, now, usable}
	l.keep = len(l.held)
	l.lackedAt, l.surplusSince, l.hungrySince = time.Time{}, time.Time{}, time.Time{}
}

// interval returns the time between two requests of one place, 0 without a rate.
func (l *lane) interval() time.Duration {
	if l.limit.Rate == 0 {
		return 0
	}
	return time.Duration(float64(time.Second) / l.limit.placeRate())
}

// drop forgets that place i is held.
func (l *lane) drop(i int) {
	delete(l.held, i)
	if len(l.held) == 0 {
		l.leaving, l.mustYield, l.giveAt = false, false, time.Time{}
	}
}

// forget forgets all held places, because the session has ended.
func (l *lane) forget() {
	clear(l.held)
	l.leaving, l.mustYield, l.giveAt, l.hungrySince, l.takeAt, l.retryAt = false, false, time.Time{}, time.Time{}, time.Time{}, time.Time{}
}

// leave makes the lane give all places back.
func (l *lane) leave(restUntil time.Time) {
	l.restUntil = restUntil
	l.leaving = len(l.held) > 0
}

// numbers returns the numbers of the held places that are in use, in order.
func (l *lane) numbers() []int {
	all := make([]int, 0, len(l.held))
	for i := range l.held {
		if i < l.limit.places() {
			all = append(all, i)
		}
	}
	slices.Sort(all)
	if l.leaving {
		return nil
	}
	return all[:min(len(all), l.keep)]
}

// allowed returns how many connections to each host the held places allow.
func (l *lane) allowed(now time.Time) (n int) {
	for _, i := range l.numbers() {
		if !now.Before(l.held[i].usableAt) {
			n += l.limit.worth(i)
		}
	}
	return n
}

// isUsable reports whether work of the lane may begin.
func (l *lane) isUsable(now time.Time) bool { return !l.mustYield && l.allowed(now) > 0 }

// open returns the most connections that are open to one host.
func (l *lane) open() (n int) {
	for _, a := range l.addrs {
		n = max(n, a.open)
	}
	return n
}

// needed returns how many of the held places the open connections need.
func (l *lane) needed() (n int) {
	open := l.open()
	for _, i := range l.numbers() {
		if open <= 0 {
			break
		}
		open -= l.limit.worth(i)
		n++
	}
	return n
}

// isDemanded reports whether somebody here looks for a connection.
func (l *lane) isDemanded(now time.Time) bool {
	return l.wanted || len(l.addrs) > 0 && now.Sub(l.usedAt) < l.lease.plea()
}

// use notes that somebody here looks for a connection, or will soon.
func (l *lane) use(now time.Time) {
	if !l.isDemanded(now) { // the last search has ended long ago
		l.hungrySince, l.takeAt = time.Time{}, time.Time{}
	}
	l.usedAt = now
}

// lacks reports whether more places would be used.
func (l *lane) lacks(now time.Time) bool { return now.Sub(l.lackedAt) < l.lease.plea()/2 }

func (l *lane) isActive(now time.Time) bool { return len(l.held) > 0 || l.isDemanded(now) }

// stray returns a place that the session holds without our knowing: a call was done but not
// confirmed.
func (l *lane) stray(session string) (int, bool) {
	for i, h := range l.seen {
		if _, ok := l.held[i]; h.session == session && !ok {
			return i, true
		}
	}
	return 0, false
}

func (l *lane) hasStray(session string) bool {
	_, ok := l.stray(session)
	return ok
}

// surplusPlace returns a place to give back, which is not in use, if the connections do not need it
// any more.
func (l *lane) surplusPlace() (int, bool) {
	used := l.numbers()
	if len(used) == len(l.held) {
		return 0, false
	}
	worth := 0
	for _, i := range used {
		worth += l.limit.worth(i)
	}
	if l.open() > worth {
		return 0, false
	}
	for i := range l.held {
		if !slices.Contains(used, i) {
			return i, true
		}
	}
	return 0, false
}

// hear notes that another process has had no place for some time.
func (l *lane) hear(now time.Time, age time.Duration) {
	l.heardAt = now
	if since := now.Add(-age); now.Sub(l.oldestAt) > 2*l.lease.plea() || since.Before(l.oldestSince) {
		l.oldestSince, l.oldestAt = since, now
	} else if since.Sub(l.oldestSince) < l.lease.tick() {
		l.oldestAt = now // the same one again
	}
	if len(l.held) == 0 || !l.giveAt.IsZero() || l.mustYield || l.leaving || l.hasFree() || len(l.held) < l.mostHeld() {
		return
	}
	l.giveAt = now
	if len(l.held) > 1 || !l.wanted { // the others need not do the same; a file ends at a random time anyway
		l.giveAt = now.Add(randomly(l.lease.tick()))
	}
}

// mostHeld returns the largest number of places that a session holds.
func (l *lane) mostHeld() (most int) {
	count := make(map[string]int)
	for _, h := range l.seen {
		if h.session != "" {
			count[h.session]++
			most = max(most, count[h.session])
		}
	}
	return most
}

// isHeard reports whether another process is looking for its first place.
func (l *lane) isHeard(now time.Time) bool { return now.Sub(l.heardAt) < 5*l.lease.plea()/2 }

// hasFree reports whether a place seems to be free.
func (l *lane) hasFree() bool {
	for i := range l.limit.places() {
		if l.seen[i].session == "" {
			return true
		}
	}
	return false
}

// free returns the places that nobody holds, or else those of sessions that may have ended.
func (l *lane) free(maybeDead func(session string) bool) (all []int) {
	for i := range l.limit.places() {
		if l.seen[i].session == "" {
			all = append(all, i)
		}
	}
	if len(all) > 0 {
		return all
	}
	for i := range l.limit.places() {
		if _, mine := l.held[i]; !mine && maybeDead(l.seen[i].session) {
			all = append(all, i)
		}
	}
	return all
}

// update decides how many places are used, and returns when it has to be asked again.
func (l *lane) update(now time.Time) time.Duration {
	held, needed := len(l.held), l.needed()
	next := l.lease.tick()
	if held == 0 {
		l.keep = 0
		return next
	}
	switch {
	case needed >= held || l.lacks(now):
		l.surplusSince = time.Time{}
	case l.surplusSince.IsZero():
		l.surplusSince = now
	}
	least := 0
	if l.isDemanded(now) {
		least = 1
	}
	switch {
	case l.lacks(now) && !l.isHeard(now): // places that were to be given back are used again
		l.keep = held
	case least == 0: // given back with their connections
		l.keep = min(l.keep, needed)
	case !l.surplusSince.IsZero() && now.Sub(l.surplusSince) >= l.lease.surplus():
		l.keep = min(l.keep, max(needed, least))
	}
	if d := l.giveAt.Sub(now); !l.giveAt.IsZero() && d > 0 {
		return min(next, d)
	}
	if !l.giveAt.IsZero() {
		l.giveToHungry(now)
	}
	for _, p := range l.held {
		if d := p.usableAt.Sub(now); d > 0 {
			next = min(next, d)
		}
	}
	return next
}

// giveToHungry makes the lane give one place back, because another process has none.
func (l *lane) giveToHungry(now time.Time) {
	isIdle := l.open() == 0 && now.Sub(l.usedAt) > l.lease.plea()
	switch {
	case len(l.held) > 1:
		l.keep = min(l.keep, len(l.held)-1)
	case !isIdle && now.Sub(l.heldSince) < l.lease.hold():
		// Too soon. The others will call again.
	case l.wanted && !isIdle:
		l.mustYield = true
	default:
		l.leave(now.Add(l.lease.rest()))
	}
	l.giveAt = time.Time{}
}

// wantsMore reports whether the process should take a place.
func (l *lane) wantsMore(now time.Time) bool {
	switch {
	case l.leaving || l.mustYield || now.Before(l.restUntil) || !l.isDemanded(now):
		l.hungrySince = time.Time{}
		return false
	case len(l.held) == 0:
		if l.hungrySince.IsZero() {
			l.hungrySince = now
			l.calledAt = now.Add(-l.lease.plea() + randomly(l.lease.plea()/8)) // soon
		}
		return true
	default:
		return l.lacks(now) && l.keep == len(l.held) && l.limit.Rate == 0 && len(l.held) < l.limit.places() && !l.isHeard(now)
	}
}

// mustCall reports whether to signal that this process has no place. Only the process that has
// been looking for the longest time calls, so that there is one signal for each lane.
func (l *lane) mustCall(now time.Time) bool {
	if now.Sub(l.calledAt) < l.lease.plea() {
		return false
	}
	isOther := now.Sub(l.oldestAt) < 2*l.lease.plea() && !l.hungrySince.Before(l.oldestSince.Add(-l.lease.tick()))
	if !isOther {
		l.calledAt = now
	}
	return !isOther
}

// delay returns when to try to take a free place. The process that has been looking for the longest
// time comes first, and a process that has a place already comes last.
func (l *lane) delay(now time.Time, window time.Duration) time.Duration {
	if len(l.held) > 0 {
		return window + randomly(window)
	}
	oldest := max(now.Sub(l.hungrySince), 0)
	if now.Sub(l.oldestAt) < 5*l.lease.plea() {
		oldest = max(oldest, now.Sub(l.oldestSince))
	}
	noise := max(l.lease.patience(), oldest/3) // many may have begun at the same time
	age := now.Sub(l.hungrySince) + randomly(noise)
	return time.Duration(float64(window) * max(0, 1-float64(age)/float64(oldest+noise)))
}
