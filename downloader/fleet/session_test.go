package fleet

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func openSession(t *testing.T, b Broker, o SessionOptions) *Session {
	t.Helper()
	s, err := OpenSession(t.Context(), b, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cancel(); <-s.done })
	return s
}

func isLost(s *Session) bool {
	select {
	case <-s.Lost():
		return true
	default:
		return false
	}
}

func TestSessionIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		s := openSession(t, w.link(), SessionOptions{Host: "m1", Worker: "w1"})
		openSession(t, w.link(), SessionOptions{Host: "m1", Worker: "w0"})
		s.Report(3, 4.5, "no network")
		time.Sleep(10 * time.Minute)
		if !s.Valid() || isLost(s) {
			t.Error("the session was lost")
		}
		all, err := Sessions(t.Context(), w.link())
		if err != nil || len(all) != 2 || all[0].Worker != "w0" {
			t.Fatalf("%v, %v", all, err)
		}
		if got := all[1]; got.ID != s.ID() || got.Host != "m1" || got.Busy != 3 || got.Rate != 4.5 || got.Paused != "no network" || got.Since.IsZero() {
			t.Errorf("%+v", got)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if all, _ := Sessions(t.Context(), w.link()); len(all) != 1 {
			t.Errorf("%v after the end", all)
		}
	})
}

// TestSessionWithoutBroker checks when a session is given up.
func TestSessionWithoutBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newWorld(t, 1).link()
		s := openSession(t, k, SessionOptions{})
		time.Sleep(time.Minute)
		k.cut()
		time.Sleep(29 * time.Second) // up to 15 s after the last renewal
		if !s.isFresh() {
			t.Error("connections are given back too soon")
		}
		k.mend()
		time.Sleep(10 * time.Second)
		k.cut()
		for s.isFresh() {
			time.Sleep(100 * time.Millisecond)
		}
		if age := s.age(); age < 45*time.Second || age > 46*time.Second || isLost(s) {
			t.Errorf("connections are given back after %v", age)
		}
		k.mend()
		time.Sleep(7 * time.Second)
		if !s.isFresh() {
			t.Error("the session was not renewed")
		}
		k.cut()
		time.Sleep(56 * time.Second)
		if !isLost(s) {
			t.Error("the session is not lost after 55 s")
		}
		k.mend()
		time.Sleep(time.Minute)
		if s.Valid() {
			t.Error("a lost session came back")
		}
	})
}

// TestSessionRenewalNotConfirmed checks that a session survives renewals that were done without
// the process knowing.
func TestSessionRenewalNotConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newWorld(t, 7).link()
		s := openSession(t, k, SessionOptions{})
		k.mu.Lock()
		k.lossy = true
		k.mu.Unlock()
		time.Sleep(10 * time.Minute)
		if isLost(s) {
			t.Error("the session was lost")
		}
	})
}

func TestSessionMarkedDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		s := openSession(t, w.link(), SessionOptions{})
		b, _ := w.link().Bucket(t.Context(), aliveBucket, DefaultLease)
		b.Put(t.Context(), sessionPrefix+s.ID(), []byte(deadMark))
		time.Sleep(17 * time.Second)
		if !isLost(s) {
			t.Error("the session is not lost")
		}
	})
}

// TestSessionEndsPredecessor checks that a restarted worker need not wait for its own old session.
func TestSessionEndsPredecessor(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		s := openSession(t, w.link(), SessionOptions{Dir: dir})
		s.cancel() // killed
		<-s.done
		next := openSession(t, w.link(), SessionOptions{Dir: dir})
		all, err := Sessions(t.Context(), w.link())
		if err != nil || len(all) != 1 || all[0].ID != next.ID() {
			t.Errorf("%v, %v", all, err)
		}
		if err := next.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(dir, sessionFile)); !os.IsNotExist(err) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestLeaseIsThatOfTheFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		if all, err := Sessions(t.Context(), w.link()); err != nil || len(all) != 0 {
			t.Errorf("a fleet without sessions has %v, %v", all, err)
		}
		openSession(t, w.link(), SessionOptions{Lease: 10 * time.Minute})
		s := openSession(t, w.link(), SessionOptions{})
		if got := time.Duration(s.lease); got != 10*time.Minute {
			t.Errorf("the second process has a lease of %v", got)
		}
		_, err := OpenSession(t.Context(), w.link(), SessionOptions{Lease: time.Minute})
		if err == nil || !strings.Contains(err.Error(), "10m0s") {
			t.Errorf("another lease: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		k := w.link()
		k.cut()
		if _, err := OpenSession(ctx, k, SessionOptions{}); err == nil {
			t.Error("a session without a broker")
		}
	})
}
