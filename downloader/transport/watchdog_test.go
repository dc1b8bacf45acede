package transport

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A dripBody gives a byte after each of the gaps, and then ends. Like the body of a real
// transport, it fails when its request is cancelled.
type dripBody struct {
	ctx  context.Context
	gaps []time.Duration
}

func (b *dripBody) Close() error { return nil }

func (b *dripBody) Read(p []byte) (int, error) {
	if len(b.gaps) == 0 {
		return 0, io.EOF
	}
	select {
	case <-time.After(b.gaps[0]):
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
	b.gaps = b.gaps[1:]
	return 1, nil
}

// TestWatchdog: silence during one read ends a body; a slow body and a slow reader do not.
func TestWatchdog(t *testing.T) {
	const limit = time.Minute
	tests := []struct {
		name  string
		gaps  []time.Duration
		pause time.Duration // of the reader before each read
		want  error
		took  time.Duration
	}{
		{"no byte in time", []time.Duration{time.Hour}, 0, errStalled, limit},
		{"slow to the end", slices.Repeat([]time.Duration{limit - 1}, 10), 0, nil, 10 * (limit - 1)},
		{"silent later", []time.Duration{limit - 1, limit - 1, limit + 1}, 0, errStalled, 3*limit - 2},
		{"slow reader", []time.Duration{0, 0, limit - 1}, 5 * limit, nil, 4*5*limit + limit - 1},
		{"slow reader of a silent body", []time.Duration{0, time.Hour}, 5 * limit, errStalled, 2*5*limit + limit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ctx context.Context // of the request as the transport gets it
				d := watchdog{timeout: limit, next: roundTripFunc(func(req *http.Request) (*http.Response, error) {
					ctx = req.Context()
					return &http.Response{Body: &dripBody{ctx, tt.gaps}}, nil
				})}
				resp, err := d.RoundTrip(newRequest(t, t.Context(), "http://h"))
				if err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				for one := make([]byte, 1); err == nil; {
					time.Sleep(tt.pause)
					_, err = resp.Body.Read(one)
				}
				if took := time.Since(begun); took != tt.took || err != tt.want && (tt.want != nil || err != io.EOF) {
					t.Errorf("got %v in %v, want %v in %v", err, took, tt.want, tt.took)
				}
				resp.Body.Close()
				if ctx.Err() == nil {
					t.Error("the request lives on after Close")
				}
			})
		})
	}
}

// TestWatchdogMinRate: a body that arrives at less than the minimum rate is ended after the
// window, and one that arrives at the minimum rate is not.
func TestWatchdogMinRate(t *testing.T) {
	tests := []struct {
		name   string
		fast   int           // bytes that arrive at once at first
		gap    time.Duration // between two of the 600 others
		window time.Duration
		want   error
		took   time.Duration
	}{
		{"one byte a second", 0, time.Second, time.Minute, io.EOF, 600 * time.Second},
		{"slower", 0, 1100 * time.Millisecond, time.Minute, errTrickle, 55 * 1100 * time.Millisecond},
		{"twice the timeout is the default window", 0, 2 * time.Second, 0, errTrickle, 20 * time.Second},
		{"slower after a fast window", 600, 2 * time.Second, time.Minute, errTrickle, 120 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := watchdog{timeout: 10 * time.Second, minRate: minRate{1, tt.window}, next: roundTripFunc(func(req *http.Request) (*http.Response, error) {
					return &http.Response{Body: &dripBody{req.Context(), slices.Concat(make([]time.Duration, tt.fast), slices.Repeat([]time.Duration{tt.gap}, 600))}}, nil
				})}
				resp, err := d.RoundTrip(newRequest(t, t.Context(), "http://h"))
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				begun := time.Now()
				for one := make([]byte, 1); err == nil; {
					_, err = resp.Body.Read(one)
				}
				if took := time.Since(begun); err != tt.want || took != tt.took {
					t.Errorf("got %v in %v, want %v in %v", err, took, tt.want, tt.took)
				}
			})
		})
	}
}

// TestWatchdogError: a request without a response leaves nothing behind.
func TestWatchdogError(t *testing.T) {
	var ctx context.Context
	d := watchdog{timeout: time.Minute, next: roundTripFunc(func(req *http.Request) (*http.Response, error) {
		ctx = req.Context()
		return nil, errScripted
	})}
	if _, err := d.RoundTrip(newRequest(t, t.Context(), "http://h")); err != errScripted || ctx.Err() == nil {
		t.Errorf("got error %v, context %v, want %v, cancelled", err, ctx.Err(), errScripted)
	}
}

// TestWatchdogOneClock: one clock runs until the response header, whatever the request waits
// for. It starts again when the request is sent, and when a queue of ours moves.
func TestWatchdogOneClock(t *testing.T) {
	const timeout, connect = 10 * time.Second, time.Minute
	tests := []struct {
		name string
		wait func(context.Context) // before the request waits for ever
		took time.Duration
	}{
		{"never sent", func(context.Context) {}, connect + timeout},
		{"sent", func(ctx context.Context) {
			time.Sleep(5 * time.Second)
			httptrace.ContextClientTrace(ctx).WroteRequest(httptrace.WroteRequestInfo{})
		}, 5*time.Second + timeout},
		{"in a queue before a connection", func(ctx context.Context) {
			for range 5 {
				time.Sleep(connect)
				attemptOf(ctx).notSilent(false)
			}
		}, 5*connect + connect + timeout},
		{"in a queue for a stream", func(ctx context.Context) {
			for range 5 {
				attemptOf(ctx).notSilent(true)
				time.Sleep(timeout - 1)
			}
		}, 5*(timeout-1) + 1},
	}
	for _, own := range []bool{false, true} { // the timeout is the request's own
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := watchdog{timeout: timeout, connectTimeout: connect, next: roundTripFunc(func(req *http.Request) (*http.Response, error) {
						tt.wait(req.Context())
						<-req.Context().Done()
						return nil, req.Context().Err()
					})}
					ctx := t.Context()
					if own {
						d.timeout = time.Hour
						ctx = WithRequest(ctx, &RequestInfo{Timeout: func() time.Duration { return timeout }})
					}
					begun := time.Now()
					_, err := d.RoundTrip(newRequest(t, ctx, "http://h"))
					if took := time.Since(begun); err != errNoResponse || took != tt.took {
						t.Errorf("got %v after %v, want %v after %v", err, took, errNoResponse, tt.took)
					}
				})
			})
		}
	}
}

// TestRequestWay: a RequestInfo knows how each response has come, with redirects.
func TestRequestWay(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.Redirect(w, r, "/", http.StatusFound)
		}
	}))
	defer s.Close()
	tr := New(Options{Connections: 1, ConnectTimeout: time.Minute, StallTimeout: time.Minute}, nil)
	defer tr.Close()
	for path, want := range map[string]int{"/": 1, "/elsewhere": 2} {
		for again := range 2 {
			sent := make(chan struct{}, 2*want)
			info := &RequestInfo{OnSent: func() { sent <- struct{}{} }}
			if info.Took() != 0 {
				t.Error("a request that was not sent has taken time")
			}
			resp, err := tr.Client(false).Do(newRequest(t, WithRequest(t.Context(), info), s.URL+path))
			if err != nil {
				t.Fatal(err)
			}
			drain(resp)
			for range want { // net/http may call OnSent after the response
				<-sent
			}
			if len(sent) > 0 || again > 0 && info.NewConn() {
				t.Errorf("%s: sent %d more times than %d, new connection %t", path, len(sent), want, info.NewConn())
			}
		}
	}
}
