package downloader

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
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
