package main

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// segment is the payload in bytes of one TCP segment on Ethernet: 1,500 bytes less 40
	// bytes of IP and TCP headers. It is the unit of windows and of loss.
	segment = 1460

	// maxWindow is the limit in bytes of unacknowledged data. A receive buffer of
	// Linux's default maximum (tcp_rmem, 6 MiB) advertises half its size.
	maxWindow = 3 << 20

	// maxBurst is the limit in bytes of one packet, and burstTime is the share of its
	// rate that a connection sends in one packet. Both are guesses: a larger packet
	// makes a slow connection deliver in jerks, a smaller one costs CPU time that the
	// measured program needs.
	maxBurst  = 64 << 10
	burstTime = 4 * time.Millisecond

	// maxLateness is how late a sender may wake up without losing part of its rate. It
	// is a guess for a busy machine. Too large a value allows bursts above the rate
	// after a pause; too small a value makes the rate too low.
	maxLateness = 10 * time.Millisecond
)

// A Shape describes the network between a server and its clients. The zero value is
// plain loopback.
type Shape struct {
	RTT       time.Duration // round-trip time, half of it in each direction
	SlowStart bool          // a window starts with ten segments (RFC 6928) and doubles each RTT
	Loss      float64       // probability that a segment is lost, for example 0.005
	LinkRate  int64         // bytes per second of all connections together; 0 for no limit
	ConnRate  int64         // bytes per second of each connection; 0 for no limit
	SlowRate  int64         // bytes per second of every fifth connection; 0 for ConnRate
}

// plain reports whether connections need no relay.
func (s Shape) plain() bool { return s == Shape{} }

// ofConnections returns the part of the shape that is not of the link: the rates of single
// connections.
func (s Shape) ofConnections() Shape { return Shape{ConnRate: s.ConnRate, SlowRate: s.SlowRate} }

// rateOf returns the bytes per second of the n-th connection, counted from 0.
func (s Shape) rateOf(n int64) int64 {
	if s.SlowRate > 0 && n%5 == 4 {
		return s.SlowRate
	}
	return s.ConnRate
}

// idealTime returns the shortest time in which conns connections can deliver size
// bytes: a round trip for the TCP handshake, one for the request, one more with TLS,
// then slow start of all connections together, then the full rate. It ignores losses.
// It returns 0 if no rate is limited.
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

// totalRate returns the bytes per second of conns connections together, 0 for no limit.
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

// A limiter imitates a link of a fixed rate with a first-in-first-out queue. Each
// connection has at most one packet in the queue, so the connections take turns.
// A limiter is safe for concurrent use. A nil limiter has no limit.
type limiter struct {
	rate int64 // bytes per second

	mu     sync.Mutex
	idleAt time.Time // when all reserved bytes will have passed; guarded by mu
}

// newLimiter returns a limiter of rate bytes per second, nil if rate is 0.
func newLimiter(rate int64) *limiter {
	if rate == 0 {
		return nil
	}
	return &limiter{rate: rate}
}

// reserve queues n bytes and returns when the last of them will have passed the link.
// That time may be in the past: if the link was idle for less than maxLateness, reserve
// assumes that the sender woke up late, and credits the idle time.
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

// burstSize returns how many bytes a connection of the rate sends in one packet: the
// bytes of burstTime, at least a segment, at most maxBurst. A rate of 0 means no limit.
func burstSize(rate int64) int {
	if rate == 0 {
		return maxBurst
	}
	return min(max(int(rate*int64(burstTime)/int64(time.Second)), segment), maxBurst)
}

// A window is the congestion window of a TCP sender (RFC 5681): slow start at first, and
// after a loss one more segment per round trip.
type window struct {
	size     float64 // bytes that may be in flight
	ssthresh float64 // slow-start threshold in bytes: below it, size doubles each round trip
	inFlight int     // bytes sent and not yet acknowledged
}

// newWindow returns a window of ten segments (RFC 6928) that grows by slow start, or one
// of constant size if slowStart is false.
func newWindow(slowStart bool) *window {
	if slowStart {
		return &window{size: 10 * segment, ssthresh: math.Inf(1)}
	}
	return &window{size: maxWindow}
}

// room returns how many bytes may be sent now. It may be negative after a loss.
func (w *window) room() int { return int(w.size) - w.inFlight }

// onAck takes n acknowledged bytes out of flight and grows the window.
func (w *window) onAck(n int) {
	w.inFlight -= n
	if w.size < w.ssthresh {
		w.size += float64(n)
	} else {
		w.size += segment * float64(n) / w.size
	}
	w.size = min(w.size, maxWindow)
}

// onLoss halves the window, but not below two segments (RFC 5681, section 3.1).
func (w *window) onLoss() {
	w.size = max(w.size/2, 2*segment)
	w.ssthresh = w.size
}

// drops decides at random whether a packet of n bytes loses at least one segment.
func (s Shape) drops(n int, chance *rand.Rand) bool {
	return s.Loss > 0 && chance.Float64() > math.Pow(1-s.Loss, float64(n)/segment)
}
