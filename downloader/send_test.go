package downloader

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A scriptedTransport responds to request n, counted from 0, as do says.
type scriptedTransport struct {
	do     func(n int, req *http.Request) (*http.Response, error)
	calls  int              // number of calls of RoundTrip
	bodies []*closeRecorder // of the responses
	idle   int              // number of calls of CloseIdleConnections
}

// A closeRecorder is a body that records whether it was closed.
type closeRecorder struct {
	io.Reader
	closed bool
}

func (b *closeRecorder) Close() error { b.closed = true; return nil }

func (s *scriptedTransport) CloseIdleConnections() { s.idle++ }

func (s *scriptedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	s.calls++
	resp, err := s.do(s.calls-1, req)
	if resp != nil {
		b := &closeRecorder{Reader: strings.NewReader("content")}
		s.bodies = append(s.bodies, b)
		resp.Body, resp.Request = b, req
	}
	return resp, err
}

// check reports bodies that are open, except that the last one must be open if lastOpen is set,
// and calls of CloseIdleConnections.
func (s *scriptedTransport) check(t *testing.T, lastOpen bool) {
	t.Helper()
	for i, b := range s.bodies {
		if want := !lastOpen || i < len(s.bodies)-1; b.closed != want {
			t.Errorf("body %d of %d: got closed %v, want %v", i+1, len(s.bodies), b.closed, want)
		}
	}
	if s.idle > 0 { // other downloads need the idle connections
		t.Errorf("CloseIdleConnections was called %d times", s.idle)
	}
}

// respondWith returns a transport that responds with each status in turn, and from then on with
// the last one. Status 0 stands for errScripted.
func respondWith(codes ...int) *scriptedTransport {
	return &scriptedTransport{do: func(n int, _ *http.Request) (*http.Response, error) {
		code := codes[min(n, len(codes)-1)]
		if code == 0 {
			return nil, errScripted
		}
		return newResponse(code, -1), nil
	}}
}

var errScripted = errors.New("a scripted error")

// sendScripted sends a request over s with sendUntil.
func sendScripted(ctx context.Context, s *scriptedTransport, judge func(*http.Response, error) verdict) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://h/f", nil)
	if err != nil {
		return nil, err
	}
	hc := &http.Client{Transport: roundTripFunc(s.RoundTrip)} // like the real transport, it has no CloseIdleConnections
	return sendUntil(hc, hc, req, judge)
}

// sendUntil repeats the request as the verdicts say, and returns the last response, with any
// status and an open body, or the last error.
func TestSendUntil(t *testing.T) {
	tests := []struct {
		name  string
		codes []int
		waits []time.Duration // of the verdicts; the next verdict ends the retries
		want  int             // status; 0 for errScripted
	}{
		{"first attempt", []int{206}, nil, 206},
		{"third attempt", []int{503, 0, 200}, []time.Duration{time.Second, time.Hour}, 200},
		{"second attempt without a wait", []int{500, 200}, []time.Duration{0}, 200},
		{"final status", []int{404}, nil, 404},
		{"retries end with a status", []int{0, 503}, []time.Duration{time.Second, time.Minute, time.Second}, 503},
		{"final error", []int{0}, nil, 0},
		{"retries end with an error", []int{503, 0}, []time.Duration{time.Second, time.Second}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, began, judged := respondWith(tt.codes...), time.Now(), 0
				resp, err := sendScripted(t.Context(), s, func(resp *http.Response, err error) verdict {
					if (resp == nil) == (err == nil) {
						t.Errorf("judge: got response %v and error %v, want one of them", resp, err)
					}
					judged++
					if judged > len(tt.waits) {
						return verdict{}
					}
					return verdict{again: true, wait: tt.waits[judged-1]}
				})
				var wait time.Duration
				for _, d := range tt.waits {
					wait += d
				}
				if took := time.Since(began); took != wait {
					t.Errorf("the request took %v, want %v", took, wait)
				}
				if s.calls != len(tt.waits)+1 || judged != s.calls {
					t.Errorf("got %d attempts and %d calls of judge, want %d of both", s.calls, judged, len(tt.waits)+1)
				}
				s.check(t, tt.want != 0)
				if tt.want == 0 {
					if !errors.Is(err, errScripted) || resp != nil {
						t.Errorf("got response %v, error %v, want error %v", resp, err, errScripted)
					}
					return
				}
				if err != nil || resp.StatusCode != tt.want {
					t.Fatalf("got response %v, error %v, want status %d", resp, err, tt.want)
				}
				if b, err := io.ReadAll(resp.Body); string(b) != "content" || err != nil {
					t.Errorf("body: got %q, error %v, want %q", b, err, "content")
				}
				resp.Body.Close()
				s.check(t, false)
			})
		})
	}
}

// If the context ends, at any time, its cause is the error, and no body stays open.
func TestSendUntilCancelled(t *testing.T) {
	cause := errors.New("the cause")
	tests := map[string]func(req *http.Request, cancel func(error)) (*http.Response, error){
		"before the next attempt": func(_ *http.Request, cancel func(error)) (*http.Response, error) {
			time.AfterFunc(time.Minute, func() { cancel(cause) })
			return newResponse(503, -1), nil
		},
		"before the response": func(req *http.Request, cancel func(error)) (*http.Response, error) {
			time.AfterFunc(time.Minute, func() { cancel(cause) })
			<-req.Context().Done()
			return nil, req.Context().Err()
		},
		"after the header": func(_ *http.Request, cancel func(error)) (*http.Response, error) {
			time.Sleep(time.Minute)
			cancel(cause)
			return newResponse(200, -1), nil
		},
	}
	for name, do := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				s, began := &scriptedTransport{}, time.Now()
				s.do = func(_ int, req *http.Request) (*http.Response, error) { return do(req, cancel) }
				resp, err := sendScripted(ctx, s, func(*http.Response, error) verdict { return verdict{again: true, wait: time.Hour} })
				if !errors.Is(err, cause) || resp != nil {
					t.Errorf("got response %v, error %v, want error %v", resp, err, cause)
				}
				if took := time.Since(began); took != time.Minute || s.calls != 1 {
					t.Errorf("got %d attempts in %v, want 1 in %v", s.calls, took, time.Minute)
				}
				s.check(t, false)
			})
		})
	}
}

// A roundTripFunc is an http.RoundTripper.
type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// newResponse returns a response with an empty body. header has names and values by turns.
func newResponse(status int, length int64, header ...string) *http.Response {
	h := make(http.Header)
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, ContentLength: length, Header: h, Body: http.NoBody}
}
