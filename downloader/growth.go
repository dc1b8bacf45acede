package downloader

import "time"

const (
	growFreely = 4                      // so many connections, and as many again, are opened without asking whether they pay
	growSettle = 200 * time.Millisecond // after each has its first byte, until the rate tells
	growPays   = 0.1                    // of the rate from before must be added by as many connections again
	growAgain  = 2 * time.Second        // after they did not, until one more is tried
)

// A growth decides how many connections a download opens: twice as many at a time,
// as long as that pays. It is pure but for what it is told of the time. The zero
// value has one connection.
type growth struct {
	before  float64   // bytes per second of all, when it last grew; 0 if that tells nothing
	share   float64   // of the connections then, how many were opened
	ready   time.Time // since when all connections work; zero while some do not
	hold    time.Time // nothing is opened before
	holding bool      // the last ones did not pay: one at a time
}

// starting notes that some connection has not had its first byte yet.
func (g *growth) starting() { g.ready = time.Time{} }

// more returns how many connections to open beside n, which all work and bring
// rate bytes per second together.
func (g *growth) more(n int, rate float64, now time.Time) int {
	if g.ready.IsZero() {
		g.ready = now
	}
	opened := n
	switch {
	case n < growFreely:
		return n // servers are generous at first, and the rate then tells nothing
	case now.Before(g.hold) || now.Sub(g.ready) < growSettle:
		return 0
	case rate < g.before*(1+growPays*g.share):
		g.hold, g.holding = now.Add(growAgain), true
		g.before = 0
		return 0
	case g.holding:
		opened = 1
	}
	g.holding = false
	g.before, g.share = rate, float64(opened)/float64(n)
	return opened
}
