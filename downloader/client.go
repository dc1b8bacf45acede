package downloader

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"pawl/downloader/failure"
)

const (
	readBuffer   = 64 << 10 // bytes of each connection's buffer for headers and small reads
	maxRedirects = 20
	idleMost     = 128 // connections that are kept, of however many hosts
)

// newHTTPClient returns a client of a Downloader, whose requests wait for their turns,
// and whose connections take their slots of shared. Ranges go over HTTP/1.1,
// because HTTP/2, which is for small files, would put them all on one TCP connection.
func newHTTPClient(o Options, d *dialer, shared *slots, turns *turns, http2 bool) *http.Client {
	limited := newTransport(o, d.dial, shared, http2)
	if !o.Follow.Private {
		limited = guard{limited, newTransport(o, publicOnly(d.dial), shared, http2), o.Proxy}
	}
	return &http.Client{
		Transport:     watchdog{limited, o.StallTimeout, turns, 2 * o.ConnectTimeout, minRate{o.MinRate, o.MinRateTime}}, // for TCP and for TLS
		CheckRedirect: o.checkRedirect,
	}
}

// newTransport returns a transport whose connections dial opens.
func newTransport(o Options, dial func(ctx context.Context, network, addr string) (net.Conn, error), shared *slots, http2 bool) http.RoundTripper {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(http2)
	t := &http.Transport{
		Proxy:               o.Proxy,
		DialContext:         dial,
		TLSClientConfig:     &tls.Config{RootCAs: o.RootCAs, InsecureSkipVerify: o.Insecure},
		TLSHandshakeTimeout: o.ConnectTimeout,
		MaxIdleConns:        max(idleMost, o.Connections),
		MaxIdleConnsPerHost: o.Connections,
		IdleConnTimeout:     90 * time.Second,
		ReadBufferSize:      readBuffer,

		MaxResponseHeaderBytes: failure.MaxHeaderBytes,

		DisableCompression: true, // a range of a coded body is no range of the file
		Protocols:          &protocols,
		HTTP2:              &http.HTTP2Config{SendPingTimeout: o.StallTimeout, PingTimeout: o.StallTimeout},
	}
	var over transport = &renewing{now: t}
	if http2 {
		over = newMultiplexer(t, o.Connections)
	}
	limited := shared.share(t, over)
	t.DialContext = watchEnd(t.DialContext)
	return limited
}

// proxied is a transport over HTTP/2 that sends requests through an https proxy, and those
// that HTTP/2 has failed for, over HTTP/1.1 instead. net/http would offer HTTP/2 to such a proxy, too, and
// still speak HTTP/1.1 with it if the proxy accepts (Go 1.26).
type proxied struct {
	http1, http2 http.RoundTripper
	proxy        func(*http.Request) (*url.URL, error) // may be nil
}

func (p proxied) RoundTrip(req *http.Request) (*http.Response, error) {
	if p.proxy != nil {
		if u, err := p.proxy(req); err == nil && u != nil && u.Scheme == "https" {
			return p.http1.RoundTrip(req)
		}
	}
	resp, err := p.http2.RoundTrip(req)
	if isBrokenHTTP2(err) && req.Context().Err() == nil {
		return p.http1.RoundTrip(req)
	}
	return resp, err
}

// isBrokenHTTP2 reports whether the connection has ended because the server broke the rules of
// HTTP/2, with one of its responses. A header far longer than failure.MaxHeaderBytes counts as such
// (RFC 9113 §10.5.1), and ends the other requests of the connection, too. Over HTTP/1.1 each
// request has its own outcome.
func isBrokenHTTP2(err error) bool {
	if err == nil {
		return false
	}
	text := err.Error() // net/http has no error value for it
	return strings.Contains(text, "connection error: COMPRESSION_ERROR") || strings.Contains(text, "connection error: PROTOCOL_ERROR")
}

// harmless lists the headers that may follow a redirect to another host. All
// others that the user set may be secrets.
var harmless = []string{"Accept", "Accept-Encoding", "Accept-Language", "If-Modified-Since", "If-None-Match", "If-Range", "Range", "User-Agent"}

// checkRedirect lets a redirect be followed. From the first one that leaves the origin
// that was asked, credentials must not be sent any more.
func (o Options) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return failure.Permanent(failure.Wrap(failure.ErrProtocol, fmt.Errorf("%d redirects in a row", maxRedirects)))
	}
	last := via[len(via)-1].URL
	if req.URL.Scheme != "http" && req.URL.Scheme != "https" || req.URL.Hostname() == "" {
		return failure.Permanent(failure.Wrap(failure.ErrProtocol, fmt.Errorf("%s redirects to what is no http or https URL", last.Host)))
	}
	if last.Scheme == "https" && req.URL.Scheme != "https" && !o.Insecure {
		return failure.Permanent(failure.Wrap(failure.ErrDowngrade, fmt.Errorf("%s redirects from https to %s", last.Host, req.URL.Scheme)))
	}
	if err := o.Follow.checkScheme(req.URL.Scheme); err != nil {
		return fmt.Errorf("%s redirects, but %w", last.Host, err)
	}
	req.Header.Del("Referer") // net/http put the last URL there, which may be signed
	if strayed(req) {         // net/http restores the header fields for each redirect
		dropSecrets(req.Header)
	} else if ref := via[0].Header.Get("Referer"); ref != "" {
		req.Header.Set("Referer", ref)
	}
	return nil
}

// strayed reports whether a redirect on the way to req has left the origin that was asked
// first, also if a later one has come back to it.
func strayed(req *http.Request) bool {
	for r := req; r.Response != nil; r = r.Response.Request {
		if !sameOrigin(r.URL, r.Response.Request.URL) {
			return true
		}
	}
	return false
}

// sameOrigin reports whether credentials for a may be shown to b.
func sameOrigin(a, b *url.URL) bool { return origin(a) == origin(b) }

// origin is scheme, host and port, the default one too (RFC 6454 §4).
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

func dropSecrets(h http.Header) {
	kept := make(http.Header)
	for _, name := range harmless {
		if v, ok := h[name]; ok {
			kept[name] = v
		}
	}
	clear(h)
	for name, v := range kept {
		h[name] = v
	}
}

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
