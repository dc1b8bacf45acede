package fleet

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(3)
		never := func() bool { return false }
		a, b := g.enter("h", 2, never), g.enter("h", 2, never)
		entered := make(chan *pass)
		go func() { entered <- g.enter("h", 2, never) }()
		other := g.enter("o", 2, never)
		if g.hasRoom() || g.busy() != 3 {
			t.Error("four files at once")
		}
		g.leave(other)
		synctest.Wait()
		select {
		case <-entered:
			t.Error("three files of a host")
		default:
		}
		g.release(a) // it is being made durable
		c := <-entered
		go func() { entered <- g.enterAlone(t.Context(), "h", never) }()
		synctest.Wait()
		if g.hasRoom() {
			t.Error("a file may begin although one waits to be alone")
		}
		g.leave(a)
		g.leave(b)
		g.leave(c)
		solo := <-entered
		if solo == nil || g.hasRoom() {
			t.Error("not alone")
		}
		time.Sleep(soloTime + time.Second)
		if !g.hasRoom() {
			t.Error("alone for too long")
		}
		began := time.Now()
		if g.enterAlone(t.Context(), "h", never) != nil || time.Since(began) > 0 {
			t.Error("alone beside a file that takes long, or waited for it")
		}
		g.leave(solo)
		d := g.enter("h", 2, never)
		if g.enterAlone(t.Context(), "h", never) != nil || time.Since(began) < soloPatience {
			t.Error("alone beside another file")
		}
		g.leave(d)
		if p := g.enter("h", 1, func() bool { return true }); p != nil || g.busy() != 0 {
			t.Error("stopped, and entered")
		}
	})
}
