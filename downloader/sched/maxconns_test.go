package sched

import "testing"

// tickWith is tick with a limit of connections.
func (f *fixture) tickWith(conns int) (opened int) {
	f.s.Tick(f.now, Limit{Conns: conns}, func(c *Conn) {
		opened++
		f.conns, f.stops = append(f.conns, c), append(f.stops, 0)
	})
	return opened
}

// TestMaxConnsShrinks: the slowest connections that receive bytes are stopped, so that as many stay as the
// limit says. One without a response leaves with its claim, and none is stopped twice.
func TestMaxConnsShrinks(t *testing.T) {
	f := newFixture(t, 0, member{mB, 1e6, 0, false}, member{mB, 2e5, 0, false}, member{mB, 5e5, 0, false}, member{mB, 0, 0, true}, member{mB, 8e5, 0, false})
	f.gate.ceiling = 5
	f.tickWith(5)
	f.wantStops("as many as allowed", 0, 0, 0, 0, 0)
	f.tickWith(3)
	f.wantStops("two too many", 0, Yielded, Yielded, 0, 0)
	f.stops[1], f.stops[2] = 0, 0
	f.tickWith(3)
	f.wantStops("they are about to leave", 0, 0, 0, 0, 0)
	f.tickWith(1)
	f.wantStops("four too many, one of which has no response", Yielded, 0, 0, 0, Yielded)
	for _, i := range []int{0, 1, 2, 4} {
		if !f.conns[i].LeaveUnlessLast() {
			t.Errorf("connection %d did not leave", i)
		}
	}
	f.wantConns("at last", 1)
	if f.conns[3].LeaveUnlessLast() {
		t.Error("the last one has left")
	}
	if f.tickWith(1) != 0 {
		t.Error("another one was opened beyond the limit")
	}
}

// TestMaxConnsIdle: a connection that asks for work leaves if there are too many.
func TestMaxConnsIdle(t *testing.T) {
	f := newFixture(t, 50*mB, member{0, 1e6, 0, false}, member{0, 1e6, 0, false}, member{0, 1e6, 0, false})
	f.gate.ceiling = 3
	f.tickWith(2)
	if f.conns[0].Next(f.now) || !f.conns[1].Next(f.now) || !f.conns[2].Next(f.now) {
		t.Error("want exactly the first one to leave")
	}
	f.wantConns("then", 2)
}

// TestMaxConnsGrows: no connection is opened beyond the limit, and further ones are if it rises.
func TestMaxConnsGrows(t *testing.T) {
	f := newFixture(t, 500*mB, member{mB, 1e6, 0, false})
	for _, step := range []struct{ limit, want int }{{1, 1}, {3, 3}} {
		f.tickWith(step.limit)
		f.wantConns("with the limit", step.want)
	}
}

// TestMaxConnsSources: a proof of a further source takes the place of a connection, and the source then gets
// that place. There are no more sources than connections.
func TestMaxConnsSources(t *testing.T) {
	f := newFixture(t, 500*mB, member{mB, 1e6, 0, false}, member{mB, 5e5, 0, false})
	f.gate.ceiling = 16
	if f.tickWith(1); f.s.BeginProof(f.now) {
		t.Error("a source is proven, though there is only one connection")
	}
	f.stops[1] = 0
	f = newFixture(t, 500*mB, member{mB, 1e6, 0, false}, member{mB, 5e5, 0, false})
	f.tickWith(2)
	if !f.s.BeginProof(f.now) || f.s.BeginProof(f.now) {
		t.Error("want the proof of one source beside the other")
	}
	f.tickWith(2)
	f.wantStops("for the proof", 0, Yielded)
	f.conns[1].LeaveUnlessLast()
	mirror := &gate{ceiling: 16}
	f.s.Add(&Source{Gate: mirror, Tag: "mirror"})
	if f.tickWith(2) != 0 {
		t.Error("a connection was opened beside the one for the proof")
	}
	f.s.EndProof()
	if f.tickWith(2); mirror.open != 1 || f.gate.open != 1 {
		t.Errorf("got %d connections to the origin and %d to the mirror, want 1 and 1", f.gate.open, mirror.open)
	}
	if f.s.BeginProof(f.now) {
		t.Error("a third source is proven for two connections")
	}
}

// TestMaxConnsNewSource: a source without a connection gets the place of one of several to another source,
// once it can open one. The only one of a source stays, however slow it is.
func TestMaxConnsNewSource(t *testing.T) {
	f := newFixture(t, 500*mB, member{mB, 1e6, 0, false}, member{mB, 5e5, 0, false}, member{mB, 8e5, 0, false})
	f.gate.ceiling = 16
	first, second := &gate{ceiling: 0}, &gate{ceiling: 4}
	f.s.Add(&Source{Gate: first})
	f.tickWith(3)
	f.wantStops("the source can open none", 0, 0, 0)
	first.ceiling = 4
	if f.tickWith(3) != 1 || first.open != 1 {
		t.Errorf("got %d connections to the new source, want 1", first.open)
	}
	f.wantStops("for the new source", 0, Yielded, 0, 0)
	f.conns[1].LeaveUnlessLast()
	c := f.conns[3]
	if !c.Next(f.now) {
		t.Fatal("no work for the new source")
	}
	f.request(3, f.now)
	c.Responded(Response{BodyEnd: f.s.plan.Size()}, f.now)
	c.Received(1, f.now)
	f.s.Add(&Source{Gate: second})
	if f.tickWith(3) != 1 || second.open != 1 {
		t.Errorf("got %d connections to the second new source, want 1", second.open)
	}
	f.wantStops("for the second one", 0, Yielded, Yielded, 0, 0)
	f.conns[2].LeaveUnlessLast()
	if f.tickWith(3) != 0 || f.gate.open != 1 || first.open != 1 {
		t.Errorf("then: got %d, %d and %d connections, want one to each source", f.gate.open, first.open, second.open)
	}
}
