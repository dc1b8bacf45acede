package hosts

import "time"

const (
	// minPenalty and maxPenalty are the time after a refusal in which no further connection is
	// opened. It doubles with each refusal. Guesses: at half, a server with a limit refuses
	// twice as many connections in the first seconds; at double, a server that was overloaded
	// for a moment stays slow for longer. The maximum is below the time of most large files.
	minPenalty = 5 * time.Second
	maxPenalty = 5 * time.Minute
)

// banTime is the time within which connections fail at once. A guess: each fails when it next
// reads or asks. Double takes more outages for bans; half misses bans that drop packets silently.
const banTime = 10 * time.Second

// maxStreams is how many files are requested at once from a host that speaks HTTP/2. Servers
// allow 100 streams per connection or a few more (RFC 9113 §6.5.2), so this takes two or three
// connections. At half, distant servers of small files are slower; at double, nothing improves
// except at servers that allow more streams.
const maxStreams = 256

// A limit is the number of connections that a server grants, as far as is known.
type limit struct {
	ceiling    int // the number that the user allows
	many       int // the number that the user allows while the host serves small files; at least ceiling
	granted    int // at most the ceiling, or maxFirst
	small      int // small files that the host has served since the last large one, as far as they matter
	isRefusing bool
	isNew      bool          // a refusal of this run, and not of an earlier one, has shown it
	isHTTP2    bool          // a connection has room for many small files
	retryAt    time.Time     // no connection beyond the granted number before, because of an earlier run
	penalty    time.Duration // after the next refusal
	penaltyEnd time.Time     // of the last refusal
	refusedAt  time.Time     // of the last refusal
	before     int           // connections before the refusals that share the last penalty
	proven     int           // connections that worked after a ban; 0 if there was none
}

func newLimit(ceiling, many int) limit {
	return limit{ceiling: ceiling, many: max(ceiling, many), granted: ceiling, penalty: minPenalty}
}

// refuse notes that the server has refused a connection while open others work. It returns the
// end of the penalty, or the zero time if the refusal belongs to the last one, because several
// connections were opened at once.
func (l *limit) refuse(open int, now time.Time) time.Time {
	l.granted, l.isRefusing, l.isNew, l.refusedAt = max(1, min(l.granted, open)), true, true, now
	if now.Before(l.penaltyEnd) {
		return time.Time{}
	}
	l.before = open + 1
	l.penaltyEnd = now.Add(l.penalty)
	l.penalty = min(2*l.penalty, maxPenalty)
	return l.penaltyEnd
}

// remember begins with a number that the server granted in an earlier run.
func (l *limit) remember(granted int, now time.Time) {
	l.granted, l.isRefusing, l.penalty = min(granted, l.ceiling), true, maxPenalty
	l.retryAt = now.Add(l.penalty)
}

// recover notes that the server responds again after a connection had failed since a time. If half
// of several connections or more had failed at about that time, the server may have banned us for
// their number: it then grants half of them, or as many as worked until one more was tried. Without a
// time, the network was missing, and the refusals meant nothing. recover reports whether anything has
// changed, so that the pauses for refusals must end.
func (l *limit) recover(now, since time.Time) bool {
	before, proven := l.before, l.proven
	isBan := before > 1 && l.granted <= before/2 && since.Sub(l.refusedAt).Abs() < banTime
	if !isBan && !since.IsZero() {
		return false
	}
	isHTTP2 := l.isHTTP2
	*l = newLimit(l.ceiling, l.many)
	l.isHTTP2 = isHTTP2
	if !isBan {
		return true
	}
	granted := before / 2
	if proven == before-1 {
		granted = proven
	}
	l.remember(granted, now)
	l.isNew, l.proven = true, granted
	return true
}

// useStreams notes that the host speaks HTTP/2, and reports whether that is new.
func (l *limit) useStreams() bool {
	if l.isHTTP2 {
		return false
	}
	l.isHTTP2 = true
	l.granted = max(l.granted, l.maxFirst())
	return true
}

// servedSmall notes that the host has served a small file over a connection of its own, and reports
// whether it may be asked for more of them at once. A small file holds a connection for a round trip or
// two, so more connections than for large files are no more load for the server. Each small file
// that it serves allows one more, so that their number doubles with each round trip.
func (l *limit) servedSmall() bool {
	if l.isHTTP2 || l.ceiling+l.small >= l.many {
		return false
	}
	l.small++
	return true
}

// endSmall withdraws the connections for small files (servedSmall), because the host serves a large file
// or refuses a connection.
func (l *limit) endSmall() {
	if !l.isHTTP2 {
		l.small, l.granted = 0, min(l.granted, l.ceiling)
	}
}

// maxFirst returns how many first connections of files that may be small may be in use. Over HTTP/2, these
// are streams.
func (l *limit) maxFirst() int {
	if l.isHTTP2 {
		return max(l.ceiling, maxStreams)
	}
	return l.ceiling + l.small
}
