package downloader

import (
	"cmp"
	"time"
)

const (
	growFirst  = 4                      // connections that are opened when there is an answer
	growFreely = 8                      // so many are opened without asking whether they pay, at once where the way is far
	growFast   = 4 << 20                // bytes of each connection by then: these are fast enough to be asked
	growLeast  = 16 << 10               // bytes of each connection that tell its rate
	growSlow   = 3 * time.Second        // or this long
	growBusy   = 200 << 20              // bytes per second, at which the machine has its share in the rate
	growCalm   = 500 * time.Millisecond // until such a rate tells
	growSettle = 80 * time.Millisecond  // least, after all have their first bytes, until their rate tells
	growTrips  = 2                      // least number of round trips until it does
	growPays   = 0.1                    // of the rate must be added by as many connections again
	growAgain  = 2 * time.Second        // after some did not pay, until others are tried; doubling
	growRarely = time.Minute            // most of it
	growFallen = 1.4                    // times less than before is a rate that tells that something has changed
)

// A growth decides how many connections a download has to one source: twice as many
// at a time as long as their rate together rises, and back to as many as there were
// where it did not. It is pure but for what it is told of the time.
type growth struct {
	tls   bool          // the connections are of TLS
	start int           // how many to begin with, as far as is known
	most  int           // how many there should be at most; 0 for any number
	best  int           // the most that have paid; 0 unknown
	trip  time.Duration // least time that an answer took; 0 unknown
	wait  time.Duration // time that answers took of late, mostly; 0 unknown

	since  time.Time     // when the window began: all connections worked; zero while some do not
	bytes  int64         // that had come by then
	tried  int           // how many there were before those that are on trial; 0 for no trial
	before float64       // bytes per second of these
	early  bool          // which is measured while those on trial are opened
	hold   time.Time     // no trial before
	again  time.Duration // the length of that
}

// answered notes how long an answer took, from the request to its first byte; 0 if
// that is not known.
func (g *growth) answered(took time.Duration) {
	if took > 0 {
		g.trip, g.wait = min(took, cmp.Or(g.trip, took)), (took+cmp.Or(g.wait, took))/2
	}
}

// settle returns how long a rate has to be measured until it tells.
func (g *growth) settle() time.Duration { return max(growSettle, growTrips*g.trip) }

// far reports whether it takes long until a new connection works.
func (g *growth) far() bool { return growTrips*g.trip >= growSettle }

// more returns how many connections to open beside n, on which so many bytes have
// come since the beginning. On working of them something has come at all.
func (g *growth) more(n, working int, bytes int64, now time.Time) int {
	switch {
	case g.early && working > g.tried:
		g.before, g.early, g.since = float64(bytes-g.bytes)/now.Sub(g.since).Seconds(), false, time.Time{}
	case g.early && n <= g.tried: // there is no room for others
		g.start, g.tried, g.early = n, 0, false
	case g.early:
		return 0
	}
	if working < n {
		g.since = time.Time{}
		return 0
	}
	if g.since.IsZero() {
		g.since, g.bytes = now, bytes
	}
	if n < g.start {
		return g.open(g.start - n)
	}
	fresh, far := g.start == 0 && g.tried == 0 && g.most == 0, g.far()
	if came, d := bytes-g.bytes, now.Sub(g.since); g.tls && n == 1 {
		if d == 0 {
			came, d = bytes, growEvery // the first look, which is no later
		}
		fresh = fresh && float64(came) <= growBusy*d.Seconds() // else deciphering is the limit: each one has to pay
	}
	if fresh && n < growFirst && !far {
		return g.open(growFirst - n)
	} else if fresh && far && n < growFreely {
		return g.open(growFreely - n)
	} else if fresh && n < growFreely && bytes < int64(n)*growFast {
		return g.open(min(n, growFreely-n)) // they are slow, cheap, and a rate that young tells nothing
	} else if fresh && far && bytes < int64(n)*growFast { // what they bring is measured meanwhile
		g.tried, g.early = n, true
		return n
	}
	d := now.Sub(g.since)
	if d < g.settle() || d < growSlow && bytes-g.bytes < int64(n)*growLeast {
		return 0
	}
	rate := float64(bytes-g.bytes) / d.Seconds()
	if rate > growBusy && d < growCalm {
		return 0
	}
	g.since, g.bytes = now, bytes
	if g.tried > 0 && n > g.tried {
		return g.judge(n, rate, now)
	}
	if now.Before(g.hold) && rate > g.before/growFallen {
		return 0
	}
	return g.try(n, rate)
}

// judge says whether those beyond the tried ones have paid, and then what is next.
func (g *growth) judge(n int, rate float64, now time.Time) int {
	added := min(1, float64(n-g.tried)/float64(g.tried))
	if rate >= g.before*(1+growPays*added) {
		g.best, g.again = n, 0
		return g.try(n, rate)
	}
	g.best, g.most = g.tried, g.tried
	g.again = min(max(growAgain, 2*g.again), growRarely)
	g.hold, g.tried = now.Add(g.again), 0
	return 0
}

// silent notes that connections beyond n were opened and got no answer, while these did:
// they did not pay.
func (g *growth) silent(n int, now time.Time) {
	g.most, g.tried, g.early, g.hold = n, 0, false, now.Add(max(growAgain, g.again))
}

// try puts as many connections again on trial, or half as many after some that did
// not pay.
func (g *growth) try(n int, rate float64) int {
	more := n
	if g.again > 0 {
		more = max(1, n/2)
	}
	g.tried, g.before, g.most = n, rate, 0
	return g.open(more)
}

// open begins a new window with n more connections.
func (g *growth) open(n int) int {
	g.since = time.Time{}
	return n
}

// enough reports whether n connections are as many as pay.
func (g *growth) enough(n int) bool { return g.most > 0 && n >= g.most }

// tooMany reports whether n connections are more than have paid.
func (g *growth) tooMany(n int) bool { return g.most > 0 && n > g.most }
