package fleet

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A hunger is the knowledge of this process about hungry processes: processes that need a place of a
// lane and have none, this one included. Of all hungry processes only the oldest, which has been
// hungry for the longest time, sends signals, so that there is one signal for each lane in each
// lease.plea. In the zero value, nobody is hungry.
type hunger struct {
	since       time.Time // since when this process has been hungry; zero if it is not
	signaledAt  time.Time // when this process last sent a signal
	heardAt     time.Time // when another process last sent a signal
	oldestSince time.Time // since when the oldest other one has been hungry
	oldestAt    time.Time // when the oldest other one last sent a signal
}

// begin notes that this process is hungry from now on, unless it is already. Its first signal comes
// soon, but not at once, because many processes may begin at the same time.
func (h *hunger) begin(now time.Time, l lease) {
	if h.since.IsZero() {
		h.since = now
		h.signaledAt = now.Add(-l.plea() + randomly(l.plea()/8))
	}
}

// end notes that this process is not hungry, or no longer.
func (h *hunger) end() { h.since = time.Time{} }

// age returns how long this process has been hungry.
func (h *hunger) age(now time.Time) time.Duration { return now.Sub(h.since) }

// hear notes the signal of another process that has been hungry for age.
func (h *hunger) hear(now time.Time, age time.Duration, l lease) {
	h.heardAt = now
	since := now.Add(-age)
	switch isSilent := now.Sub(h.oldestAt) > 2*l.plea(); {
	case isSilent || since.Before(h.oldestSince):
		h.oldestSince, h.oldestAt = since, now
	case since.Sub(h.oldestSince) < l.tick(): // the same process again
		h.oldestAt = now
	}
}

// othersAreHungry reports whether another process has sent a signal lately.
func (h *hunger) othersAreHungry(now time.Time, l lease) bool {
	return now.Sub(h.heardAt) < 5*l.plea()/2
}

// mustSignal reports whether this hungry process must send a signal now: it has sent none lately,
// and neither has a process that has been hungry for as long or longer.
func (h *hunger) mustSignal(now time.Time, l lease) bool {
	if now.Sub(h.signaledAt) < l.plea() {
		return false
	}
	isOtherOlder := now.Sub(h.oldestAt) < 2*l.plea() && !h.since.Before(h.oldestSince.Add(-l.tick()))
	return !isOtherOlder
}

// placeTaken notes that another process has taken a place, most likely the oldest hungry one. This
// hungry process may be the oldest one now, so it sends a signal after delay.
func (h *hunger) placeTaken(now time.Time, delay time.Duration, l lease) {
	h.signaledAt = now.Add(delay - l.plea())
	h.oldestAt = time.Time{}
}

// takeDelay returns how long this hungry process must wait, at most window, before it takes a free
// place. The longer a process has been hungry, the sooner it takes one.
func (h *hunger) takeDelay(now time.Time, window time.Duration, l lease) time.Duration {
	oldest := max(h.age(now), 0)
	if now.Sub(h.oldestAt) < 5*l.plea() {
		oldest = max(oldest, now.Sub(h.oldestSince))
	}
	noise := max(l.patience(), oldest/3) // because many may have begun at the same time
	age := h.age(now) + randomly(noise)
	return time.Duration(float64(window) * max(0, 1-float64(age)/float64(oldest+noise)))
}

// hungrySignal returns the signal of a session that has had no place of a lane for age:
// "hungry.LANE.SESSION.MILLISECONDS".
func hungrySignal(lane, session string, age time.Duration) string {
	return fmt.Sprintf("hungry.%s.%s.%d", lane, session, age.Milliseconds())
}

// parseHungrySignal parses a signal that hungrySignal has returned.
func parseHungrySignal(signal string) (lane, session string, age time.Duration, ok bool) {
	fields := strings.Split(signal, ".")
	if len(fields) != 4 || fields[0] != "hungry" {
		return "", "", 0, false
	}
	ms, err := strconv.ParseInt(fields[3], 10, 64)
	if err != nil || ms < 0 {
		return "", "", 0, false
	}
	return fields[1], fields[2], time.Duration(ms) * time.Millisecond, true
}
