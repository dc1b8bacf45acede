package transport

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"pawl/downloader/failure"
	"pawl/downloader/weburl"
)

// maxRedirects is how many redirects are followed in a row. It is the limit that the Fetch
// standard sets for browsers (WHATWG Fetch, HTTP-redirect fetch). net/http stops after 10,
// which some download portals reach; double only delays the error of a loop.
const maxRedirects = 20

// harmless are the header fields that may follow a redirect to another origin. All other fields
// that the user set may be secrets. Some storage servers send a file only to visitors of the site
// that the user gave as Referer.
var harmless = []string{"Accept", "Accept-Encoding", "Accept-Language", "If-Modified-Since", "If-None-Match", "If-Range", "Range", "Referer", "User-Agent"}

// checkRedirect is for http.Client.CheckRedirect. After the first redirect that leaves the
// origin of the request, credentials must not be sent, even if a later redirect leads back. A redirect
// that says when to come back is not followed: it is the response.
func (o Options) checkRedirect(req *http.Request, via []*http.Request) error {
	if isPostponed(req, via) {
		return http.ErrUseLastResponse
	}
	if len(via) >= maxRedirects {
		return failure.Permanent(failure.Wrap(failure.ErrRedirects, fmt.Errorf("%d redirects in a row", maxRedirects)))
	}
	last := via[len(via)-1].URL
	if req.URL.Scheme != "http" && req.URL.Scheme != "https" || req.URL.Hostname() == "" {
		return failure.Permanent(failure.Wrap(failure.ErrProtocol, fmt.Errorf("%s redirects to a URL that is not http or https", last.Host)))
	}
	if last.Scheme == "https" && req.URL.Scheme != "https" && !o.mayDowngrade(req) {
		return failure.Permanent(failure.Wrap(failure.ErrDowngrade, fmt.Errorf("%s redirects from https to %s", last.Host, req.URL.Scheme)))
	}
	if err := o.Follow.CheckScheme(req.URL.Scheme); err != nil {
		return fmt.Errorf("%s redirects, but %w", last.Host, err)
	}
	if info := infoOf(req.Context()); info != nil && info.Redirect != nil {
		if err := info.Redirect(req.URL); err != nil {
			return failure.Permanent(err)
		}
	}
	if LeftOrigin(req) { // must be checked each time, because net/http restores the fields
		DropSecrets(req.Header)
	}
	o.setUserAgent(req, via[0])
	SetReferer(req.Header, via[0].Header.Get("Referer"), req.URL) // net/http sets the previous URL, which may be signed
	return nil
}

// SetReferer sets the Referer of a request to the URL to, which a server has named, to the user's, ""
// for none. An https URL is not sent over http (RFC 9110 §10.1.3).
func SetReferer(h http.Header, users string, to *url.URL) {
	h.Del("Referer")
	if isHTTPS := strings.HasPrefix(strings.ToLower(users), "https:"); users != "" && !(isHTTPS && to.Scheme == "http") {
		h.Set("Referer", users)
	}
}

// isPostponed reports whether a redirect leads to a URL that has redirected already, and has a
// Retry-After field: the server is preparing the file, and wants to be asked later (RFC 9110 §10.2.3).
func isPostponed(req *http.Request, via []*http.Request) bool {
	if req.Response == nil || req.Response.Header.Get("Retry-After") == "" {
		return false
	}
	return slices.ContainsFunc(via, func(r *http.Request) bool { return r.URL.String() == req.URL.String() })
}

// A locationEscaper escapes the targets of redirects as browsers do, because servers send them as
// people type them, for example with blanks.
type locationEscaper struct{ next http.RoundTripper }

func (e locationEscaper) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := e.next.RoundTrip(req)
	if err == nil && resp.Header.Get("Location") != "" {
		resp.Header.Set("Location", weburl.Escape(resp.Header.Get("Location")))
	}
	return resp, err
}

// mayDowngrade reports whether req, a redirect from https to http, may be sent. If a digest will
// prove the bytes, somebody on the way can only make the download fail.
func (o Options) mayDowngrade(req *http.Request) bool {
	info := infoOf(req.Context())
	return o.Insecure || o.Follow.HTTP || info != nil && info.Proven
}

// LeftOrigin reports whether a redirect on the way to req left the origin of the first request.
func LeftOrigin(req *http.Request) bool {
	for r := req; r.Response != nil; r = r.Response.Request {
		if !SameOrigin(r.URL, r.Response.Request.URL) {
			return true
		}
	}
	return false
}

// SameOrigin reports whether credentials for a may be sent to b.
func SameOrigin(a, b *url.URL) bool { return Origin(a) == Origin(b) }

// Origin returns the scheme, host and port of u, for example "https://example.org:443". It adds
// the default port (RFC 6454 §4).
func Origin(u *url.URL) string {
	return u.Scheme + "://" + hostPort(u)
}

// defaultPorts are the ports of URLs without a port, by scheme. SOCKS URLs are for proxies.
var defaultPorts = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}

// DropSecrets deletes all fields that may be secrets.
func DropSecrets(h http.Header) {
	for name := range h {
		if !slices.Contains(harmless, name) {
			delete(h, name)
		}
	}
}
