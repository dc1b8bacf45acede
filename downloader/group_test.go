package downloader

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestDialWaits: a dial waits for a slot as long as it takes; a connection that is
// closed twice gives back one slot, when the server has noticed.
func TestDialWaits(t *testing.T) {
	for _, gone := range []bool{false, true} {
		bubble(t, 2, func(t *testing.T, a, b *slots) {
			first, _ := dialNow(t, a), dialNow(t, a)
			one, two := dials(t.Context(), b), dials(t.Context(), b)
			time.Sleep(time.Minute)
			if _, _, ok := one(); ok {
				t.Fatal("connected beyond the limit")
			}
			first.(*slotConn).gone.Store(gone)
			first.Close()
			first.Close()
			wait := afterClose
			if gone {
				wait = afterClosed
			}
			time.Sleep(wait - 1)
			if got := a.group("h:80").slots.Held(); got != 2 {
				t.Errorf("just closed: got %d held, want 2", got)
			}
			time.Sleep(firstPoll + pollSpread + time.Millisecond)
			_, _, ok1 := one()
			_, _, ok2 := two()
			if ok1 == ok2 || a.group("h:80").slots.Held() != 1 {
				t.Errorf("closed: got connected %v, %v, %d held, want one of two and 1", ok1, ok2, a.group("h:80").slots.Held())
			}
		})
	}
}

// TestDialEnds: a dial that waits ends with its context, and when all is closed,
// and takes nothing with it; so does one that fails.
func TestDialEnds(t *testing.T) {
	bubble(t, 1, func(t *testing.T, a, b *slots) {
		refused := errors.New("refused")
		if _, err := a.group("h:80").dial(t.Context(), func() (net.Conn, error) { return nil, refused }); err != refused {
			t.Errorf("got %v, want its error", err)
		}
		conn := dialNow(t, a)
		cause := errors.New("the cause")
		for _, waitFirst := range []bool{false, true} { // then it is not its turn yet
			if waitFirst {
				other := dials(t.Context(), b)
				other()
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			waits := dials(ctx, b)
			waits()
			cancel(cause)
			if _, err, ok := waits(); err != cause {
				t.Errorf("cancelled: got %v, %v, want the cause", err, ok)
			}
		}
		waits := dials(t.Context(), b)
		waits()
		go b.close()
		if _, err, _ := waits(); err != errClosedSlots {
			t.Errorf("closed: got %v", err)
		}
		conn.Close()
		time.Sleep(time.Second)
		dialNow(t, a)
	})
}

// TestDialDropsIdle: an idle connection of our own makes room for a dial.
func TestDialDropsIdle(t *testing.T) {
	bubble(t, 1, func(t *testing.T, a, _ *slots) {
		idle := dialNow(t, a)
		a.closeIdle = append(a.closeIdle, func() { idle.Close() })
		waits := dials(t.Context(), a)
		time.Sleep(afterClose + firstPoll + pollSpread)
		if _, _, ok := waits(); !ok {
			t.Error("still waits for a slot of an idle connection")
		}
	})
}

// TestGroupOver: who has more than its share closes idle connections first, then
// as many others as it has too many, and a download's only one last.
func TestGroupOver(t *testing.T) {
	bubble(t, 4, func(t *testing.T, a, b *slots) {
		var drops atomic.Int32
		a.closeIdle = append(a.closeIdle, func() { drops.Add(1) })
		var conns []net.Conn
		for range 4 {
			conns = append(conns, dialNow(t, a))
		}
		g := a.group("h:80")
		time.Sleep(10 * time.Second)
		if drops.Load() > 0 || g.owes(false) || g.share() != 4 || g.queued() {
			t.Fatalf("alone: %d drops, share %d", drops.Load(), g.share())
		}
		waits := dials(t.Context(), b)
		waits()
		if !b.group("h:80").queued() {
			t.Error("nothing is queued")
		}
		for drops.Load() == 0 {
			time.Sleep(keepEvery / 4)
		}
		if g.owes(false) {
			t.Error("a connection is given back before the idle ones are closed")
		}
		time.Sleep(keepEvery + time.Millisecond)
		synctest.Wait()
		if g.owes(true) || !g.owes(false) || !g.owes(false) || g.owes(false) || g.share() != 2 {
			t.Errorf("owes something else than 2; share %d", g.share())
		}
		time.Sleep(lastAfter)
		synctest.Wait()
		if !g.owes(true) {
			t.Error("the only one of a download is not given back")
		}
		conns[0].Close()
		conns[1].Close()
		time.Sleep(2 * keepEvery)
		synctest.Wait()
		if g.owes(true) {
			t.Error("owes something, with its share")
		}
		if _, _, ok := waits(); !ok {
			t.Error("what was given back was not taken")
		}
	})
}

// TestGroupUnused: idle connections are closed soon if others are members, and
// not if there are none.
func TestGroupUnused(t *testing.T) {
	bubble(t, 4, func(t *testing.T, a, b *slots) {
		var drops atomic.Int32
		a.closeIdle = append(a.closeIdle, func() { drops.Add(1) })
		conn := dialNow(t, a).(*slotConn)
		time.Sleep(10*time.Second + keepEvery/2) // not at the moment of a look
		if drops.Load() > 0 {
			t.Error("alone: idle connections are closed")
		}
		conn.used.Store(time.Now().UnixNano())
		dialNow(t, b)
		time.Sleep(outOfUse)
		if drops.Load() > 0 {
			t.Error("in use: idle connections are closed")
		}
		time.Sleep(2 * keepEvery)
		if drops.Load() == 0 {
			t.Error("idle connections are kept though others want them")
		}
	})
}

// TestGroupLeaves: without connections the membership ends, and begins anew.
func TestGroupLeaves(t *testing.T) {
	bubble(t, 4, func(t *testing.T, a, b *slots) {
		dialNow(t, b)
		for range 2 {
			conn := dialNow(t, a)
			time.Sleep(keepEvery)
			if got := b.group("h:80").share(); got != 2 {
				t.Errorf("with two members: got a share of %d, want 2", got)
			}
			conn.Close()
			time.Sleep(leaveAfter - keepEvery)
			if got := b.group("h:80").share(); got != 2 {
				t.Errorf("just after the last connection: got a share of %d, want 2", got)
			}
			time.Sleep(afterClose + 4*keepEvery)
			if got := b.group("h:80").share(); got != 4 {
				t.Errorf("after a while: got a share of %d, want 4", got)
			}
		}
	})
}

// TestMustRelease: a host gives back as many connections as other processes need, the only
// one of a download last.
func TestMustRelease(t *testing.T) {
	g := openSlots(t, t.TempDir(), 4).group("h:80")
	h := newSharedHost(4, g)
	if h.MustRelease(false) {
		t.Error("a connection is given back though no process needs one")
	}
	g.debt, g.overSince = 2, time.Now()
	if !h.MustRelease(false) || h.MustRelease(true) {
		t.Error("got no connection, or the only one of a download at once")
	}
	g.overSince = time.Now().Add(-lastAfter)
	if !h.MustRelease(true) || h.MustRelease(true) {
		t.Error("got no connection from a download with one after a while, or more than are needed")
	}
}

// TestSettleGivenBack: what a worker does whose connection was given back is no
// failure, and nothing that tells of the server.
func TestSettleGivenBack(t *testing.T) {
	j, ws, _ := transferring(t, New(nil, Options{}), 2*mB, 2, start)
	if err := ws[1].settle(t.Context(), 0, errYielded); err != errSteppedDown || j.progress.snapshot().Conns != 1 {
		t.Errorf("one of two: got %v, %d connections", err, j.progress.snapshot().Conns)
	}
	if err := ws[0].settle(t.Context(), 0, errYielded); err != nil || j.progress.snapshot().Conns != 1 {
		t.Errorf("the last: got %v, %d connections", err, j.progress.snapshot().Conns)
	}
	if j.first.host.IsLimited() || j.budget.failures != 0 {
		t.Errorf("got limited %t, %d failures, want false, 0", j.first.host.IsLimited(), j.budget.failures)
	}
}

// TestQueued: a host says whether one of its connections waits for a slot.
func TestQueued(t *testing.T) {
	g := openSlots(t, t.TempDir(), 4).group("h:80")
	h := newSharedHost(4, g)
	for waiting := range 2 {
		if g.waiting = waiting; h.Queued() != (waiting > 0) {
			t.Errorf("%d dials wait: got queued %t", waiting, h.Queued())
		}
	}
}

// TestShareCrowds: a host has no more connections than the share of the process.
func TestShareCrowds(t *testing.T) {
	bubble(t, 4, func(t *testing.T, a, b *slots) {
		h := newSharedHost(4, a.group("h:80"))
		dialNow(t, a)
		enterNow(t, h, 2)
		if h.OverShare() || !h.TryOpen(time.Now()) {
			t.Error("alone: it is crowded with 3 of 4")
		}
		dialNow(t, b)
		time.Sleep(keepEvery)
		if !h.OverShare() || h.TryOpen(time.Now()) {
			t.Error("with two processes: 3 of 4 are not too many")
		}
		h.Release()
		if h.OverShare() || h.TryOpen(time.Now()) {
			t.Error("with two processes: 2 of 4 are not right")
		}
	})
}

// BenchmarkDial is what a slot costs a dial.
func BenchmarkDial(b *testing.B) {
	s := openSlots(b, b.TempDir(), 16)
	g := s.group("h:80")
	for b.Loop() {
		conn, err := g.dial(b.Context(), pipe)
		if err != nil {
			b.Fatal(err)
		}
		c := conn.(*slotConn)
		c.once.Do(func() {}) // no timer: the slot is given back at once
		c.slot.Close()
		delete(g.conns, c)
	}
}

// TestSlotNotSilence: a request that waits for a slot, also behind another, or over HTTP/2,
// is not one that the server does not answer.
func TestSlotNotSilence(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		dir := t.TempDir()
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		srv.EnableHTTP2 = true
		srv.StartTLS()
		defer srv.Close()
		slot, err := openSlots(t, dir, 1).group(srv.Listener.Addr().String()).acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer slot.Close()
		o := Options{Connections: 1, ConnectTimeout: 400 * time.Millisecond, StallTimeout: 400 * time.Millisecond, Insecure: true}.withDefaults()
		c := newHTTPClient(o, &dialer{}, openSlots(t, dir, 1), nil, http2)
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second) // the clock would run out after 1.2 s
		defer cancel()
		ends := make(chan error)
		for range 2 {
			go func() {
				req, _ := http.NewRequestWithContext(ctx, "GET", srv.URL, nil)
				_, err := c.Do(req)
				ends <- err
			}()
		}
		for range 2 {
			if err := <-ends; !errors.Is(err, context.DeadlineExceeded) || ctx.Err() == nil {
				t.Errorf("HTTP/2 %t: got %v", http2, err)
			}
		}
	}
}
