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

// A lane is the state of one lane in this process: the known holders of its places, the places that
// the process holds itself, and its need for them. Its methods decide whether to take places or to
// give them back; the taker makes the calls of the broker. Everything is guarded by Places.mu.
type lane struct {
	name  string
	limit Limit // of each host
	lease lease
	addrs map[string]*address // in use

	seen holders       // by number of the place, as far as they are known
	held map[int]place // places that this process holds for its valid session

	takeAt  time.Time // when to take a free place; zero if that is not decided
	retryAt time.Time // no call of the broker may begin before it, because the last one has failed

	demand
	giveBack
	hunger   hunger
	notified usability
}

// A holder is the session that holds a place, as the key of the place says.
type holder struct {
	session  string // "" if nobody holds it
	revision uint64 // of the key
}

// holders are the holders of the places of a lane, by number. A place that is missing is free.
type holders map[int]holder

// mostHeld returns how many places the session with the most places holds.
func (h holders) mostHeld() (most int) {
	count := make(map[string]int)
	for _, o := range h {
		if o.session != "" {
			count[o.session]++
			most = max(most, count[o.session])
		}
	}
	return most
}

// A place is a place that this process holds.
type place struct {
	revision uint64 // of its key
	since    time.Time
	usableAt time.Time // later than since if the hosts have a request rate
}

// A demand is the need of this process for connections of a lane.
type demand struct {
	wanted       bool      // the worker has work
	usedAt       time.Time // when a connection was last tried for, or closed
	lackedAt     time.Time // when a connection was last refused because all held places were in use
	surplusSince time.Time // since when more places are held than needed; zero if they are not
}

// A giveBack says which of the held places this process gives back, and when. A place is given
// back once the open connections fit into the others.
type giveBack struct {
	keep      int       // how many places stay; the others are given back
	leaving   bool      // no place stays
	restUntil time.Time // the process must not take a place before
	heldSince time.Time // when it last held none
	giveAt    time.Time // when to give a place to the hungry; zero if none has to be given
	mustYield bool      // the worker must release the lane soon, because of the hungry
}

// A usability is the part of the state of a lane of which Places.Changed informs the worker.
type usability struct{ usable, mustYield bool }

func randN(n int) int { return rand.IntN(n) }

// randomly returns a random duration below d, or 0 if d is not positive.
func randomly(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}

// The holders of the places.

// key returns the key of place i.
func (l *lane) key(i int) string { return fmt.Sprint(placePrefix, l.name, ".", i) }

// setHolder notes the holder of place i. If its key has changed since this process took the place,
// the process no longer holds it.
func (l *lane) setHolder(i int, h holder) {
	if mine, ok := l.held[i]; ok && mine.revision != h.revision {
		l.removeHeld(i)
	}
	switch old := l.seen[i].session; {
	case h.session == "" && old != "": // a hungry process can take this one
		l.giveAt, l.mustYield = time.Time{}, false
	case h.session != "" && h.session != old && !l.hunger.since.IsZero():
		now := time.Now()
		l.hunger.placeTaken(now, l.takeDelay(now, l.lease.plea()/4), l.lease)
	}
	if h == (holder{}) {
		delete(l.seen, i)
		return
	}
	l.seen[i] = h
}

// addHeld notes that this process has taken place i. The previous holder may have sent a request just now, so the
// first one of this process waits for the time of one request, and for the delay that timers may have had.
func (l *lane) addHeld(i int, revision uint64, now time.Time) {
	if len(l.held) == 0 {
		l.heldSince, l.usedAt = now, now
		l.leaving, l.giveAt, l.mustYield = false, time.Time{}, false
	}
	usable := now
	if l.limit.Rate > 0 {
		usable = now.Add(l.requestInterval() + lateSends)
	}
	l.held[i] = place{revision, now, usable}
	l.keep = len(l.held)
	l.lackedAt, l.surplusSince = time.Time{}, time.Time{}
	l.hunger.end()
}

// removeHeld notes that this process does not hold place i, or must not use it.
func (l *lane) removeHeld(i int) {
	delete(l.held, i)
	if len(l.held) == 0 {
		l.leaving, l.mustYield, l.giveAt = false, false, time.Time{}
	}
}

// forget forgets all held places, because the session has ended.
func (l *lane) forget() {
	clear(l.held)
	l.leaving, l.mustYield, l.giveAt = false, false, time.Time{}
	l.takeAt, l.retryAt = time.Time{}, time.Time{}
	l.hunger.end()
}

// free returns the places that nobody is known to hold.
func (l *lane) free() (all []int) {
	for i := range l.limit.places() {
		if l.seen[i].session == "" {
			all = append(all, i)
		}
	}
	return all
}

// takeable returns the places that may be taken: the free ones or, if there are none, those of
// sessions that may have ended.
func (l *lane) takeable(maybeDead func(session string) bool) []int {
	all := l.free()
	if len(all) > 0 {
		return all
	}
	for i := range l.limit.places() {
		if _, isMine := l.held[i]; !isMine && maybeDead(l.seen[i].session) {
			all = append(all, i)
		}
	}
	return all
}

// stray returns a place whose key names the session although the process does not hold it: a call
// was done, but not confirmed.
func (l *lane) stray(session string) (i int, ok bool) {
	for i, h := range l.seen {
		if _, isHeld := l.held[i]; h.session == session && !isHeld {
			return i, true
		}
	}
	return 0, false
}

// The connections that the held places allow.

// kept returns the numbers of the held places that stay, in order.
func (l *lane) kept() []int {
	if l.leaving {
		return nil
	}
	all := make([]int, 0, len(l.held))
	for i := range l.held {
		if i < l.limit.places() { // else the limit was lowered
			all = append(all, i)
		}
	}
	slices.Sort(all)
	return all[:min(len(all), l.keep)]
}

// allowed returns how many connections to each host may be open.
func (l *lane) allowed(now time.Time) (n int) {
	for _, i := range l.kept() {
		if !now.Before(l.held[i].usableAt) {
			n += l.limit.worth(i)
		}
	}
	return n
}

// isUsable reports whether the worker may begin a file of the lane.
func (l *lane) isUsable(now time.Time) bool { return !l.mustYield && l.allowed(now) > 0 }

// mostOpen returns how many connections are open to the host with the most.
func (l *lane) mostOpen() (n int) {
	for _, a := range l.addrs {
		n = max(n, a.open)
	}
	return n
}

// requestInterval returns the time between two requests of one place, 0 without a rate.
func (l *lane) requestInterval() time.Duration {
	if l.limit.Rate == 0 {
		return 0
	}
	return time.Duration(float64(time.Second) / l.limit.placeRate())
}

// The demand for places.

// use notes that somebody in this process looks for a connection, or will soon.
func (l *lane) use(now time.Time) {
	if !l.isDemanded(now) { // the last search has ended long ago
		l.takeAt = time.Time{}
		l.hunger.end()
	}
	l.usedAt = now
}

// isDemanded reports whether the worker has work, or somebody in this process has looked for a
// connection lately.
func (l *lane) isDemanded(now time.Time) bool {
	return l.wanted || len(l.addrs) > 0 && now.Sub(l.usedAt) < l.lease.plea()
}

// isActive reports whether the lane has something to do: places are held or looked for.
func (l *lane) isActive(now time.Time) bool { return len(l.held) > 0 || l.isDemanded(now) }

// lacksPlaces reports whether more places would be used.
func (l *lane) lacksPlaces(now time.Time) bool { return now.Sub(l.lackedAt) < l.lease.plea()/2 }

// mayTake reports whether the process may take a place, or another one.
func (l *lane) mayTake(now time.Time) bool {
	return !l.leaving && !l.mustYield && !now.Before(l.restUntil) && l.isDemanded(now)
}

// updateHunger notes whether this process is hungry.
func (l *lane) updateHunger(now time.Time) {
	switch {
	case !l.mayTake(now):
		l.hunger.end()
	case len(l.held) == 0:
		l.hunger.begin(now, l.lease)
	}
}

// wantsMore reports whether the process should take a place. A second one must not be taken while
// others are hungry, and not if the hosts have a request rate.
func (l *lane) wantsMore(now time.Time) bool {
	if !l.mayTake(now) {
		return false
	}
	isFull := len(l.held) >= l.limit.places()
	return len(l.held) == 0 ||
		l.lacksPlaces(now) && l.keep == len(l.held) && l.limit.Rate == 0 && !isFull && !l.hunger.othersAreHungry(now, l.lease)
}

// takeDelay returns how long to wait before taking a free place: at most window for a process
// without a place, and longer for others.
func (l *lane) takeDelay(now time.Time, window time.Duration) time.Duration {
	if len(l.held) > 0 {
		return window + randomly(window)
	}
	return l.hunger.takeDelay(now, window, l.lease)
}

// The places that are given back.

// leave makes the process give back all places, and take none until restUntil.
func (l *lane) leave(restUntil time.Time) {
	l.restUntil = restUntil
	l.leaving = len(l.held) > 0
}

// updateGiveBack decides how many of the held places stay, and returns the time until it must be
// called again.
func (l *lane) updateGiveBack(now time.Time) time.Duration {
	next := l.lease.tick()
	if len(l.held) == 0 {
		l.keep = 0
		return next
	}
	l.updateKeep(now)
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

// updateKeep lowers keep if places have not been needed for a while, and raises it if they are
// needed again.
func (l *lane) updateKeep(now time.Time) {
	held, needed := len(l.held), l.neededPlaces()
	switch {
	case needed >= held || l.lacksPlaces(now):
		l.surplusSince = time.Time{}
	case l.surplusSince.IsZero():
		l.surplusSince = now
	}
	switch {
	case l.lacksPlaces(now) && !l.hunger.othersAreHungry(now, l.lease):
		l.keep = held
	case !l.isDemanded(now):
		l.keep = min(l.keep, needed)
	case !l.surplusSince.IsZero() && now.Sub(l.surplusSince) >= l.lease.surplus():
		l.keep = min(l.keep, max(needed, 1))
	}
}

// neededPlaces returns how many of the held places the open connections need.
func (l *lane) neededPlaces() (n int) {
	open := l.mostOpen()
	for _, i := range l.kept() {
		if open <= 0 {
			break
		}
		open -= l.limit.worth(i)
		n++
	}
	return n
}

// placeToGive returns a held place that does not stay, once the open connections fit into the
// others.
func (l *lane) placeToGive() (i int, ok bool) {
	kept := l.kept()
	if len(kept) == len(l.held) {
		return 0, false
	}
	worth := 0
	for _, i := range kept {
		worth += l.limit.worth(i)
	}
	if l.mostOpen() > worth {
		return 0, false
	}
	for i := range l.held {
		if !slices.Contains(kept, i) {
			return i, true
		}
	}
	return 0, false
}

// hearHungry notes the signal of a process that has been hungry for age. If no place is free and no
// session holds more places than this one, this process gives one back, soon.
func (l *lane) hearHungry(now time.Time, age time.Duration) {
	l.hunger.hear(now, age, l.lease)
	isDecided := !l.giveAt.IsZero() || l.mustYield || l.leaving
	if len(l.held) == 0 || isDecided || len(l.free()) > 0 || len(l.held) < l.seen.mostHeld() {
		return
	}
	l.giveAt = now
	if len(l.held) > 1 || !l.wanted {
		// If one process gives a place at once, the others need not. A file ends at a random
		// time anyway.
		l.giveAt = now.Add(randomly(l.lease.tick()))
	}
}

// giveToHungry begins to give one place back. If it is the only one, it must have been held for
// lease.hold or be idle, and the files in work end first.
func (l *lane) giveToHungry(now time.Time) {
	isIdle := l.mostOpen() == 0 && now.Sub(l.usedAt) > l.lease.plea()
	switch {
	case len(l.held) > 1:
		l.keep = min(l.keep, len(l.held)-1)
	case !isIdle && now.Sub(l.heldSince) < l.lease.hold():
		// Too soon. The hungry will send another signal.
	case l.wanted && !isIdle:
		l.mustYield = true
	default:
		l.leave(now.Add(l.lease.rest()))
	}
	l.giveAt = time.Time{}
}
