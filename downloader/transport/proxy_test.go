package transport

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

	"pawl/downloader/failure"
)

// TestProxyTrial: until a proxy has accepted or refused its user, one request is under way; the
// others then follow, or fail without one.
func TestProxyTrial(t *testing.T) {
	proxy := &url.URL{Scheme: "http", Host: "proxy:3128", User: url.UserPassword("u", "p")}
	const n = 20
	wrongUser := failure.WantsUser(proxy.Host, true, nil)
	for name, tt := range map[string]struct {
		status   int
		err      error
		took     time.Duration // of each request
		first    int64         // requests until the first has ended, or trialTime has passed
		requests int64
		end      error // of all; nil for success
	}{
		"accepted":           {200, nil, time.Second, 1, n, nil},
		"refused":            {407, nil, time.Second, 1, 1, failure.ErrAuth},
		"refused a tunnel":   {0, wrongUser, time.Second, 1, 1, failure.ErrAuth},
		"a slow server":      {200, nil, 2 * trialTime, 1, n, nil},
		"unreachable":        {0, &failure.ProxyError{Host: proxy.Host}, time.Second, 1, 1, errors.New("")},
		"an error elsewhere": {0, errors.New("of the server"), time.Second, 1, n, errors.New("")},
	} {
		synctest.Test(t, func(t *testing.T) {
			var requests, failed atomic.Int64
			p := newProxies(func(*http.Request) (*url.URL, error) { return proxy, nil })
			rt := p.wrap(roundTripFunc(func(req *http.Request) (*http.Response, error) {
				requests.Add(1)
				time.Sleep(tt.took)
				if tt.err != nil {
					return nil, tt.err
				}
				return &http.Response{StatusCode: tt.status, Header: http.Header{}, Body: http.NoBody}, nil
			}))
			var all sync.WaitGroup
			for range n {
				all.Go(func() {
					req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://h/", nil)
					if _, err := rt.RoundTrip(req); err != nil {
						failed.Add(1)
						if errors.Is(tt.end, failure.ErrAuth) != errors.Is(err, failure.ErrAuth) {
							t.Errorf("%s: got %v", name, err)
						}
					}
				})
			}
			time.Sleep(min(tt.took, trialTime) / 2)
			if got := requests.Load(); got != tt.first {
				t.Errorf("%s: %d requests before the first response, want %d", name, got, tt.first)
			}
			all.Wait()
			if requests.Load() != tt.requests || (failed.Load() == n) != (tt.end != nil) {
				t.Errorf("%s: got %d requests and %d failures, want %d and %v", name, requests.Load(), failed.Load(), tt.requests, tt.end)
			}
			time.Sleep(trialTime)
		})
	}
}

// TestProxyAccepted: a 407 after the proxy has accepted its user may be from the server, or for that
// server only. The proxy is asked for other requests.
func TestProxyAccepted(t *testing.T) {
	proxy := &url.URL{Scheme: "http", Host: "proxy:3128", User: url.UserPassword("u", "p")}
	p := newProxies(func(*http.Request) (*url.URL, error) { return proxy, nil })
	var requests int
	rt := p.wrap(roundTripFunc(func(req *http.Request) (*http.Response, error) {
		requests++
		if req.URL.Host == "odd-tunnel" {
			return nil, failure.WantsUser(proxy.Host, true, nil)
		}
		status := map[string]int{"good": 200, "odd": 407}[req.URL.Host]
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody}, nil
	}))
	for i, host := range []string{"good", "odd", "good", "odd-tunnel", "good", "odd"} {
		_, err := rt.RoundTrip(newRequest(t, t.Context(), "http://"+host+"/"))
		if (err == nil) != (host == "good") || errors.Is(err, failure.ErrAuth) != (host != "good") || requests != i+1 {
			t.Errorf("request %d to %s: got %v, and %d requests", i, host, err, requests)
		}
	}
}

// TestProxyTrialExpires: a trial that lasts trialTime lets one further request try the proxy, which is
// not accepted by that, and has no effect on later trials.
func TestProxyTrialExpires(t *testing.T) {
	proxy := &url.URL{Scheme: "http", Host: "proxy:3128", User: url.UserPassword("u", "p")}
	for name, tt := range map[string]struct {
		took     time.Duration
		err      error
		at       time.Duration // a time
		requests int64         // until then
	}{
		"a slow refusal":               {2*trialTime + trialTime/2, failure.WantsUser(proxy.Host, true, nil), time.Hour, 3},
		"a trial after a failed one":   {trialTime - time.Second, errors.New("of the server"), trialTime + time.Second, 2},
		"a trial after an expired one": {trialTime + time.Second, errors.New("of the server"), 2*trialTime - time.Second, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var requests atomic.Int64
				p := newProxies(func(*http.Request) (*url.URL, error) { return proxy, nil })
				rt := p.wrap(roundTripFunc(func(*http.Request) (*http.Response, error) {
					requests.Add(1)
					time.Sleep(tt.took)
					return nil, tt.err
				}))
				for range 10 {
					go rt.RoundTrip(newRequest(t, t.Context(), "http://h/"))
				}
				time.Sleep(tt.at)
				if got := requests.Load(); got != tt.requests {
					t.Errorf("%d requests, want %d", got, tt.requests)
				}
				time.Sleep(time.Hour)
			})
		})
	}
}

// TestProxyTrialCancelled: a request that waits for a trial ends with its context.
func TestProxyTrialCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &url.URL{Scheme: "http", Host: "proxy:3128"}
		p := newProxies(nil)
		mine, err := p.begin(t.Context(), u)
		if mine == nil || err != nil {
			t.Fatalf("got %v, %v, want a trial", mine, err)
		}
		errGone := errors.New("gone")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errGone)
		defer cancel()
		if _, err := p.begin(ctx, u); err != errGone {
			t.Errorf("got %v, want the cause of the context", err)
		}
		p.end(u, mine, nil)
	})
}
