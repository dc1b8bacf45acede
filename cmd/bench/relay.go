package main

import (
	"bytes"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// maxPackets is how many packets of one direction may be in transit. The window of
// maxWindow bytes holds about 2,150 segments, so 4,096 packets never limit a connection.
const maxPackets = 1 << 12

// A relay imitates the network between one client and the server. It reads from one
// side and writes the bytes to the other side when they would have arrived.
type relay struct {
	shape     Shape
	linkLimit *limiter      // shared by all connections of the server
	connLimit *limiter      // this connection's own
	sent      *atomic.Int64 // counts the bytes written to the client
	rng       *rand.Rand    // owned by carryResponses
}

// A packet is bytes in transit. It may be larger than a TCP segment.
type packet struct {
	arrival time.Time
	data    []byte
}

// run carries bytes until both directions have ended, and closes both connections. It
// imitates the TCP handshake, too, by delaying the first request by a round trip.
func (r *relay) run(client, server net.Conn) {
	var all sync.WaitGroup
	all.Go(func() { r.carryRequests(client, server) })
	all.Go(func() { r.carryResponses(client, server) })
	all.Wait()
}

// carryRequests carries bytes from the client to the server, without rate limits. Over
// loopback the kernel opens the connection at once. A real client can send its first
// byte only a round trip after it dialed, so earlier bytes count as sent then.
func (r *relay) carryRequests(client, server net.Conn) {
	defer server.Close()
	open := time.Now().Add(r.shape.RTT)
	line := make(chan packet, maxPackets)
	var delivery sync.WaitGroup
	delivery.Go(func() {
		for p := range line {
			time.Sleep(time.Until(p.arrival))
			server.Write(p.data) // an error means that the server has closed, which also ends carryResponses
		}
	})
	for b := make([]byte, maxBurst); ; {
		n, err := client.Read(b)
		if err != nil {
			break
		}
		sent := time.Now()
		if sent.Before(open) {
			sent = open
		}
		line <- packet{sent.Add(r.shape.RTT / 2), bytes.Clone(b[:n])}
	}
	close(line)
	delivery.Wait()
}

// carryResponses carries bytes from the server to the client, within the congestion
// window and the rate limits. The channels never block their writers, because at most
// maxPackets packets are in flight. A loss halves the window and pauses the connection
// for a round trip, in which a real sender would retransmit.
func (r *relay) carryResponses(client, server net.Conn) {
	defer client.Close()
	line, acks := make(chan packet, maxPackets), make(chan packet, maxPackets)
	var delivery sync.WaitGroup
	delivery.Go(func() {
		for p := range line {
			time.Sleep(time.Until(p.arrival))
			n, err := client.Write(p.data)
			if r.sent.Add(int64(n)); err != nil {
				server.Close() // makes the Read below fail, which ends its loop
			}
			acks <- packet{p.arrival.Add(r.shape.RTT / 2), p.data}
		}
	})
	f := flight{window: newWindow(r.shape.SlowStart), acks: acks}
	most := burstSize(r.connLimit.rateOrZero())
	for b := make([]byte, most); ; {
		n, err := server.Read(b[:min(f.waitForRoom(), most)])
		if err != nil {
			break
		}
		if r.shape.drops(n, r.rng) {
			f.window.onLoss()
			time.Sleep(r.shape.RTT)
		}
		gone := laterOf(r.connLimit.reserve(n), r.linkLimit.reserve(n))
		time.Sleep(time.Until(gone))
		f.sent(n)
		line <- packet{laterOf(gone, time.Now().Add(-maxLateness)).Add(r.shape.RTT / 2), bytes.Clone(b[:n])}
	}
	close(line)
	delivery.Wait()
}

// rateOrZero returns the rate of the limiter, or 0 for a nil limiter.
func (m *limiter) rateOrZero() int64 {
	if m == nil {
		return 0
	}
	return m.rate
}

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// A flight is the packets of one connection that are sent and not yet acknowledged.
type flight struct {
	window  *window
	acks    <-chan packet
	packets int
	nextAck packet // received from acks before its arrival time; data is nil if there is none
}

// sent records a packet of n bytes as in flight.
func (f *flight) sent(n int) {
	f.window.inFlight += n
	f.packets++
}

// waitForRoom waits until the window has room for a segment or nothing is in flight,
// and returns how many bytes may be sent, at least one segment.
func (f *flight) waitForRoom() int {
	for f.packets > 0 {
		full := f.window.room() < segment || f.packets == maxPackets
		if !f.takeAck(full) {
			break
		}
	}
	return max(f.window.room(), segment)
}

// takeAck processes the next acknowledgement if it has arrived. If must is set it waits
// for one; a packet must be in flight then, or it waits forever. It reports whether it
// processed one.
func (f *flight) takeAck(must bool) bool {
	if f.nextAck.data == nil {
		select {
		case f.nextAck = <-f.acks:
		default:
			if !must {
				return false
			}
			f.nextAck = <-f.acks
		}
	}
	d := time.Until(f.nextAck.arrival)
	if d > 0 && !must {
		return false
	}
	time.Sleep(d)
	f.window.onAck(len(f.nextAck.data))
	f.packets--
	f.nextAck = packet{}
	return true
}
