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

	"pawl/chunk"
	"pawl/downloader/transport"
)

// newRateLimited returns the client of a Downloader with a request rate. Each of its requests
// waits for the rate, and then fails with errScripted.
func newRateLimited(rate float64) (*Downloader, *http.Client) {
	d := New(nil, Options{StallTimeout: time.Second, RequestRate: rate, Proxy: func(*http.Request) (*url.URL, error) { return nil, errScripted }})
	return d, d.transport.Client(false)
}

// TestTurnsNoStall: to the pool, a request that waits for the request rate does not wait for a
// silent server.
func TestTurnsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, hc := newRateLimited(0.1)
		p, ws, causes := poolOf(t, 0, member{bytes: mB}, member{bytes: mB, rate: float64(mB)})
		ws[0].reach = 0
		var calls atomic.Int64
		ctx := transport.WithRequest(t.Context(), &transport.RequestInfo{OnQueued: func(waits bool) {
			calls.Add(1)
			p.queue(ws[0], waits, time.Now())
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
					p.mu.Lock()
					ws[1].lastByte = time.Now() // others move
					robbed := ws[0].queued && p.theftBy(ws[1], time.Now()).victim == ws[0]
					p.mu.Unlock()
					p.unhang(time.Now(), time.Hour)
					if causes[0] != nil || robbed {
						t.Errorf("request %d was ended while it waited: %v", i, causes[0])
					}
				}
			}
		}
		if calls.Load() != 6 {
			t.Errorf("the pool was told %d times, want 6", calls.Load())
		}
		p.mu.Lock()
		ws[1].lastByte = time.Now().Add(stuckAfter + 1)
		p.mu.Unlock()
		if p.unhang(ws[1].lastByte, time.Hour); !errors.Is(causes[0], errHung) {
			t.Errorf("a request that was sent and has no response: got %v, want %v", causes[0], errHung)
		}
	})
}

// TestTurnsTold: the pool is told of a worker whose request waits for its turn.
func TestTurnsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, hc := newRateLimited(0.1)
		hc.Get("http://h/f")
		j, err := newJob(d, Request{URL: "http://h/f"})
		if err != nil {
			t.Fatal(err)
		}
		j.host = newHost("h", 1)
		enterNow(t, j.host, 1)
		w, r := &worker{}, chunk.Range{End: 1000}
		j.pool = newPool(j.host, chunk.NewPlan(r.End, chunk.Set{}), false)
		j.pool.begin(w, r, false, func(error) {}, time.Now())
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		to := j.first(destination{url: j.asked})
		to.judge = func(resp *http.Response, err error) (verdict, error) { return j.judge(w, resp, err) }
		var asking sync.WaitGroup
		asking.Go(func() {
			if _, err := j.askOnce(ctx, to, w, r); err != errScripted {
				t.Errorf("got error %v, want %v", err, errScripted)
			}
		})
		for _, want := range []bool{true, false} {
			synctest.Wait()
			j.pool.mu.Lock()
			if w.queued != want {
				t.Errorf("got queued %v, want %v", w.queued, want)
			}
			j.pool.mu.Unlock()
			cancel(errScripted)
			asking.Wait()
		}
	})
}
