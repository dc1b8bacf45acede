package downloader

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"pawl/downloader/failure"
)

// A verdict is what is to be done about the outcome of one attempt.
type verdict struct {
	again bool          // send the request again
	wait  time.Duration // after this
	limit bool          // because of how many connections there are: it is no outage
}

// exchange sends req until judge is content, and returns the last response with
// its status whatever it is. The body is the caller's to close and, where it
// breaks off, to go on with. After a failure without a response, retry sends it again.
func exchange(hc, retry *http.Client, req *http.Request, judge func(*http.Response, error) verdict) (*http.Response, error) {
	var v verdict
	var rc retryablehttp.Client
	rc = retryablehttp.Client{
		HTTPClient: hc,
		RetryMax:   math.MaxInt,
		CheckRetry: func(ctx context.Context, resp *http.Response, err error) (bool, error) {
			if ctx.Err() != nil {
				return false, context.Cause(ctx)
			}
			if err != nil {
				rc.HTTPClient = retry
			}
			v = judge(resp, err)
			return v.again, nil
		},
		Backoff: func(_, _ time.Duration, _ int, _ *http.Response) time.Duration { return v.wait },
		ErrorHandler: func(resp *http.Response, err error, _ int) (*http.Response, error) {
			if err != nil && resp != nil { // cancelled after the header
				resp.Body.Close()
				resp = nil
			}
			return resp, err
		},
	}
	rr, err := retryablehttp.FromRequest(req)
	if err != nil {
		return nil, err
	}
	resp, err := rc.Do(rr)
	if ctx := req.Context(); ctx.Err() != nil {
		if err == nil {
			resp.Body.Close()
		}
		return nil, context.Cause(ctx)
	}
	return resp, err
}

// retryAfter reads the Retry-After field, seconds or a date (RFC 9110 §10.2.3).
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(v, 10, 63); err == nil {
		if n > uint64(math.MaxInt64/time.Second) {
			return math.MaxInt64, true
		}
		return time.Duration(n) * time.Second, true
	} else if errors.Is(err, strconv.ErrRange) {
		return math.MaxInt64, true
	}
	if t, err := http.ParseTime(v); err == nil {
		if date, err := http.ParseTime(h.Get("Date")); err == nil {
			now = date // the server's clock need not be ours
		}
		return max(0, t.Sub(now)), true
	}
	return 0, false
}

// tryBytes is how many received bytes pay for one failure. A server that breaks off every
// 16 KiB is served to the end; one that sends a byte and breaks off uses up the tries.
// With half as many, such a server may be asked twice as often before the end; with twice
// as many, a connection that breaks off every 20 KiB would not do any more.
const tryBytes = 16 << 10

// patience is the retry budget of one download: failures in a row, of which received
// bytes take back one for each tryBytes. Safe for concurrent use.
type patience struct {
	tries    int // 0 is without end
	min, max time.Duration

	mu       sync.Mutex
	failures int           // guarded by mu
	credit   int64         // received bytes that have not paid for a failure; guarded by mu
	slow     int           // failures in a row that were trickles, which no bytes pay for; guarded by mu
	ended    bool          // guarded by mu
	timeout  time.Duration // of the only connection, for a response and for each next byte; guarded by mu
}

// maxTimeout is the longest timeout that failures lead to: a server may build an archive
// for some minutes before it sends the first byte. An hour would hide a dead server.
const maxTimeout = 15 * time.Minute

// silence returns how long the only connection of the download may be silent.
func (p *patience) silence() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.timeout
}

// exhausted reports after how many failures it was at its end, or 0.
func (p *patience) exhausted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return max(p.failures, p.slow)
	}
	return 0
}

// fail counts a failure, of which so many in a row end the download, 0 for no end. It
// returns how many there are now, how long to wait before the next try and whether there
// must be one. After silence, the next try may be silent for twice as long.
func (p *patience) fail(err error, most int) (n int, wait time.Duration, again bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failures++
	if errors.Is(err, failure.ErrSilent) {
		p.timeout = max(p.timeout, min(2*p.timeout, maxTimeout))
	}
	if p.slow++; !errors.Is(err, failure.ErrTrickle) {
		p.slow = 0
	}
	p.ended = most > 0 && max(p.failures, p.slow) >= most
	wait = p.max
	if shift := min(p.failures-1, 62); p.min < p.max>>shift {
		wait = p.min << shift
	}
	wait = wait*3/4 + rand.N(wait/2+1) // jitter, so that many do not return in step
	return p.failures, wait, !p.ended
}

// received notes that n further bytes of the file have arrived.
func (p *patience) received(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.credit += n
	p.failures = int(max(0, int64(p.failures)-p.credit/tryBytes))
	p.credit %= tryBytes
}

// sleep waits for d or the end of ctx, whose cause it returns.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
