package downloader

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"pawl/downloader/sched"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// roundTripOK answers at once.
func roundTripOK(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: make(http.Header), Body: http.NoBody, Request: req}, nil
}

// TestTurns: over ten seconds the number of requests to each host is right within
// 5 %, and no two are closer than the rate says, also after a pause.
func TestTurns(t *testing.T) {
	const window = 10 * time.Second
	for _, rate := range []float64{0.5, 3, 10, 333, 1000} {
		for _, conns := range []int{1, 16} {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				sent := make(map[string][]time.Time)
				d := watchdog{roundTrip(func(req *http.Request) (*http.Response, error) {
					mu.Lock()
					defer mu.Unlock()
					sent[req.URL.Host] = append(sent[req.URL.Host], time.Now())
					return roundTripOK(req)
				}), time.Minute, newTurns(rate), 0, minRate{}}
				for range 2 {
					clear(sent)
					ctx, cancel := context.WithTimeout(t.Context(), window)
					var all sync.WaitGroup
					for i := range 2 * conns {
						req, _ := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://h%d/f", i%2), nil)
						all.Go(func() {
							for ctx.Err() == nil {
								if resp, err := d.RoundTrip(req); err == nil {
									resp.Body.Close()
								}
							}
						})
					}
					all.Wait()
					cancel()
					for host, times := range sent {
						if want := rate*window.Seconds() + 0.5; math.Abs(float64(len(times))-want) > 0.5+0.05*want {
							t.Errorf("%v/s, %d connections, %s: got %d requests in %v", rate, conns, host, len(times), window)
						}
						for i := range times[1:] {
							if gap := times[i+1].Sub(times[i]); float64(gap) < 0.999*float64(time.Second)/rate {
								t.Fatalf("%v/s, %d connections, %s: request %d after %v", rate, conns, host, i+1, gap)
							}
						}
					}
					if len(sent) != 2 {
						t.Errorf("%d hosts were asked, want 2", len(sent))
					}
					time.Sleep(time.Hour)
				}
			})
		}
	}
}

// TestTurnsAll: redirects and retries are requests, too, and hosts are the same
// in whatever case they are written.
func TestTurnsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var at []time.Duration
		hops := []string{"http://h/1", "http://H/2", "", "http://h/4", "http://other/5", "200"} // "" is a failure
		tr := roundTrip(func(req *http.Request) (*http.Response, error) {
			hop := hops[len(at)]
			at = append(at, time.Since(begun))
			resp, _ := roundTripOK(req)
			switch {
			case hop == "":
				resp.StatusCode = 503
			case strings.HasPrefix(hop, "http"):
				resp.StatusCode = 302
				resp.Header.Set("Location", hop)
			}
			return resp, nil
		})
		hc := &http.Client{Transport: watchdog{tr, time.Minute, newTurns(0.1), 0, minRate{}}}
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://h/0", nil)
		resp, err := sendUntil(hc, hc, req, func(resp *http.Response, err error) verdict {
			return verdict{again: resp.StatusCode == 503, wait: time.Second}
		})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		want := []time.Duration{0, 10, 20, 30, 40, 40} // the last two hosts differ
		if fmt.Sprint(len(at)) != fmt.Sprint(len(want)) {
			t.Fatalf("got requests at %v", at)
		}
		for i := range want {
			if at[i] != want[i]*time.Second {
				t.Errorf("request %d: at %v, want %v", i, at[i], want[i]*time.Second)
			}
		}
	})
}

// TestTurnsNoStall: the wait for a turn is no silence of the server's, neither to
// the transport nor to the pool.
func TestTurnsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{StallTimeout: time.Second, RequestRate: 0.1}.withDefaults()
		hc := newHTTPClient(o, &dialer{}, newSlots(nil, 1), newTurns(o.RequestRate), false)
		transport := hc.Transport.(watchdog).next.(guard).all.(*renewing).now
		var servers sync.WaitGroup
		transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			servers.Go(func() { serveEmpty(theirs) })
			return ours, nil
		}
		j, ws, stops := transferring(t, New(nil, Options{}), 2*mB, 2, time.Now())
		ws[0].Requesting(func(r sched.Reason) { stops[0] = r }, time.Now())
		tick := func(now time.Time) {
			ws[1].Received(1, now) // the other connection moves
			j.transfer.sched.Tick(now, sched.Limit{}, func(*sched.Conn) {})
		}
		var calls atomic.Int64
		ctx := context.WithValue(t.Context(), queuedKey{}, func(waits bool) {
			calls.Add(1)
			ws[0].Queued(waits, time.Now())
		})
		for i := range 3 {
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://h/f", nil)
				resp, err := hc.Do(req)
				if err != nil {
					t.Errorf("request %d: %v", i, err)
					return
				}
				resp.Body.Close()
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
		transport.CloseIdleConnections()
		servers.Wait()
	})
}

// serveEmpty answers each request on c with an empty body.
func serveEmpty(c net.Conn) {
	defer c.Close()
	b := make([]byte, 4096)
	for {
		if _, err := c.Read(b); err != nil {
			return
		}
		if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); err != nil {
			return
		}
	}
}

func TestTurnsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := watchdog{roundTrip(roundTripOK), time.Minute, newTurns(0.01), 0, minRate{}}
		begun := time.Now()
		for i, want := range []time.Duration{0, 3 * time.Second, 6 * time.Second} {
			ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, errScripted)
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://h/f", nil)
			resp, err := d.RoundTrip(req)
			if took := time.Since(begun); took != want || (err == nil) != (i == 0) || i > 0 && err != errScripted {
				t.Errorf("request %d: got error %v at %v, want %v", i, err, took, want)
			}
			if err == nil {
				resp.Body.Close()
			}
			cancel()
		}
	})
}

func TestTurnsUnlimited(t *testing.T) {
	for _, rate := range []float64{0, -1, math.NaN()} {
		if turns := newTurns(rate); turns != nil || turns.span(5) != 0 || turns.wait(t.Context(), nil) != nil {
			t.Errorf("%v/s: got a limit", rate)
		}
	}
}

// TestTurnsTold: the scheduler learns that a request waits for its turn, and does not take
// that for a server that sends no response.
func TestTurnsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(nil, Options{RequestRate: 0.01})
		d.turns.of(parsed(t, "http://h/f")).take(t.Context(), 1)
		j, ws, _ := transferring(t, d, 2*mB, 2, time.Now())
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		to := j.originTarget(destination{url: j.origin.url})
		to.judge = func(resp *http.Response, err error) (verdict, error) { return j.judge(ws[0], resp, err) }
		var asking sync.WaitGroup
		asking.Go(func() {
			if _, err := j.exchange(ctx, to, ws[0], ws[0].Remaining()); err != errScripted {
				t.Errorf("got error %v, want %v", err, errScripted)
			}
		})
		for range 30 {
			time.Sleep(time.Second)
			ws[1].Received(1, time.Now()) // the other connection moves
			j.transfer.sched.Tick(time.Now(), sched.Limit{}, func(*sched.Conn) {})
		}
		cancel(errScripted)
		asking.Wait()
	})
}

func parsed(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := parseURL(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
