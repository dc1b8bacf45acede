package sched

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pawl/chunk"
)

// This file is a model of a download, with a virtual clock: servers with a distance and rates,
// and callers that drive connections as package downloader does. Its tests show how much each
// rule gains, by comparing two worlds: one in which the rule applies, and one in which it cannot.

// modelStep is the resolution of the clock.
const modelStep = 5 * time.Millisecond

// A server is a source of the model.
type server struct {
	gate
	rtt       time.Duration
	rate      func(nth int) float64       // bytes per second of the nth TCP connection, from 0 on
	link      float64                     // bytes per second of all connections; 0 for no limit
	responds  func(nth int) time.Duration // time of the server for the nth request; negative for never; nil for none
	refuses   func(nth int) bool          // the nth request is refused; nil for none
	grants    int                         // TCP connections at once; requests over others have no response; 0 for no limit
	conns     int                         // TCP connections so far
	requests  int
	stopped   map[Reason]int
	delivered int64 // bytes that arrived in claims
}

// steady returns the rate of each connection: the last one given is that of all that follow.
func steady(rates ...float64) func(int) float64 {
	return func(nth int) float64 { return rates[min(nth, len(rates)-1)] }
}

// phase is what the goroutine of a connection does.
type phase int

const (
	wantsWork phase = iota
	connects
	awaits
	reads
	pauses
)

// A line is the goroutine of a connection, and its TCP connection.
type line struct {
	c       *Conn
	phase   phase
	until   time.Time // of the phase, except of reads
	open    bool      // the TCP connection
	isNew   bool      // it was opened for this request
	hangs   bool      // it has no responses
	rate    float64   // of the TCP connection
	credit  float64   // fraction of a byte that has arrived
	bodyEnd int64
	took    time.Duration
	refused bool
	stop    Reason
}

// A world runs lines until the file is complete.
type world struct {
	t     *testing.T
	s     *Scheduler
	now   time.Time
	size  int64
	lines []*line
	limit Limit
	got   chunk.Set // bytes that were kept
}

// newWorld returns a world with one connection to the first server, which sends the whole file
// in answer to its first request.
func newWorld(t *testing.T, size int64, servers ...*server) *world {
	w := &world{t: t, now: epoch, size: size}
	for i, srv := range servers {
		srv.stopped = make(map[Reason]int)
		src := &Source{Gate: srv, Tag: srv}
		if i > 0 {
			w.s.Add(src)
			continue
		}
		srv.open = 1
		w.s = New(chunk.NewPlan(size, chunk.Set{}), src, Options{TrickleTimeout: 10 * time.Second})
		l := &line{phase: reads, open: true, rate: srv.rate(0), bodyEnd: size}
		srv.conns, srv.requests = 1, 1
		l.c = w.s.Begin(size, Response{BodyEnd: size, Took: srv.rtt, NewConn: true}, w.stopper(l), w.now)
		w.lines = append(w.lines, l)
	}
	return w
}

func (w *world) stopper(l *line) func(Reason) {
	return func(r Reason) {
		if l.stop == 0 {
			l.stop = r
		}
	}
}

// of returns the server of a line.
func (w *world) of(l *line) *server { return l.c.Source().Tag.(*server) }

// run returns how long the download takes, up to an hour.
func (w *world) run() time.Duration {
	w.t.Helper()
	for tick := w.now; !w.s.Snapshot().Done; w.now = w.now.Add(modelStep) {
		if w.now.Sub(epoch) > time.Hour || len(w.lines) == 0 {
			w.t.Fatalf("after %v, %d connections: %d of %d bytes", w.now.Sub(epoch), len(w.lines), w.s.Snapshot().Held, w.size)
		}
		woken := false
		select {
		case <-w.s.Wake():
			woken = true
		default:
		}
		if woken || !w.now.Before(tick) {
			w.s.Tick(w.now, w.limit, func(c *Conn) { w.lines = append(w.lines, &line{c: c}) })
			tick = w.now.Add(TickInterval)
		}
		w.lines = slices.DeleteFunc(w.lines, func(l *line) bool { return !w.step(l) })
	}
	return w.now.Sub(epoch)
}

// step lets a line go on until the next step of the clock. It returns false if it has left.
func (w *world) step(l *line) bool {
	if l.stop != 0 {
		reason := l.stop
		l.stop, l.open = 0, false
		l.c.Disconnected()
		w.of(l).stopped[reason]++
		return w.afterStop(l, reason)
	}
	if l.phase != reads && w.now.Before(l.until) {
		return true
	}
	switch l.phase {
	case wantsWork, pauses:
		return w.ask(l)
	case connects:
		w.send(l)
	case awaits:
		return w.respond(l)
	case reads:
		return w.read(l)
	}
	return true
}

// afterStop does what package downloader does when a request was stopped.
func (w *world) afterStop(l *line, reason Reason) bool {
	l.phase, l.until = wantsWork, w.now
	switch reason {
	case Stolen:
		l.c.Release()
	case Overdue, Trickling:
		return w.stepDown(l)
	case Yielded:
		return !l.c.LeaveUnlessLast()
	case Disabled:
		return !l.c.FallBack()
	}
	return true
}

// stepDown lets a connection that failed leave, and the server is taken to grant no more than
// the others. It returns false if it has left.
func (w *world) stepDown(l *line) bool {
	srv := w.of(l)
	if _, ok := l.c.StepDown(); !ok {
		return true
	}
	srv.ceiling = max(1, srv.open)
	return false
}

// ask begins a request for the rest of the claim, or for a new claim.
func (w *world) ask(l *line) bool {
	if l.c.Remaining().Empty() {
		l.c.Release()
		if !l.c.Next(w.now) {
			return false
		}
	}
	l.c.Requesting(w.stopper(l), w.now)
	srv := w.of(l)
	l.phase, l.until, l.isNew = connects, w.now, !l.open
	if !l.open {
		l.until = w.now.Add(2 * srv.rtt) // TCP and TLS
		l.hangs = srv.grants > 0 && w.live(srv) >= srv.grants
		l.open, l.rate = true, srv.rate(srv.conns)
		srv.conns++
	}
	return true
}

// live returns how many TCP connections to srv get responses.
func (w *world) live(srv *server) (n int) {
	for _, l := range w.lines {
		if w.of(l) == srv && l.open && !l.hangs {
			n++
		}
	}
	return n
}

func (w *world) send(l *line) {
	srv := w.of(l)
	l.c.Sent(w.now)
	l.phase, l.took, l.refused = awaits, srv.rtt, srv.refuses != nil && srv.refuses(srv.requests)
	if srv.responds != nil {
		if l.took = srv.rtt + srv.responds(srv.requests); l.took < srv.rtt {
			l.took = 24 * time.Hour
		}
	}
	if l.hangs {
		l.took = 24 * time.Hour
	}
	srv.requests++
	l.until, l.bodyEnd = w.now.Add(l.took), l.c.Remaining().End
}

func (w *world) respond(l *line) bool {
	if l.refused {
		l.c.Retrying()
		l.phase, l.until = pauses, w.now.Add(time.Second)
		return w.stepDown(l)
	}
	l.c.Responded(Response{BodyEnd: l.bodyEnd, Took: l.took, NewConn: l.isNew}, w.now)
	l.phase = reads
	return true
}

// read reads as much as arrives in a step.
func (w *world) read(l *line) bool {
	srv := w.of(l)
	rate := l.rate
	if srv.link > 0 {
		sum := 0.0
		for _, o := range w.lines {
			if w.of(o) == srv && o.phase == reads {
				sum += o.rate
			}
		}
		rate *= min(1, srv.link/sum)
	}
	l.credit += rate * modelStep.Seconds()
	left := l.c.Remaining().Len()
	if n := int(min(l.credit, float64(left))); n > 0 {
		l.credit -= float64(n)
		off := l.c.Remaining().Off
		var keep int
		keep, left = l.c.Received(n, w.now)
		r := chunk.Range{Off: off, End: off + int64(keep)}
		before := w.got.Len()
		if w.got.Add(r); w.got.Len() != before+r.Len() {
			w.t.Fatalf("bytes were received twice: %v", r)
		}
		srv.delivered += int64(keep)
		l.c.Written(int64(keep))
	}
	if left > 0 {
		return true
	}
	end := l.c.Remaining().End
	left, wait := l.c.Extend(w.now)
	if left > 0 || wait {
		return true
	}
	if end < l.bodyEnd { // the rest of the body is not wanted
		l.open = false
		l.c.Disconnected()
	}
	l.phase, l.credit = wantsWork, min(l.credit, 1)
	return w.step(l)
}

// gains compares how long a download takes in a world in which a rule applies with one in which
// it cannot. The first must be shorter by at least the share least of the second.
func gains(t *testing.T, rule string, with, without time.Duration, least float64) {
	t.Helper()
	gain := 1 - with.Seconds()/without.Seconds()
	t.Logf("%s: %v with, %v without: %.0f %% less", rule, with, without, 100*gain)
	if gain < least {
		t.Errorf("%s gains %.2f of %v, want %.2f", rule, gain, without, least)
	}
}

// TestModelConnections: further connections are opened if each has a rate of its own. They
// cannot be if the server grants only one.
func TestModelConnections(t *testing.T) {
	took := func(ceiling int) time.Duration {
		return newWorld(t, 48*mB, &server{gate: gate{ceiling: ceiling}, rtt: 20 * ms, rate: steady(4e6)}).run()
	}
	gains(t, "16 connections of 4 MB/s", took(16), took(1), 0.90)
}

// TestModelPays: if more connections do not pay, they leave, and few are tried later.
func TestModelPays(t *testing.T) {
	srv := &server{gate: gate{ceiling: 16}, rtt: 20 * ms, rate: steady(100e6), link: 10e6}
	w := newWorld(t, 100*mB, srv)
	if took := w.run(); took > 10500*ms || srv.conns > 28 {
		t.Errorf("a link of 10 MB/s: 100 MB took %v over %d TCP connections", took, srv.conns)
	}
	if src := w.s.Close()[0]; !src.ramp.isTooMany(16) {
		t.Errorf("16 connections are said to pay on a shared link: %+v", src.ramp)
	}
}

// TestModelSteal: a connection that is done takes over from a slow one. It cannot if the rate
// limit of the user makes all of them slow.
func TestModelSteal(t *testing.T) {
	took := func(limit float64) time.Duration {
		w := newWorld(t, 24*mB, &server{gate: gate{ceiling: 3}, rtt: 20 * ms, rate: steady(2e6, 8e6, 8e6)})
		w.limit.Rate = limit
		return w.run()
	}
	with := took(0)
	gains(t, "taking over", with, took(1), 0.10)
	if ideal := 24e6 / 18e6 * float64(time.Second); float64(with) > 1.25*ideal {
		t.Errorf("with it: %v, of %v at best", with, time.Duration(ideal))
	}
}

// TestModelStuck: others fetch what a connection that has fallen silent has left, after
// stuckTimeout; a single connection must wait for it.
func TestModelStuck(t *testing.T) {
	srv := &server{gate: gate{ceiling: 4}, rtt: 20 * ms, rate: steady(4e6)}
	srv.responds = func(nth int) time.Duration {
		return map[bool]time.Duration{true: -1}[nth == 2] // the third request never has a response
	}
	if took := newWorld(t, 40*mB, srv).run(); took > 5*time.Second || srv.requests < 4 {
		t.Errorf("40 MB at 4 times 4 MB/s took %v", took)
	}
}

// TestModelReplace: a slow connection is replaced by a new one. In the other world, a new
// connection is as slow as the old one.
func TestModelReplace(t *testing.T) {
	took := func(next float64) (time.Duration, int) {
		rates := []float64{4e6, 4e6, 4e6, 4e6, 4e6, 4e6, 4e6, 400e3, next}
		srv := &server{gate: gate{ceiling: 8}, rtt: 20 * ms, rate: steady(rates...)}
		d := newWorld(t, 256*mB, srv).run()
		return d, srv.stopped[Replaced]
	}
	with, n := took(4e6)
	without, m := took(400e3)
	gains(t, "replacing a slow connection", with, without, 0.07)
	if n == 0 || n > 2 || m > 7 {
		t.Errorf("replaced %d times by a fast one, and %d times by a slow one", n, m)
	}
}

// TestModelOverdue: if a lost request is the only one of a download, it is sent again after
// half a second. It cannot be told from a slow one if no response time is known.
func TestModelOverdue(t *testing.T) {
	srv := &server{gate: gate{ceiling: 1}, rtt: 20 * ms, rate: steady(4e6)}
	srv.responds = func(nth int) time.Duration {
		return map[bool]time.Duration{true: 30 * time.Second}[nth == 1]
	}
	w := newWorld(t, 10*mB, srv)
	w.lines[0].bodyEnd = 5 * mB // the first body breaks off
	w.lines[0].c.Requesting(w.stopper(w.lines[0]), w.now)
	w.lines[0].c.Responded(Response{BodyEnd: 5 * mB, Took: 20 * ms}, w.now)
	took := w.run()
	gains(t, "sending an overdue request again", took, took+30*time.Second-minOverdue, 0.85)
	if srv.stopped[Replaced] != 1 {
		t.Errorf("it was sent again %d times", srv.stopped[Replaced])
	}
}

// TestModelSingleUse: a link that is good for one request gets the whole file with it, and costs
// no more than the time that one connection needs.
func TestModelSingleUse(t *testing.T) {
	srv := &server{gate: gate{ceiling: 4}, rtt: 20 * ms, rate: steady(4e6), refuses: func(nth int) bool { return nth > 0 }}
	if took := newWorld(t, 20*mB, srv).run(); took > 5200*ms {
		t.Errorf("20 MB at 4 MB/s took %v", took)
	}
	if srv.delivered != 20*mB {
		t.Errorf("%d bytes came", srv.delivered)
	}
}

// TestModelRequestSize: over a long way, requests are so large that the round trips between them
// cost little.
func TestModelRequestSize(t *testing.T) {
	srv := &server{gate: gate{ceiling: 1}, rtt: 80 * ms, rate: steady(20e6)}
	w := newWorld(t, 100*mB, srv)
	w.lines[0].bodyEnd = MinRequest // the server limits the first body
	w.lines[0].c.Requesting(w.stopper(w.lines[0]), w.now)
	w.lines[0].c.Responded(Response{BodyEnd: MinRequest, Took: 80 * ms}, w.now)
	if took := w.run(); took > 5*time.Second*13/10 {
		t.Errorf("100 MB at 20 MB/s took %v in %d requests", took, srv.requests)
	}
}

// TestModelMirror: a mirror as fast as the first source halves the time.
func TestModelMirror(t *testing.T) {
	took := func(mirrors ...*server) time.Duration {
		first := &server{gate: gate{ceiling: 16}, rtt: 20 * ms, rate: steady(100e6), link: 20e6}
		return newWorld(t, 64*mB, append([]*server{first}, mirrors...)...).run()
	}
	mirror := &server{gate: gate{ceiling: 16}, rtt: 20 * ms, rate: steady(100e6), link: 20e6}
	gains(t, "a mirror", took(mirror), took(), 0.45)
	if share := float64(mirror.delivered) / 64e6; share < 0.4 || share > 0.6 {
		t.Errorf("the mirror sent %.2f of the file", share)
	}
}

// TestModelHung: connections beyond a limit that the server does not tell, whose requests have no
// response, leave, and cost little.
func TestModelHung(t *testing.T) {
	srv := &server{gate: gate{ceiling: 16}, rtt: 20 * ms, rate: steady(4e6), grants: 3}
	w := newWorld(t, 240*mB, srv)
	took := w.run()
	if t.Logf("%v over %d TCP connections, %v", took, srv.conns, srv.stopped); took > 22*time.Second || srv.stopped[Overdue] == 0 {
		t.Errorf("240 MB over 3 connections of 4 MB/s took %v; stops %v", took, srv.stopped)
	}
}

// TestModelYield: another download gets connections down to the fair share, one at a time.
func TestModelYield(t *testing.T) {
	srv := &server{gate: gate{ceiling: 8}, rtt: 20 * ms, rate: steady(4e6)}
	w := newWorld(t, 200*mB, srv)
	for range 200 { // one second
		w.now = w.now.Add(modelStep)
		w.s.Tick(w.now, Limit{}, func(c *Conn) { w.lines = append(w.lines, &line{c: c}) })
		w.lines = slices.DeleteFunc(w.lines, func(l *line) bool { return !w.step(l) })
	}
	if srv.open != 8 {
		t.Fatalf("%d connections, want 8", srv.open)
	}
	srv.wanted, srv.ceiling = true, 4
	for range 200 {
		w.now = w.now.Add(modelStep)
		if srv.wanted = srv.open > 4; srv.wanted {
			w.s.Tick(w.now, Limit{}, func(*Conn) {})
		}
		w.lines = slices.DeleteFunc(w.lines, func(l *line) bool { return !w.step(l) })
	}
	if srv.open != 4 || srv.stopped[Yielded] != 4 {
		t.Errorf("after a second: %d connections, %d were given away, want 4, 4", srv.open, srv.stopped[Yielded])
	}
}

// TestModelRandom: whatever happens to connections, no byte is received twice, in the end every
// byte is there, and every connection is counted back.
func TestModelRandom(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		srv := &server{rtt: time.Duration(r.IntN(100)) * ms}
		srv.ceiling = 1 + r.IntN(8)
		srv.rate = func(int) float64 { return []float64{1e3, 100e3, 5e6, 50e6}[r.IntN(4)] }
		srv.refuses = func(int) bool { return r.IntN(10) == 0 }
		srv.responds = func(int) time.Duration {
			return []time.Duration{0, 0, 0, time.Second, 20 * time.Second}[r.IntN(5)]
		}
		w := newWorld(t, 1+r.Int64N(8*mB), srv)
		for !w.s.Snapshot().Done {
			w.now = w.now.Add(time.Duration(1+r.IntN(20)) * modelStep)
			w.s.Tick(w.now, Limit{Rate: float64(r.IntN(2)) * 1e6}, func(c *Conn) { w.lines = append(w.lines, &line{c: c}) })
			srv.overShare, srv.wanted, srv.owed, srv.queued = r.IntN(20) == 0, r.IntN(20) == 0, r.IntN(40)/39, r.IntN(4) == 0
			w.lines = slices.DeleteFunc(w.lines, func(l *line) bool {
				if l.phase == reads && r.IntN(100) == 0 { // the body breaks off
					l.open, l.phase, l.until = false, wantsWork, w.now
					l.c.Disconnected()
				}
				return !w.step(l)
			})
			if n := w.s.Snapshot().Conns; n != len(w.lines) || srv.open != n {
				t.Fatalf("seed %d: %d connections, %d counted, %d lines", seed, n, srv.open, len(w.lines))
			}
			if w.now.Sub(epoch) > 24*time.Hour {
				t.Fatalf("seed %d: not done after a day: %v", seed, w.s.Held())
			}
		}
		for len(w.lines) > 0 {
			w.now = w.now.Add(time.Minute)
			w.lines = slices.DeleteFunc(w.lines, func(l *line) bool { return !w.step(l) })
		}
		if w.s.Close(); srv.open != 0 || srv.joined != 0 || w.got.Len() != w.size || math.Abs(float64(srv.delivered-w.size)) > 0 {
			t.Fatalf("seed %d: at the end, %d connections, %d joined, %d of %d bytes", seed, srv.open, srv.joined, w.got.Len(), w.size)
		}
	}
}
