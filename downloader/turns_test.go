package downloader

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pawl/downloader/sched"
	"pawl/downloader/transport"
)

// newRateLimited returns the client of a Downloader with a request rate. Each of its requests
// waits for the rate, and then fails with errScripted.
func newRateLimited(rate float64) (*Downloader, *http.Client) {
	d := New(nil, Options{StallTimeout: time.Second, RequestRate: rate, Proxy: func(*http.Request) (*url.URL, error) { return nil, errScripted }})
	return d, d.transport.Client(false)
}

// TestTurnsNoStall: the wait for a turn is no silence of the server's, neither to
// the transport nor to the pool.
func TestTurnsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, hc := newRateLimited(0.1)
		_, ws, stops := transferring(t, d, 2*mB, 2, time.Now())
		ws[0].Requesting(func(r sched.Reason) { stops[0] = r }, time.Now())
		tick := func(now time.Time) {
			ws[1].Received(1, now) // the other connection moves
			ws[0].t.sched.Tick(now, sched.Limit{}, func(*sched.Conn) {})
		}
		var calls atomic.Int64
		ctx := transport.WithRequest(t.Context(), &transport.RequestInfo{OnQueued: func(waits bool) {
			calls.Add(1)
			ws[0].Queued(waits, time.Now())
		}})
		for i := range 3 {
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://h/f", nil)
				if _, err := hc.Do(req); !errors.Is(err, errScripted) {
					t.Errorf("request %d: got %v", i, err)
				}
			}()
			for waits := true; waits; {
				select {
				case <-ended:
					waits = false
				case <-time.After(time.Second):
					if tick(time.Now()); stops[0] != 0 {
						t.Errorf("request %d was stopped while it waited: %v", i, stops[0])
					}
				}
			}
		}
		if calls.Load() != 6 {
			t.Errorf("the pool was told %d times, want 6", calls.Load())
		}
		if tick(time.Now().Add(6 * time.Second)); stops[0] != sched.Overdue {
			t.Errorf("a request that was sent and has no response: got %v, want %v", stops[0], sched.Overdue)
		}
	})
}

// TestTurnsTold: the scheduler learns that a request waits for its turn, and does not take
// that for a server that sends no response.
func TestTurnsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, hc := newRateLimited(0.01)
		hc.Get("http://h/f") // the next request must wait for 100 s
		j, ws, _ := transferring(t, d, 2*mB, 2, time.Now())
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		to := j.target(destination{url: j.origin.url})
		to.judge = func(resp *http.Response, err error) (verdict, error) { return j.judge(ws[0], resp, err) }
		var asking sync.WaitGroup
		asking.Go(func() {
			if _, err := send(ctx, j.download, to, ws[0], ws[0].Remaining()); err != errScripted {
				t.Errorf("got error %v, want %v", err, errScripted)
			}
		})
		for range 30 {
			time.Sleep(time.Second)
			ws[1].Received(1, time.Now()) // the other connection moves
			ws[0].t.sched.Tick(time.Now(), sched.Limit{}, func(*sched.Conn) {})
		}
		cancel(errScripted)
		asking.Wait()
	})
}
