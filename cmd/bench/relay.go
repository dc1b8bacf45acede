package main

import (
	"bytes"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// lineLength is how many parcels are on their way at most, in one direction.
const maxPackets = 1 << 12

// A relay is the network between one client and the server: what it reads of
// one it gives to the other when it would have arrived.
type relay struct {
	shape     Shape
	linkLimit *limiter // of all connections
	connLimit *limiter // of this one
	sent      *atomic.Int64
	rng       *rand.Rand // owned by down
}

// A parcel is bytes on their way.
type packet struct {
	arrival time.Time // when it arrives
	data    []byte
}

// run carries bytes until both directions have ended, and closes both ends. It
// stands for the time from the client's first packet on, that of the handshake too.
func (r *relay) run(client, server net.Conn) {
	var all sync.WaitGroup
	all.Go(func() { r.carryRequests(client, server) })
	all.Go(func() { r.carryResponses(client, server) })
	all.Wait()
}

// up carries requests. The kernel has opened the connection at once; what the
// client has sent since it could only have sent a round trip later.
func (r *relay) carryRequests(client, server net.Conn) {
	defer server.Close()
	open := time.Now().Add(r.shape.RTT)
	line := make(chan packet, maxPackets)
	var delivery sync.WaitGroup
	delivery.Go(func() {
		for p := range line {
			time.Sleep(time.Until(p.arrival))
			server.Write(p.data) // an error is one of the reader, who goes away
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

// down carries answers, within window and rates. Neither channel can fill up, as
// no more than lineLength parcels are in flight.
func (r *relay) carryResponses(client, server net.Conn) {
	defer client.Close()
	line, acks := make(chan packet, maxPackets), make(chan packet, maxPackets)
	var delivery sync.WaitGroup
	delivery.Go(func() {
		for p := range line {
			time.Sleep(time.Until(p.arrival))
			n, err := client.Write(p.data)
			if r.sent.Add(int64(n)); err != nil {
				server.Close() // which ends the loop below
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

// A flight is what one connection has sent and not been told the arrival of.
type flight struct {
	window  *window
	acks    <-chan packet
	packets int
	nextAck packet // taken from acks, not yet due; its b is nil if there is none
}

func (f *flight) sent(n int) {
	f.window.inFlight += n
	f.packets++
}

// wait waits until there is room for a segment, or nothing in flight at all, and
// returns the room in bytes.
func (f *flight) waitForRoom() int {
	for f.packets > 0 {
		full := f.window.room() < segment || f.packets == maxPackets
		if !f.takeAck(full) {
			break
		}
	}
	return max(f.window.room(), segment)
}

// takeAck takes one acknowledgement, for which it waits if it must, and reports
// whether there was one.
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
