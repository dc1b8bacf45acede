package downloader

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

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
func sameOrigin(a, b *url.URL) bool { return originOf(a) == originOf(b) }

// originOf returns scheme, host and port, the default one too (RFC 6454 §4).
func originOf(u *url.URL) string {
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
