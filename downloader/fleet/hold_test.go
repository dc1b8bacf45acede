package fleet_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"pawl/downloader/fleet"
	"pawl/downloader/fleet/fakebroker"
	"pawl/downloader/fleet/natstest"
)

// TestHold: only one process submits the lists of a key at a time. The next one of its state directory takes over at once, others when it
// has ended.
func TestHold(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(c *fakebroker.Client, h *fleet.Hold) // of the first process
		next string                                    // state directory of the next one
		held bool
		most time.Duration // that the next one waits
	}{
		"alive":                 {func(*fakebroker.Client, *fleet.Hold) {}, "b", true, 6 * time.Second},
		"closed":                {func(_ *fakebroker.Client, h *fleet.Hold) { h.Close(context.Background()) }, "b", false, 0},
		"killed":                {func(c *fakebroker.Client, _ *fleet.Hold) { c.Kill() }, "b", false, 25 * time.Second},
		"killed, its successor": {func(c *fakebroker.Client, _ *fleet.Hold) { c.Kill() }, "a", false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			natstest.Bubble(t, func(t *testing.T) {
				t.Cleanup(func() { time.Sleep(time.Minute) })
				server := fakebroker.New()
				first, second := server.Connect("first"), server.Connect("second")
				open := func(b fleet.Broker, state, host string) (*fleet.Hold, int, error) {
					waited := 0
					h, err := fleet.OpenHold(t.Context(), b, "k", fleet.Holder{State: state, Host: host, Process: 1, Since: time.Now()}, func(fleet.Holder) { waited++ })
					if err == nil {
						t.Cleanup(func() { h.Close(context.Background()) })
					}
					return h, waited, err
				}
				h, waited, err := open(first, "a", "one")
				if err != nil || waited > 0 {
					t.Fatal(waited, err)
				}
				time.Sleep(time.Hour)
				tt.end(first, h)
				begun := time.Now()
				_, waited, err = open(second, tt.next, "two")
				var held *fleet.HeldError
				if errors.As(err, &held) != tt.held || err != nil && !tt.held || held != nil && held.Holder.Host != "one" {
					t.Errorf("got %v", err)
				}
				if d := time.Since(begun); d > tt.most || (waited > 0) != (tt.most > 0) {
					t.Errorf("it waited for %v, and said so %d times", d, waited)
				}
			})
		})
	}
}

// TestHoldLost: a process that was frozen learns that another one has its lists; one whose broker was away keeps them.
func TestHoldLost(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) })
		server := fakebroker.New()
		b := server.Connect("first")
		h, err := fleet.OpenHold(t.Context(), b, "k", fleet.Holder{State: "a", Host: "one"}, func(fleet.Holder) {})
		if err != nil {
			t.Fatal(err)
		}
		server.StopAnswering()
		time.Sleep(time.Minute)
		server.StartAnswering()
		time.Sleep(10 * time.Second)
		if err := h.Err(); err != nil {
			t.Error(err)
		}
		bucket, err := b.Bucket(t.Context(), "PAWL_SUBMITTERS", 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bucket.Put(t.Context(), "k", fleet.Encode(fleet.Holder{State: "b", Host: "two"})); err != nil {
			t.Fatal(err)
		}
		<-h.Lost()
		var held *fleet.HeldError
		if !errors.As(h.Err(), &held) || held.Holder.Host != "two" {
			t.Errorf("got %v", h.Err())
		}
		h.Close(t.Context())
		if v, err := bucket.Get(t.Context(), "k"); err != nil || len(v.Data) == 0 {
			t.Errorf("the key of the other process is gone: %v", err)
		}
	})
}
