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

// A scripted transport answers request n, from 0, by do.
type scripted struct {
	do     func(n int, req *http.Request) (*http.Response, error)
	calls  int
	bodies []*scriptedBody
	idle   int // calls of CloseIdleConnections
}

type scriptedBody struct {
	io.Reader
	closed bool
}

func (b *scriptedBody) Close() error { b.closed = true; return nil }

func (s *scripted) CloseIdleConnections() { s.idle++ }

func (s *scripted) RoundTrip(req *http.Request) (*http.Response, error) {
	s.calls++
	resp, err := s.do(s.calls-1, req)
	if resp != nil {
		b := &scriptedBody{Reader: strings.NewReader("content")}
		s.bodies = append(s.bodies, b)
		resp.Body, resp.Request = b, req
	}
	return resp, err
}

// check says what of the bodies is not as it should be: all but the last are
// closed, and that if not wanted.
func (s *scripted) check(t *testing.T, lastOpen bool) {
	t.Helper()
	for i, b := range s.bodies {
		if want := !lastOpen || i < len(s.bodies)-1; b.closed != want {
			t.Errorf("body %d of %d: got closed %v, want %v", i+1, len(s.bodies), b.closed, want)
		}
	}
	if s.idle > 0 { // they are those of all downloads
		t.Errorf("idle connections were closed %d times", s.idle)
	}
}

// statuses answers with each in turn, and with the last for ever; 0 is an error.
func statuses(codes ...int) *scripted {
	return &scripted{do: func(n int, _ *http.Request) (*http.Response, error) {
		code := codes[min(n, len(codes)-1)]
		if code == 0 {
			return nil, errScripted
		}
		return newResponse(code, -1), nil
	}}
}

var errScripted = errors.New("a scripted error")

func sendScripted(ctx context.Context, s *scripted, judge func(*http.Response, error) verdict) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://h/f", nil)
	if err != nil {
		return nil, err
	}
	hc := &http.Client{Transport: roundTripFunc(s.RoundTrip)} // without CloseIdleConnections, as the transport is
	return sendUntil(hc, hc, req, judge)
}

// TestExchange: retries follow the verdicts, in fake time; the last response is
// returned whatever it is, with an open body.
func TestExchange(t *testing.T) {
	tests := []struct {
		name  string
		codes []int
		again []time.Duration // the waits of the verdicts; no further attempt behind them
		want  int             // status; 0 an error
	}{
		{"at once", []int{206}, nil, 206},
		{"third attempt", []int{503, 0, 200}, []time.Duration{time.Second, time.Hour}, 200},
		{"at once again", []int{500, 200}, []time.Duration{0}, 200},
		{"final status", []int{404}, nil, 404},
		{"patience ends on a status", []int{0, 503}, []time.Duration{time.Second, time.Minute, time.Second}, 503},
		{"final error", []int{0}, nil, 0},
		{"patience ends on an error", []int{503, 0}, []time.Duration{time.Second, time.Second}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, begun, judged := statuses(tt.codes...), time.Now(), 0
				resp, err := sendScripted(t.Context(), s, func(resp *http.Response, err error) verdict {
					if (resp == nil) == (err == nil) {
						t.Errorf("judge: got response %v, error %v", resp, err)
					}
					judged++
					if judged > len(tt.again) {
						return verdict{}
					}
					return verdict{again: true, wait: tt.again[judged-1]}
				})
				var want time.Duration
				for _, d := range tt.again {
					want += d
				}
				if took := time.Since(begun); took != want {
					t.Errorf("took: got %v, want %v", took, want)
				}
				if s.calls != len(tt.again)+1 || judged != s.calls {
					t.Errorf("got %d attempts, %d judged, want %d", s.calls, judged, len(tt.again)+1)
				}
				s.check(t, tt.want != 0)
				if tt.want == 0 {
					if !errors.Is(err, errScripted) || resp != nil {
						t.Errorf("got %v, %v, want %v", resp, err, errScripted)
					}
					return
				}
				if err != nil || resp.StatusCode != tt.want {
					t.Fatalf("got %v, %v, want status %d", resp, err, tt.want)
				}
				if b, err := io.ReadAll(resp.Body); string(b) != "content" || err != nil {
					t.Errorf("body: got %q, %v", b, err)
				}
				resp.Body.Close()
				s.check(t, false)
			})
		})
	}
}

// TestExchangeCancelled: wherever a context ends, its cause is the error, and
// no body is left open.
func TestExchangeCancelled(t *testing.T) {
	cause := errors.New("the cause")
	tests := map[string]func(req *http.Request, cancel func(error)) (*http.Response, error){
		"while it waits": func(_ *http.Request, cancel func(error)) (*http.Response, error) {
			time.AfterFunc(time.Minute, func() { cancel(cause) })
			return newResponse(503, -1), nil
		},
		"while it asks": func(req *http.Request, cancel func(error)) (*http.Response, error) {
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
				s, begun := &scripted{}, time.Now()
				s.do = func(_ int, req *http.Request) (*http.Response, error) { return do(req, cancel) }
				resp, err := sendScripted(ctx, s, func(*http.Response, error) verdict { return verdict{again: true, wait: time.Hour} })
				if !errors.Is(err, cause) || resp != nil {
					t.Errorf("got %v, %v, want the context's cause", resp, err)
				}
				if took := time.Since(begun); took != time.Minute || s.calls != 1 {
					t.Errorf("got %d attempts in %v, want 1 in %v", s.calls, took, time.Minute)
				}
				s.check(t, false)
			})
		})
	}
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// respond returns a response with a status, a length and an empty body.
func newResponse(status int, length int64, header ...string) *http.Response {
	h := make(http.Header)
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, ContentLength: length, Header: h, Body: http.NoBody}
}
