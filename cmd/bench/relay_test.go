package main

import (
	"bufio"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// startRelay starts a relay for the n-th connection of a shape, and returns the client's
// and the server's end. all is done when the relay has ended.
func startRelay(t *testing.T, all *sync.WaitGroup, s Shape, n int64, link *limiter) (client, server net.Conn) {
	t.Helper()
	client, a := net.Pipe()
	b, server := net.Pipe()
	r := &relay{shape: s, linkLimit: link, connLimit: newLimiter(s.rateOf(n)), sent: new(atomic.Int64),
		rng: rand.New(rand.NewPCG(uint64(n), 1))}
	all.Go(func() { r.run(a, b) })
	return client, server
}

// transferTimes sends size bytes over each of conns concurrent connections, and returns
// how long each transfer took.
func transferTimes(t *testing.T, s Shape, conns int, size int64) []time.Duration {
	t.Helper()
	link := newLimiter(s.LinkRate)
	took := make([]time.Duration, conns)
	var all sync.WaitGroup
	begin := time.Now()
	for i := range conns {
		client, server := startRelay(t, &all, s, int64(i), link)
		all.Go(func() {
			io.CopyN(server, endless{}, size)
			server.Close()
		})
		all.Go(func() {
			_, err := io.CopyN(io.Discard, client, size)
			took[i] = time.Since(begin)
			if n, rest := io.Copy(io.Discard, client); n != 0 || err != nil || rest != nil {
				t.Errorf("connection %d: got %v, then %d bytes and %v; want %d bytes and no more", i, err, n, rest, size)
			}
			client.Close()
		})
	}
	all.Wait()
	return took
}

// endless is a reader without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// checkWithin fails the test if got differs from want by more than a fraction of want,
// for example 0.05.
func checkWithin(t *testing.T, what string, got, want time.Duration, fraction float64) {
	t.Helper()
	if d := (got - want).Abs(); float64(d) > fraction*float64(want) {
		t.Errorf("%s: got %v, want %v ± %.0f %%", what, got, want, fraction*100)
	}
}

func TestConnectionAndLinkRates(t *testing.T) {
	tests := []struct {
		name  string
		shape Shape
		conns int
		size  int64 // bytes per connection
		want  time.Duration
	}{
		{"one connection", Shape{ConnRate: 4 * mega}, 1, 8 * mega, 2 * time.Second},
		{"16 connections", Shape{ConnRate: 4 * mega}, 16, 2 * mega, time.Second / 2},
		{"one on a link", Shape{LinkRate: gigabit}, 1, 50 * mega, 400 * time.Millisecond},
		{"16 on a link", Shape{LinkRate: gigabit}, 16, 5 * mega, 640 * time.Millisecond},
		{"16 connections faster than the link", Shape{ConnRate: 10 * mega, LinkRate: 80 * mega}, 16, 5 * mega, time.Second},
		{"long round trip", Shape{RTT: 20 * time.Millisecond, ConnRate: 4 * mega}, 1, 8 * mega, 2010 * time.Millisecond},
		{"slow connection", Shape{ConnRate: 200_000}, 1, 200_000, time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, took := range transferTimes(t, test.shape, test.conns, test.size) {
					checkWithin(t, "time of each", took, test.want, 0.05)
				}
			})
		})
	}
}

func TestEveryFifthIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took := transferTimes(t, Shape{ConnRate: 10 * mega, SlowRate: 200_000}, 10, mega)
		for i, d := range took {
			want := 100 * time.Millisecond
			if i == 4 || i == 9 {
				want = 5 * time.Second
			}
			checkWithin(t, "time", d, want, 0.05)
		}
	})
}

func TestRoundTrip(t *testing.T) {
	const rtt = 80 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		var all sync.WaitGroup
		client, server := startRelay(t, &all, Shape{RTT: rtt, SlowStart: true}, 0, nil)
		all.Go(func() { // echoes each line
			for r := bufio.NewReader(server); ; {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				io.WriteString(server, line)
			}
		})
		r := bufio.NewReader(client)
		for i, want := range []time.Duration{2 * rtt, rtt, rtt} { // the first exchange includes the handshake
			begin := time.Now()
			io.WriteString(client, "ask\n")
			if line, err := r.ReadString('\n'); line != "ask\n" || err != nil {
				t.Fatalf("response: got %q and %v", line, err)
			}
			if d := time.Since(begin) - want; d.Abs() > 2*time.Millisecond {
				t.Errorf("exchange %d: took %v more than %v", i, d, want)
			}
		}
		client.Close()
		all.Wait()
	})
}

// TestSlowStart checks that ten segments are sent in the first round trip, and twice as
// many in each further one.
func TestSlowStart(t *testing.T) {
	const rtt = 100 * time.Millisecond
	for _, test := range []struct {
		segments int64
		want     time.Duration
	}{
		{10, rtt / 2}, {11, rtt/2 + rtt}, {30, rtt/2 + rtt}, {31, rtt/2 + 2*rtt}, {70, rtt/2 + 2*rtt}, {310, rtt/2 + 4*rtt},
	} {
		synctest.Test(t, func(t *testing.T) {
			got := transferTimes(t, Shape{RTT: rtt, SlowStart: true}, 1, test.segments*segment)[0]
			if d := got - test.want; d.Abs() > 2*time.Millisecond {
				t.Errorf("%d segments: got %v, want %v", test.segments, got, test.want)
			}
		})
	}
}

// TestWindowLimitsThroughput checks that a single connection delivers at most one window
// per round trip, and that 16 connections come near the ideal time.
func TestWindowLimitsThroughput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := transferTimes(t, wan, 1, 64*mib)[0]
		checkWithin(t, "one connection", got, 64*mib/maxWindow*wan.RTT+7*wan.RTT, 0.05)
	})
	synctest.Test(t, func(t *testing.T) {
		var last time.Duration
		for _, d := range transferTimes(t, wan, 16, 8*mib) {
			last = max(last, d)
		}
		// idealTime includes handshake, request and the way back of the last
		// acknowledgement, together 1.5 round trips, which transferTimes does not need.
		checkWithin(t, "16 connections", last, wan.idealTime(128*mib, 16, false)-wan.RTT*3/2, 0.05)
	})
}

// TestLossLimitsThroughput compares the rate of a lossy connection with the formula of
// Mathis et al.: segment/RTT * sqrt(3/2)/sqrt(loss), which is 316,000 bytes per second
// here. The pauses after losses make the relay slower.
func TestLossLimitsThroughput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Shape{RTT: 80 * time.Millisecond, SlowStart: true, Loss: 0.005}
		const size = 4 * mega
		rate := size / transferTimes(t, s, 1, size)[0].Seconds()
		if rate < 150_000 || rate > 350_000 {
			t.Errorf("rate: got %.0f bytes per second, want 150,000 to 350,000", rate)
		}
	})
}

// TestRelayClosesBothEnds checks that the relay ends and closes the other connection,
// whichever side closes first.
func TestRelayClosesBothEnds(t *testing.T) {
	for _, clientFirst := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var all sync.WaitGroup
			first, second := startRelay(t, &all, wan, 0, nil)
			if !clientFirst {
				first, second = second, first
			}
			first.Close()
			if n, err := second.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("read: got %d and %v, want EOF", n, err)
			}
			second.Close()
			all.Wait()
		})
	}
}

func TestWindow(t *testing.T) {
	w := newWindow(true)
	if w.room() != 10*segment {
		t.Errorf("room at first: got %d, want %d", w.room(), 10*segment)
	}
	w.inFlight = 10 * segment
	w.onAck(10 * segment)
	if w.room() != 20*segment {
		t.Errorf("room after a round trip: got %d, want %d", w.room(), 20*segment)
	}
	w.onLoss()
	if w.room() != 10*segment {
		t.Errorf("room after a loss: got %d, want %d", w.room(), 10*segment)
	}
	w.inFlight = 10 * segment
	w.onAck(10 * segment)
	if w.room() != 11*segment {
		t.Errorf("room a round trip after the loss: got %d, want %d", w.room(), 11*segment)
	}
	for range 10 {
		w.onLoss()
	}
	if w.room() != 2*segment {
		t.Errorf("room after many losses: got %d, want %d", w.room(), 2*segment)
	}
}

func TestIdealTime(t *testing.T) {
	tests := []struct {
		shape Shape
		size  int64
		conns int
		tls   bool
		want  time.Duration
	}{
		{Shape{}, gib, 16, false, 0},
		{Shape{ConnRate: 4 * mega, LinkRate: 100 * mega}, 512 * mega, 16, false, 8 * time.Second},
		{Shape{ConnRate: 4 * mega, LinkRate: 100 * mega}, 500 * mega, 32, false, 5 * time.Second},
		{Shape{ConnRate: 10 * mega, RTT: 20 * time.Millisecond}, 30 * mega, 3, false, 1040 * time.Millisecond},
		{Shape{ConnRate: 10 * mega, RTT: 20 * time.Millisecond}, 30 * mega, 3, true, 1060 * time.Millisecond},
	}
	for _, test := range tests {
		if got := test.shape.idealTime(test.size, test.conns, test.tls); (got - test.want).Abs() > time.Microsecond {
			t.Errorf("%+v, %d bytes, %d connections: got %v, want %v", test.shape, test.size, test.conns, got, test.want)
		}
	}
}
