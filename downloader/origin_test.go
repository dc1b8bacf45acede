package downloader

import (
	"context"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/faultserver"
)

// A connection that has received bytes repeats a refused request soon, unless the response has
// a Retry-After field.
func TestRefusedConnRetries(t *testing.T) {
	for _, retryAfter := range []string{"", "2"} {
		j, conns, _ := newTestTransfer(t, New(nil, Options{}), 2*mB, 2, start)
		conns[0].Received(1, start)
		u := &url.URL{Scheme: "http", Host: "h"}
		resp := &http.Response{StatusCode: 503, Header: http.Header{}, Request: &http.Request{URL: u}}
		if retryAfter != "" {
			resp.Header.Set("Retry-After", retryAfter)
		}
		v, instead := j.judge(conns[0], resp, &failure.StatusError{Code: 503, Host: "h"})
		if again := retryAfter == ""; v.again != again || (instead == errSteppedDown) == again {
			t.Errorf("Retry-After %q: got %+v, error %v, want again %v", retryAfter, v, instead, again)
		}
	}
}

// A 429 with a long Retry-After stops new connections and not the working ones, also if
// RetryPolicy.MaxRetryAfter is short: the wish of the server decides.
func TestObeyLongRetryAfter(t *testing.T) {
	j, conns, _ := newTestTransfer(t, New(nil, Options{Retry: RetryPolicy{MaxRetryAfter: 5 * time.Second}}), 2*mB, 2, start)
	resp := &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"60"}}}
	h := j.first.host
	if pause := j.obey(h, conns[0], resp); pause != 0 || h.PausedFor(time.Now()) != 0 {
		t.Errorf("got a pause of %v, and the host paused for %v, want none", pause, h.PausedFor(time.Now()))
	}
	if h.TryOpen(time.Now()) {
		t.Error("another connection may be opened")
	}
}

// A connection that waits for the resolver when the transfer fails returns the cause, and is no
// failure of the host.
func TestAskCancelledWhileResolving(t *testing.T) {
	j, conns, _ := newTestTransfer(t, New(nil, Options{}), 2*mB, 2, start)
	j.origin.redirects = true
	j.origin.resolving <- struct{}{} // another connection resolves the URL
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errPage)
	if _, err := j.ask(ctx, conns[0], chunk.Range{End: 1}); err != errPage {
		t.Errorf("got error %v, want %v", err, errPage)
	}
	if n := j.progress.connections(); n != 2 || j.first.host.IsLimited() {
		t.Errorf("%d connections are left, host limited %v; want 2, false", n, j.first.host.IsLimited())
	}
}

// A server that is making the file is asked at growing intervals, whatever it says, and no more than
// it wishes. Meanwhile, other connections may resolve the URL.
func TestPreparationIntervals(t *testing.T) {
	for _, tt := range []struct {
		name            string
		retryAfter      string
		least, requests int // in the first ten minutes
	}{
		{"0", "0", 20, 26},
		{"1", "1", 20, 26},
		{"a date that has passed", "Wed, 01 Jan 2025 00:00:00 GMT", 20, 26},
		{"60", "60", 9, 11},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t)
				f := faultserver.NewFile(1000, 1)
				r.srv.Put("f", f)
				var released atomic.Int64
				r.srv.Set(func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
						n := len(r.srv.Requests())
						if held := released.Load() == 0; held != (n == 1) {
							t.Errorf("request %d: other connections must wait: %v", n, held)
						}
						if time.Since(bubbleStart) > 10*time.Minute {
							next.ServeHTTP(w, req)
							return
						}
						w.Header().Set("Retry-After", tt.retryAfter)
						w.WriteHeader(http.StatusAccepted)
					})
				})
				r.opts.Retry = RetryPolicy{Tries: 1, Wait: time.Nanosecond, MaxWait: time.Nanosecond}
				d := New(r.store, r.opts)
				defer d.Close()
				j, err := newJob(d.engine, Request{URL: r.srv.URL + "/f", Into: File{Dir: r.dir}})
				if err != nil {
					t.Fatal(err)
				}
				j.first.host = d.host(j.origin.url)
				rep, err := j.askAt(t.Context(), destination{url: j.origin.url}, func() { released.Add(1) }, nil, nil, chunk.Range{End: 1})
				if err != nil {
					t.Fatal(err)
				}
				rep.close()
				if n := len(r.srv.Requests()); n < tt.least || n > tt.requests {
					t.Errorf("%d requests, want %d to %d", n, tt.least, tt.requests)
				}
				if n := released.Load(); n != 1 {
					t.Errorf("released %d times, want once", n)
				}
			})
		})
	}
}
