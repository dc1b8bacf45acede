package main

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	segment     = 1460    // bytes of one TCP segment, the unit of windows and loss
	maxWindow   = 3 << 20 // bytes in flight, as a receive buffer of Linux's default size allows
	maxBurst    = 64 << 10
	burstTime   = 4 * time.Millisecond  // how much of its rate a connection sends at once
	maxLateness = 10 * time.Millisecond // how late a sender may wake without losing its rate
)

// A Shape is how the network between a server and its clients behaves. The zero
// value is the plain loopback.
type Shape struct {
	RTT       time.Duration // half of it in each direction
	SlowStart bool          // windows begin with ten segments and double each RTT
	Loss      float64       // probability of a loss, per segment
	LinkRate  int64         // bytes per second of all connections together; 0 for no limit
	ConnRate  int64         // bytes per second of each connection; 0 for no limit
	SlowRate  int64         // bytes per second of every fifth connection; 0 for ConnRate
}

// plain reports whether connections need no relay.
func (s Shape) plain() bool { return s == Shape{} }

// rateOf returns the rate of the n-th connection, counted from 0.
func (s Shape) rateOf(n int64) int64 {
	if s.SlowRate > 0 && n%5 == 4 {
		return s.SlowRate
	}
	return s.ConnRate
}

// ideal returns the shortest time in which conns connections can bring size
// bytes: the round trips of handshake (two with TLS) and request, slow start of
// all at once, then the full rate. It knows no loss. It is 0 where nothing limits.
func (s Shape) idealTime(size int64, conns int, tls bool) time.Duration {
	rate := s.totalRate(conns)
	if rate == 0 {
		return 0
	}
	t := 2 * s.RTT
	if tls {
		t += s.RTT
	}
	left := float64(size)
	for window := float64(10 * segment * conns); s.SlowStart && s.RTT > 0; window *= 2 {
		if window >= rate*s.RTT.Seconds() || window >= left {
			break
		}
		left -= window
		t += s.RTT
	}
	return t + time.Duration(left/rate*float64(time.Second))
}

// total returns the bytes per second of conns connections, 0 for no limit.
func (s Shape) totalRate(conns int) float64 {
	var sum float64
	for n := range int64(conns) {
		sum += float64(s.rateOf(n))
	}
	if link := float64(s.LinkRate); link > 0 && (sum == 0 || link < sum) {
		return link
	}
	return sum
}

// A meter is a line of a fixed rate, on which bytes queue up in the order in
// which they ask. As each connection has one request at a time in the queue, all
// get their turns. It may be used by several at once; a nil meter has no limit.
type limiter struct {
	rate int64 // bytes per second

	mu     sync.Mutex
	idleAt time.Time // when all that has asked has passed; guarded by mu
}

func newLimiter(rate int64) *limiter {
	if rate == 0 {
		return nil
	}
	return &limiter{rate: rate}
}

// pass returns when n bytes that come now have passed, which may be in the past:
// a line that was idle for less than slack makes up for it, as who comes so late
// was woken late.
func (m *limiter) reserve(n int) time.Time {
	now := time.Now()
	if m == nil {
		return now
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.idleAt.Before(now.Add(-maxLateness)) {
		m.idleAt = now
	}
	m.idleAt = m.idleAt.Add(time.Duration(float64(n) / float64(m.rate) * float64(time.Second)))
	return m.idleAt
}

// quantum returns how many bytes a connection of that rate sends at once.
func burstSize(rate int64) int {
	if rate == 0 {
		return maxBurst
	}
	return min(max(int(rate*int64(burstTime)/int64(time.Second)), segment), maxBurst)
}

// A window is how much a connection may have in flight: that of a sender of TCP,
// with slow start and, after a loss, one segment more each round trip.
type window struct {
	size     float64 // bytes
	ssthresh float64 // bytes up to which it doubles each round trip
	inFlight int     // bytes sent and not yet acknowledged
}

func newWindow(slowStart bool) *window {
	if slowStart {
		return &window{size: 10 * segment, ssthresh: math.Inf(1)}
	}
	return &window{size: maxWindow}
}

// room returns how many bytes may be sent now.
func (w *window) room() int { return int(w.size) - w.inFlight }

// acked takes n bytes out of flight.
func (w *window) onAck(n int) {
	w.inFlight -= n
	if w.size < w.ssthresh {
		w.size += float64(n)
	} else {
		w.size += segment * float64(n) / w.size
	}
	w.size = min(w.size, maxWindow)
}

// lost halves the window, down to two segments.
func (w *window) onLoss() {
	w.size = max(w.size/2, 2*segment)
	w.ssthresh = w.size
}

// loses says by chance whether one of n bytes was lost.
func (s Shape) drops(n int, chance *rand.Rand) bool {
	return s.Loss > 0 && chance.Float64() > math.Pow(1-s.Loss, float64(n)/segment)
}
