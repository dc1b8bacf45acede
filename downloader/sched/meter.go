package sched

import "time"

const (
	// rateWindow is the time over which a rate is measured. At half, bursts of a shaped connection
	// look like changes. Measured: at double, 40 MiB at 4 MB/s per connection take 10 to 20 % longer,
	// because the end of the file waits for connections that have become slow.
	rateWindow = 250 * time.Millisecond
	// minAge and minAgeTrips (round trips) are the shortest time after which the rate of a
	// new connection is believed, because TCP slow start makes it low before. Guesses. At
	// half, new connections lose bytes to others too early; at double, they are unknown for
	// most of a short file.
	minAge      = 100 * time.Millisecond
	minAgeTrips = 4
	// changeFactor is how many times higher or lower than before a rate must be to be
	// believed at once, without smoothing. A guess, greater than the noise of TCP on a lossy
	// path. At half (1), nothing is smoothed; at double, a new bottleneck takes several
	// windows to be noticed.
	changeFactor = 2
	// rateHistory is the weight of earlier windows beside the newest. A guess: at half,
	// rates follow the noise; at double (1), they never change.
	rateHistory = 0.5
	// minRate in bytes per second is the rate below which a connection trickles. A guess
	// far below a modem. At half, a server can hold a connection for almost nothing; at
	// double, nothing changes for any honest server.
	minRate = 1 << 10
)

// A meter measures the rate of one connection in windows of rateWindow.
type meter struct {
	rate           float64 // bytes per second of the last windows; 0 if unknown
	windowStart    time.Time
	windowBytes    int64
	tricklingSince time.Time // start of the first window below minRate; zero if the last was not
}

// restart begins a new window.
func (m *meter) restart(now time.Time) { m.windowStart, m.windowBytes = now, 0 }

// isNew reports whether nothing has been measured yet.
func (m *meter) isNew() bool { return m.rate == 0 && m.windowBytes == 0 }

// add notes n received bytes, and reports whether a window has ended with them.
func (m *meter) add(n int, now time.Time) bool {
	m.windowBytes += int64(n)
	d := now.Sub(m.windowStart)
	if d < rateWindow {
		return false
	}
	rate := float64(m.windowBytes) / d.Seconds()
	if rate >= minRate {
		m.tricklingSince = time.Time{}
	} else if m.tricklingSince.IsZero() {
		m.tricklingSince = m.windowStart
	}
	if m.rate > 0 && !hasChanged(rate, m.rate) {
		rate = rateHistory*m.rate + (1-rateHistory)*rate
	}
	m.rate = rate
	m.restart(now)
	return true
}

// rateAt returns the rate in bytes per second, 0 if the connection is too new. The open
// window counts if it differs clearly from the earlier ones. A silent window does not:
// the length of the silence says more, and Conn.timeLeft takes it into account.
func (m *meter) rateAt(now time.Time, rtt time.Duration) float64 {
	d := now.Sub(m.windowStart)
	lately := float64(m.windowBytes) / d.Seconds()
	switch {
	case m.windowBytes == 0:
		return m.rate
	case m.rate == 0 && d > max(minAge, minAgeTrips*rtt):
		return lately
	case m.rate > 0 && d > rateWindow/2 && hasChanged(lately, m.rate):
		return lately
	}
	return m.rate
}

// earlyRate is rateAt with an estimate for very new connections. lastByte is the time of
// the last byte.
func (m *meter) earlyRate(lastByte, now time.Time, rtt time.Duration) float64 {
	if d := lastByte.Sub(m.windowStart); m.rate == 0 && d > TickInterval/2 {
		return float64(m.windowBytes) / d.Seconds()
	}
	return m.rateAt(now, rtt)
}

// hasChanged reports whether a rate is so far from the one before that it is believed at once.
func hasChanged(rate, before float64) bool {
	return rate*changeFactor < before || rate > before*changeFactor
}
