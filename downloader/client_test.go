package downloader

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pawl/downloader/failure"
)

// TestPatience: waits double up to the longest, within a quarter of it; tries
// are counted, and progress refills them.
func TestPatience(t *testing.T) {
	const rounds = 300
	for i, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		want *= time.Second
		low, high := time.Duration(math.MaxInt64), time.Duration(0)
		for range rounds {
			p := retryBudget{tries: 6, minWait: time.Second, maxWait: 10 * time.Second, failures: i}
			n, wait, again := p.failed(nil, p.tries)
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
	p := retryBudget{tries: 3, minWait: 1, maxWait: 1}
	for range 10 { // a byte now and then is enough to go on for ever
		p.failed(nil, p.tries)
		if n, _, again := p.failed(nil, p.tries); n != 2 || !again {
			t.Fatalf("after progress: got failure %d, again %v, want 2, true", n, again)
		}
		p.received(1 << 40)
	}
}

// TestPatienceEndless: a server may be away for days, whatever the waits are.
func TestPatienceEndless(t *testing.T) {
	for _, first := range []time.Duration{1, time.Millisecond, time.Second, 20 * time.Second, time.Minute, time.Hour} {
		func() {
			p := retryBudget{minWait: first, maxWait: 2 * time.Hour}
			defer func() {
				if r := recover(); r != nil {
					t.Errorf("first wait %v, failure %d: panic: %v", first, p.failures, r)
				}
			}()
			for i := range 100 {
				n, wait, again := p.failed(nil, p.tries)
				if n != i+1 || wait < first*3/4 || wait > p.maxWait*5/4 || !again {
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
	hc := &http.Client{Transport: watchdog{next: s, timeout: time.Minute}}
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

// A dripBody gives a byte after each of the gaps, and ends. Like the body of a
// real transport it ends early with the request.
type dripBody struct {
	ctx  context.Context
	gaps []time.Duration
}

func (b *dripBody) Close() error { return nil }

func (b *dripBody) Read(p []byte) (int, error) {
	if len(b.gaps) == 0 {
		return 0, io.EOF
	}
	if err := sleep(b.ctx, b.gaps[0]); err != nil {
		return 0, b.ctx.Err()
	}
	b.gaps = b.gaps[1:]
	return 1, nil
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// TestWatchdog: silence during one read ends a body; a slow body and a slow
// reader do not.
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
				var ctx context.Context // of the request that the transport sees
				d := watchdog{roundTrip(func(req *http.Request) (*http.Response, error) {
					ctx = req.Context()
					return &http.Response{Body: &dripBody{ctx, tt.gaps}}, nil
				}), limit, nil, 0, minRate{}}
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://h", nil)
				resp, err := d.RoundTrip(req)
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

// TestWatchdogError: a request without a response leaves nothing behind.
func TestWatchdogError(t *testing.T) {
	var ctx context.Context
	d := watchdog{roundTrip(func(req *http.Request) (*http.Response, error) {
		ctx = req.Context()
		return nil, errScripted
	}), time.Minute, nil, 0, minRate{}}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://h", nil)
	if _, err := d.RoundTrip(req); err != errScripted || ctx.Err() == nil {
		t.Errorf("got error %v, context %v, want %v, cancelled", err, ctx.Err(), errScripted)
	}
}

func TestCheckRedirect(t *testing.T) {
	secrets := []string{"Authorization", "Cookie", "Proxy-Authorization", "X-Token"}
	tests := []struct {
		name     string
		path     string // the URLs, in order
		insecure bool
		err      error
		home     bool // keeps what is only for the origin
	}{
		{"same origin", "http://h/a http://h/b", false, nil, true},
		{"other case", "http://h/a http://H/b", false, nil, true},
		{"default port", "https://h/a https://h:443/b", false, nil, true}, // RFC 6454 §4: the same origin
		{"other host", "http://h/a http://o/b", false, nil, false},
		{"subdomain", "http://h/a http://sub.h/b", false, nil, false},
		{"other port", "http://h/a http://h:81/b", false, nil, false},
		{"to https", "http://h/a https://h/b", false, nil, false},
		{"to https on the same port", "http://h:81/a https://h:81/b", false, nil, false},
		{"to http", "https://h/a http://h/b", false, failure.ErrTLS, false},
		{"to http in the end", "http://h/a https://h/b http://h/c", false, failure.ErrTLS, false},
		{"to http, allowed", "https://h/a http://h/b", true, nil, false},
		{"on from another host", "http://h/a http://o/b http://o/c", false, nil, false},
		{"home again", "http://h/a http://o/b http://h/c", false, nil, false},
		{"nineteen", strings.Repeat("http://h/a ", maxRedirects-1) + "http://h/b", false, nil, true},
		{"twenty", strings.Repeat("http://h/a ", maxRedirects) + "http://h/b", false, failure.ErrProtocol, false},
	}
	for _, tt := range tests {
		var via []*http.Request
		for _, u := range strings.Fields(tt.path) {
			req, err := http.NewRequest(http.MethodGet, u, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Range", "bytes=0-1")
			req.Header.Set("User-Agent", "pawl")
			req.Header.Set("Referer", "mine")
			for _, name := range secrets {
				req.Header.Set(name, "secret")
			}
			if len(via) > 0 { // as net/http does
				req.Response = &http.Response{Request: via[len(via)-1]}
			}
			via = append(via, req)
		}
		req := via[len(via)-1]
		req.Header.Set("Referer", "http://h/a?signature") // as net/http does
		err := Options{Insecure: tt.insecure}.checkRedirect(req, via[:len(via)-1])
		if !errors.Is(err, tt.err) || failure.IsPermanent(err) != (tt.err != nil) {
			t.Errorf("%s: got error %v (permanent %v), want %v", tt.name, err, failure.IsPermanent(err), tt.err)
		}
		if tt.err != nil {
			continue
		}
		want := map[bool]string{true: "mine"}[tt.home]
		if got := req.Header.Get("Referer"); got != want {
			t.Errorf("%s: Referer: got %q, want %q", tt.name, got, want)
		}
		for _, name := range secrets {
			if got := req.Header.Get(name) != ""; got != tt.home {
				t.Errorf("%s: %s kept: got %v, want %v", tt.name, name, got, tt.home)
			}
		}
		if req.Header.Get("Range") != "bytes=0-1" || req.Header.Get("User-Agent") != "pawl" {
			t.Errorf("%s: got header %v, want Range and User-Agent as they were", tt.name, req.Header)
		}
	}
}

// TestPatienceSilence: each failure by silence doubles the time for the next try, up to a
// limit; other failures do not, and bytes do not take it back.
func TestPatienceSilence(t *testing.T) {
	p := retryBudget{tries: 100, minWait: 1, maxWait: 1, timeout: 30 * time.Second}
	for _, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, maxSilenceTimeout, maxSilenceTimeout} {
		if got := p.silenceTimeout(); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
		p.failed(errStalled, p.tries)
		p.received(1 << 40)
		before := p.silenceTimeout()
		if p.failed(errScripted, p.tries); p.silenceTimeout() != before {
			t.Errorf("%v became %v because the server broke off", before, p.silenceTimeout())
		}
	}
	long := retryBudget{minWait: 1, maxWait: 1, timeout: time.Hour}
	if long.failed(errNoAnswer, 0); long.silenceTimeout() != time.Hour {
		t.Errorf("a timeout of an hour became %v", long.silenceTimeout())
	}
}

// TestWatchdogOneClock: one clock runs until the response header, whatever the request
// waits for, and starts again when a queue of our own moves.
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
				waitsInTurn(ctx, false)
			}
		}, 5*connect + connect + timeout},
		{"in a queue for a stream", func(ctx context.Context) {
			for range 5 {
				waitsInTurn(ctx, true)
				time.Sleep(timeout - 1)
			}
		}, 5*(timeout-1) + 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := watchdog{roundTrip(func(req *http.Request) (*http.Response, error) {
					tt.wait(req.Context())
					<-req.Context().Done()
					return nil, req.Context().Err()
				}), timeout, nil, connect, minRate{}}
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://h", nil)
				begun := time.Now()
				_, err := d.RoundTrip(req)
				if took := time.Since(begun); err != errNoAnswer || took != tt.took {
					t.Errorf("got %v after %v, want %v after %v", err, took, errNoAnswer, tt.took)
				}
			})
		})
	}
}

// respond returns a response with a status, a length and an empty body.
func respond(status int, length int64, header ...string) *http.Response {
	h := make(http.Header)
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, ContentLength: length, Header: h, Body: http.NoBody}
}
