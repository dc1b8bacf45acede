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
const lineLength = 1 << 12

// A relay is the network between one client and the server: what it reads of
// one it gives to the other when it would have arrived.
type relay struct {
	shape  Shape
	link   *meter // of all connections
	own    *meter // of this one
	sent   *atomic.Int64
	chance *rand.Rand // owned by down
}

// A parcel is bytes on their way.
type parcel struct {
	at time.Time // when it arrives
	b  []byte
}

// run carries bytes until both directions have ended, and closes both ends. It
// stands for the time from the client's first packet on, that of the handshake too.
func (r *relay) run(client, server net.Conn) {
	var all sync.WaitGroup
	all.Go(func() { r.up(client, server) })
	all.Go(func() { r.down(client, server) })
	all.Wait()
}

// up carries requests. The kernel has opened the connection at once; what the
// client has sent since it could only have sent a round trip later.
func (r *relay) up(client, server net.Conn) {
	defer server.Close()
	open := time.Now().Add(r.shape.RTT)
	line := make(chan parcel, lineLength)
	var delivery sync.WaitGroup
	delivery.Go(func() {
		for p := range line {
			time.Sleep(time.Until(p.at))
			server.Write(p.b) // an error is one of the reader, who goes away
		}
	})
	for b := make([]byte, maxSend); ; {
		n, err := client.Read(b)
		if err != nil {
			break
		}
		sent := time.Now()
		if sent.Before(open) {
			sent = open
		}
		line <- parcel{sent.Add(r.shape.RTT / 2), bytes.Clone(b[:n])}
	}
	close(line)
	delivery.Wait()
}

// down carries answers, within window and rates. Neither channel can fill up, as
// no more than lineLength parcels are in flight.
func (r *relay) down(client, server net.Conn) {
	defer client.Close()
	line, acks := make(chan parcel, lineLength), make(chan parcel, lineLength)
	var delivery sync.WaitGroup
	delivery.Go(func() {
		for p := range line {
			time.Sleep(time.Until(p.at))
			n, err := client.Write(p.b)
			if r.sent.Add(int64(n)); err != nil {
				server.Close() // which ends the loop below
			}
			acks <- parcel{p.at.Add(r.shape.RTT / 2), p.b}
		}
	})
	f := flight{window: newWindow(r.shape.SlowStart), acks: acks}
	most := quantum(r.own.rateOrNone())
	for b := make([]byte, most); ; {
		n, err := server.Read(b[:min(f.wait(), most)])
		if err != nil {
			break
		}
		if r.shape.loses(n, r.chance) {
			f.window.lost()
			time.Sleep(r.shape.RTT)
		}
		gone := later(r.own.pass(n), r.link.pass(n))
		time.Sleep(time.Until(gone))
		f.sent(n)
		line <- parcel{later(gone, time.Now().Add(-slack)).Add(r.shape.RTT / 2), bytes.Clone(b[:n])}
	}
	close(line)
	delivery.Wait()
}

func (m *meter) rateOrNone() int64 {
	if m == nil {
		return 0
	}
	return m.rate
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// A flight is what one connection has sent and not been told the arrival of.
type flight struct {
	window  *window
	acks    <-chan parcel
	parcels int
	next    parcel // taken from acks, not yet due; its b is nil if there is none
}

func (f *flight) sent(n int) {
	f.window.inFlight += n
	f.parcels++
}

// wait waits until there is room for a segment, or nothing in flight at all, and
// returns the room in bytes.
func (f *flight) wait() int {
	for f.parcels > 0 {
		full := f.window.room() < segment || f.parcels == lineLength
		if !f.takeAck(full) {
			break
		}
	}
	return max(f.window.room(), segment)
}

// takeAck takes one acknowledgement, for which it waits if it must, and reports
// whether there was one.
func (f *flight) takeAck(must bool) bool {
	if f.next.b == nil {
		select {
		case f.next = <-f.acks:
		default:
			if !must {
				return false
			}
			f.next = <-f.acks
		}
	}
	d := time.Until(f.next.at)
	if d > 0 && !must {
		return false
	}
	time.Sleep(d)
	f.window.acked(len(f.next.b))
	f.parcels--
	f.next = parcel{}
	return true
}
