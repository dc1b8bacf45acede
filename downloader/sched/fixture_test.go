package sched

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"pawl/chunk"
)

const (
	kB = int64(1000)
	mB = 1000 * kB
	ms = time.Millisecond
)

// epoch is the time at which tests begin. No test reads a clock.
var epoch = time.Unix(1e9, 0)

// A gate is a Gate whose properties a test chooses.
type gate struct {
	ceiling   int  // connections that it grants
	fair      int  // share of the download; 0 for the ceiling
	overShare bool // another download has no connection
	wanted    bool // another download needs one, if that has more than one
	owed      int  // connections that other processes need
	owedLast  bool // and also the only one of a download
	queued    bool // a connection waits for a slot
	closedAt  time.Time

	joined, open int // counted
}

func (g *gate) Join()          { g.joined++ }
func (g *gate) Leave()         { g.joined-- }
func (g *gate) Adopt()         { g.open++ }
func (g *gate) Release()       { g.open-- }
func (g *gate) Downloads() int { return max(1, g.joined) }
func (g *gate) FairShare() int { return cmp.Or(g.fair, g.ceiling) }
func (g *gate) OverShare() bool {
	return g.overShare
}
func (g *gate) Wanted(mine int) bool { return g.wanted && mine > 1 }
func (g *gate) Queued() bool         { return g.queued }

func (g *gate) TryOpen(now time.Time) bool {
	if g.open >= g.ceiling || now.Before(g.closedAt) {
		return false
	}
	g.open++
	return true
}

func (g *gate) MustRelease(last bool) bool {
	if g.owed == 0 || last && !g.owedLast {
		return false
	}
	g.owed--
	return true
}

// A member is a connection as a test wants it.
type member struct {
	bytes   int64         // of its claim, 1 MiB at most; 0 for none
	rate    float64       // measured bytes per second, 2e6 at most; 0 for not measured
	silent  time.Duration // since its last byte, or its request
	noReply bool          // its request is sent, and has no response
}

// A fixture is a Scheduler with connections in a certain condition at a certain time, which
// has been brought there by events alone.
type fixture struct {
	t     *testing.T
	s     *Scheduler
	gate  *gate
	src   *Source
	now   time.Time
	conns []*Conn
	stops []Reason // of each connection, the last one
}

// newFixture returns a fixture of these members. Each measures its rate with some bytes of its
// own, then the claims follow, those of the most silent members first, and then free
// unclaimed bytes. A held byte separates the runs, so that each claim is exactly one run.
func newFixture(t *testing.T, free int64, members ...member) *fixture {
	t.Helper()
	f := &fixture{t: t, gate: &gate{ceiling: 16, open: len(members)}, now: epoch.Add(time.Hour), stops: make([]Reason, len(members))}
	order := make([]int, len(members)) // in which they get their claims
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(members[b].silent - members[a].silent) })
	var held chunk.Set
	size := int64(0)
	run := func(n int64) {
		if n > 0 {
			held.Add(chunk.Range{Off: size + n, End: size + n + 1})
			size += n + 1
		}
	}
	for _, m := range members {
		run(int64(m.rate * rateWindow.Seconds()))
	}
	for _, i := range order {
		run(members[i].bytes)
	}
	run(free)
	f.src = &Source{Gate: f.gate}
	f.s = New(chunk.NewPlan(size, held), f.src, Options{TrickleTimeout: 10 * time.Second})
	for i, m := range members {
		warmUp := int64(m.rate * rateWindow.Seconds())
		c := f.s.Begin(warmUp, Response{BodyEnd: size}, f.stop(i), epoch)
		if f.conns = append(f.conns, c); warmUp > 0 {
			c.Received(int(warmUp), epoch.Add(rateWindow))
			c.Written(warmUp)
		}
		c.Release()
	}
	f.s.reservedTo = 0 // as if the first of them were not under way any more
	for _, i := range order {
		m, at := members[i], f.now.Add(-members[i].silent)
		if m.bytes == 0 {
			continue
		}
		if !f.conns[i].Next(at) || f.conns[i].Remaining().Len() != m.bytes {
			t.Fatalf("member %d has %v, want %d bytes", i, f.conns[i].Remaining(), m.bytes)
		}
		f.request(i, at)
		if !m.noReply {
			f.conns[i].Responded(Response{BodyEnd: size}, at)
		}
	}
	return f
}

// request begins a request of connection i, and sends it.
func (f *fixture) request(i int, at time.Time) {
	f.stops[i] = 0
	f.conns[i].Requesting(f.stop(i), at)
	f.conns[i].Sent(at)
}

func (f *fixture) stop(i int) func(Reason) {
	return func(r Reason) { f.stops[i] = r }
}

// tick calls Tick, and returns how many connections it opened.
func (f *fixture) tick(now time.Time) (opened int) {
	f.s.Tick(now, Limit{}, func(c *Conn) {
		opened++
		f.conns, f.stops = append(f.conns, c), append(f.stops, 0)
	})
	return opened
}

// wantStops compares the reasons for which the connections were stopped.
func (f *fixture) wantStops(name string, want ...Reason) {
	f.t.Helper()
	if got := f.stops[:len(want)]; !slices.Equal(got, want) {
		f.t.Errorf("%s: got stops %v, want %v", name, got, want)
	}
}

// wantConns compares the number of connections with those that are counted.
func (f *fixture) wantConns(name string, want int) {
	f.t.Helper()
	if got := f.s.Snapshot().Conns; got != want || f.gate.open != want {
		f.t.Errorf("%s: got %d connections, %d counted, want %d", name, got, f.gate.open, want)
	}
}
