package downloader

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pawl/downloader/failure"
)

func TestRetryAfterField(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		in   string
		want time.Duration
		ok   bool
	}{
		{"0", 0, true},
		{" 120 ", 2 * time.Minute, true},
		{"Fri, 02 Jan 2026 03:05:05 GMT", time.Minute, true},
		{"Friday, 02-Jan-26 03:05:05 GMT", time.Minute, true}, // the two obsolete forms
		{"Fri Jan  2 03:05:05 2026", time.Minute, true},
		{"Thu, 01 Jan 2026 00:00:00 GMT", 0, true},
		{"Thu, 01 Jan 1970 00:00:00 GMT", 0, true},
		{"Fri, 31 Dec 9999 23:59:59 GMT", math.MaxInt64, true},
		{"9223372036", 9223372036 * time.Second, true},
		{"9223372037", math.MaxInt64, true}, // more nanoseconds than there are
		{"18446744073709551616", math.MaxInt64, true},
		{strings.Repeat("9", 100), math.MaxInt64, true},
		{in: ""}, {in: "-1"}, {in: "+1"}, {in: "1.5"}, {in: "1e3"}, {in: "0x10"}, {in: "soon"},
		{in: "120, 120"}, {in: "2026-01-02T03:05:05Z"},
	}
	for _, tt := range tests {
		got, ok := retryAfter(http.Header{"Retry-After": {tt.in}}, now)
		if got != tt.want || ok != tt.ok {
			t.Errorf("Retry-After %q: got %v, %v, want %v, %v", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"0", "9223372037", "-1", "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "99999999999999999999x"} {
		f.Add(s, int64(0))
	}
	f.Fuzz(func(t *testing.T, s string, now int64) {
		d, ok := retryAfter(http.Header{"Retry-After": {s}}, time.Unix(now, 0))
		if d < 0 || !ok && d != 0 {
			t.Errorf("Retry-After %q at %d: got %v, %v", s, now, d, ok)
		}
	})
}

// TestPatience: waits double up to the longest, within a quarter of it; tries
// are counted, and progress refills them.
func TestPatience(t *testing.T) {
	const rounds = 300
	for i, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		want *= time.Second
		low, high := time.Duration(math.MaxInt64), time.Duration(0)
		for range rounds {
			p := patience{tries: 6, min: time.Second, max: 10 * time.Second, failures: i}
			n, wait, again := p.fail(nil, p.tries)
			if n != i+1 || again != (i < 5) {
				t.Fatalf("failure %d of 6: got number %d, again %v", i+1, n, again)
			}
			low, high = min(low, wait), max(high, wait)
		}
		if low < want*3/4 || high > want*5/4 {
			t.Errorf("wait %d: got %v to %v, want %v ± 25 %%", i+1, low, high, want)
		}
		if low > want*9/10 || high < want*11/10 {
			t.Errorf("wait %d: got %v to %v, want jitter", i+1, low, high)
		}
	}
	p := patience{tries: 3, min: 1, max: 1}
	for range 10 { // a byte now and then is enough to go on for ever
		p.fail(nil, p.tries)
		if n, _, again := p.fail(nil, p.tries); n != 2 || !again {
			t.Fatalf("after progress: got failure %d, again %v, want 2, true", n, again)
		}
		p.received(1 << 40)
	}
}

// TestPatienceEndless: a server may be away for days, whatever the waits are.
func TestPatienceEndless(t *testing.T) {
	for _, first := range []time.Duration{1, time.Millisecond, time.Second, 20 * time.Second, time.Minute, time.Hour} {
		func() {
			p := patience{min: first, max: 2 * time.Hour}
			defer func() {
				if r := recover(); r != nil {
					t.Errorf("first wait %v, failure %d: panic: %v", first, p.failures, r)
				}
			}()
			for i := range 100 {
				n, wait, again := p.fail(nil, p.tries)
				if n != i+1 || wait < first*3/4 || wait > p.max*5/4 || !again {
					t.Fatalf("first wait %v, failure %d: got number %d, wait %v, again %v", first, i+1, n, wait, again)
				}
			}
		}()
	}
}

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
		return respond(code, -1), nil
	}}
}

var errScripted = errors.New("a scripted error")

func send(ctx context.Context, s *scripted, judge func(*http.Response, error) verdict) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://h/f", nil)
	if err != nil {
		return nil, err
	}
	hc := &http.Client{Transport: roundTrip(s.RoundTrip)} // without CloseIdleConnections, as the transport is
	return exchange(hc, hc, req, judge)
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
				resp, err := send(t.Context(), s, func(resp *http.Response, err error) verdict {
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
			return respond(503, -1), nil
		},
		"while it asks": func(req *http.Request, cancel func(error)) (*http.Response, error) {
			time.AfterFunc(time.Minute, func() { cancel(cause) })
			<-req.Context().Done()
			return nil, req.Context().Err()
		},
		"after the header": func(_ *http.Request, cancel func(error)) (*http.Response, error) {
			time.Sleep(time.Minute)
			cancel(cause)
			return respond(200, -1), nil
		},
	}
	for name, do := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				s, begun := &scripted{}, time.Now()
				s.do = func(_ int, req *http.Request) (*http.Response, error) { return do(req, cancel) }
				resp, err := send(ctx, s, func(*http.Response, error) verdict { return verdict{again: true, wait: time.Hour} })
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

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// TestPatienceSilence: each failure by silence doubles the time for the next try, up to a
// limit; other failures do not, and bytes do not take it back.
func TestPatienceSilence(t *testing.T) {
	p := patience{tries: 100, min: 1, max: 1, timeout: 30 * time.Second}
	for _, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, maxTimeout, maxTimeout} {
		if got := p.silence(); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
		p.fail(failure.ErrSilent, p.tries)
		p.received(1 << 40)
		before := p.silence()
		if p.fail(errScripted, p.tries); p.silence() != before {
			t.Errorf("%v became %v because the server broke off", before, p.silence())
		}
	}
	long := patience{min: 1, max: 1, timeout: time.Hour}
	if long.fail(failure.ErrSilent, 0); long.silence() != time.Hour {
		t.Errorf("a timeout of an hour became %v", long.silence())
	}
}
