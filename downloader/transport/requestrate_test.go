package transport

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pawl/downloader/recent"
)

// limitedWatchdog is a watchdog with a request rate.
func limitedWatchdog(rate float64, next roundTripFunc) watchdog {
	return watchdog{next: next, timeout: time.Minute, requests: newRequestLimiter(Options{RequestRate: rate})}
}

// TestRequestRate: over ten seconds the number of requests to each host is right to 5 %, and no
// two requests are closer than the rate allows, also after a pause.
func TestRequestRate(t *testing.T) {
	const window = 10 * time.Second
	for _, rate := range []float64{0.5, 3, 10, 333} {
		for _, conns := range []int{1, 16} {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				sent := make(map[string][]time.Time)
				d := limitedWatchdog(rate, func(req *http.Request) (*http.Response, error) {
					mu.Lock()
					defer mu.Unlock()
					sent[req.URL.Host] = append(sent[req.URL.Host], time.Now())
					return respondOK(req)
				})
				for range 2 {
					clear(sent)
					ctx, cancel := context.WithTimeout(t.Context(), window)
					var all sync.WaitGroup
					for i := range 2 * conns {
						req := newRequest(t, ctx, fmt.Sprintf("http://h%d/f", i%2))
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
						t.Errorf("%d hosts got requests, want 2", len(sent))
					}
					time.Sleep(time.Hour)
				}
			})
		}
	}
}

// TestRequestRateLate: requests that get their connections late, or again, are as far apart as others.
func TestRequestRateLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var sent []time.Time
		begun := time.Now()
		d := limitedWatchdog(5, func(req *http.Request) (*http.Response, error) {
			trace := httptrace.ContextClientTrace(req.Context())
			time.Sleep(time.Until(begun.Add(3 * time.Second))) // no connection is free before
			for range 2 {                                      // the first connection was closed by the server
				trace.GotConn(httptrace.GotConnInfo{Reused: true})
				mu.Lock()
				sent = append(sent, time.Now())
				mu.Unlock()
			}
			return respondOK(req)
		})
		var all sync.WaitGroup
		for range 10 {
			req := newRequest(t, t.Context(), "http://h/f")
			all.Go(func() {
				if resp, err := d.RoundTrip(req); err != nil {
					t.Error(err)
				} else {
					resp.Body.Close()
				}
			})
		}
		all.Wait()
		if len(sent) != 20 {
			t.Errorf("%d requests", len(sent))
		}
		for i := range sent[1:] {
			if gap := sent[i+1].Sub(sent[i]); gap < 199*time.Millisecond {
				t.Errorf("request %d after %v", i+1, gap)
			}
		}
	})
}

// TestRequestRateAll: redirects count, and the case of host names does not matter.
func TestRequestRateAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var at []time.Duration
		hops := []string{"http://h/1", "http://H/2", "http://h/3", "http://other/4", ""}
		d := limitedWatchdog(0.1, func(req *http.Request) (*http.Response, error) {
			hop := hops[len(at)]
			at = append(at, time.Since(begun)/time.Second)
			resp, _ := respondOK(req)
			if hop != "" {
				resp.StatusCode = 302
				resp.Header.Set("Location", hop)
			}
			return resp, nil
		})
		resp, err := (&http.Client{Transport: d}).Do(newRequest(t, t.Context(), "http://h/0"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if want := []time.Duration{0, 10, 20, 30, 30}; !slices.Equal(at, want) { // the last two hosts differ
			t.Errorf("got requests at seconds %d, want %d", at, want)
		}
	})
}

// TestRequestRateQueued: OnQueued is called around each wait for the rate, and the wait is not
// limited by the timeout of the request.
func TestRequestRateQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := limitedWatchdog(0.01, respondOK) // 100 s
		var got []string
		begun := time.Now()
		info := &RequestInfo{OnQueued: func(waiting bool) {
			got = append(got, fmt.Sprint(waiting, " ", time.Since(begun)))
		}}
		for range 2 {
			resp, err := d.RoundTrip(newRequest(t, WithRequest(t.Context(), info), "http://h/f"))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
		if want := "true 0s, false 0s, true 0s, false 1m40s"; strings.Join(got, ", ") != want {
			t.Errorf("got %q, want %s", got, want)
		}
	})
}

// TestRequestRateCancelled: a wait for the rate ends with the context, and has used nothing of
// the rate.
func TestRequestRateCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := limitedWatchdog(0.01, respondOK)
		begun := time.Now()
		for i, want := range []time.Duration{0, 3 * time.Second, 6 * time.Second} {
			ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, errScripted)
			resp, err := d.RoundTrip(newRequest(t, ctx, "http://h/f"))
			if took := time.Since(begun); took != want || (err == nil) != (i == 0) || i > 0 && err != errScripted {
				t.Errorf("request %d: got error %v at %v, want %v", i, err, took, want)
			}
			if err == nil {
				resp.Body.Close()
			}
			cancel()
		}
		resp, err := d.RoundTrip(newRequest(t, t.Context(), "http://h/f"))
		if took := time.Since(begun); err != nil || took != 100*time.Second {
			t.Errorf("after the cancelled ones: got %v at %v, want 1m40s", err, took)
		} else {
			resp.Body.Close()
		}
	})
}

// TestRequestRateUnlimited: a rate of 0 or less, or none, is no limit.
func TestRequestRateUnlimited(t *testing.T) {
	for _, rate := range []float64{0, -1, math.NaN()} {
		r := newRequestLimiter(Options{RequestRate: rate})
		if r != nil || r.time("h:80", 5) != 0 || r.wait(t.Context(), nil, nil) != nil {
			t.Errorf("%v/s: got a limit", rate)
		}
	}
	if got := newTestTransport(t, Options{RequestRate: 4}).RequestTime(&url.URL{Scheme: "http", Host: "h"}, 6); got != 1500*time.Millisecond {
		t.Errorf("6 requests at 4/s take %v", got)
	}
}

// TestRequestRateForgets: the rates of many hosts are not all remembered.
func TestRequestRateForgets(t *testing.T) {
	r := newRequestLimiter(Options{RequestRate: 1000})
	for i := range 50 * recent.MaxIdle {
		r.host(&url.URL{Host: fmt.Sprintf("h%d:443", i)})
	}
	if n := r.hosts.Len(); n > 2*recent.MaxIdle {
		t.Errorf("%d hosts are remembered", n)
	}
}
