package transport

import (
	"errors"
	"math"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/publicsuffix"
)

const (
	// maxCookie limits a cookie, maxCookiesPerSite the cookies of a site, and maxCookies the cookies
	// of all sites together. They are the numbers that every client should be able to keep, in bytes
	// and cookies (RFC 6265 §6.1). With half of them a site may fail; twice as many take 24 MB of
	// memory if hostile servers use them up.
	maxCookie         = 4096 // name and value
	maxCookiesPerSite = 50
	maxCookies        = 3000
	// maxCookieAttribute limits the value of an attribute, in bytes; a longer one is ignored
	// (RFC 6265bis §5.6).
	maxCookieAttribute = 1024
)

// A boundedJar keeps the cookies of one run in memory. Some servers redirect to the same URL
// until a cookie comes back. A new cookie beyond the limits is ignored; the value of a known one
// may change. Safe for concurrent use.
type boundedJar struct {
	jar *cookiejar.Jar

	mu    sync.Mutex
	known map[string]map[cookieKey]bool // cookies of each site; guarded by mu
	count int                           // of all sites; guarded by mu
}

// A cookieKey identifies a cookie of a site (RFC 6265 §5.3, step 11).
type cookieKey struct{ host, name, domain, path string }

func newBoundedJar() *boundedJar {
	jar, _ := cookiejar.New(&cookiejar.Options{PublicSuffixList: publicsuffix.List}) // the error is always nil
	return &boundedJar{jar: jar, known: make(map[string]map[cookieKey]bool)}
}

// cookies returns the cookies for a request to u, as they came.
func (j *boundedJar) cookies(u *url.URL) []*http.Cookie { return j.jar.Cookies(u) }

// setCookies keeps the cookies of the Set-Cookie fields of a response from u.
func (j *boundedJar) setCookies(u *url.URL, fields []string) {
	var kept []*http.Cookie
	for _, field := range fields {
		c := parseCookie(field)
		if c != nil && len(c.Name)+len(c.Value) <= maxCookie && j.admit(u, c) {
			kept = append(kept, c)
		}
	}
	if len(kept) > 0 {
		j.jar.SetCookies(u, kept)
	}
}

// admit reports whether there is room for c.
func (j *boundedJar) admit(u *url.URL, c *http.Cookie) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	site := siteOf(u.Hostname())
	key := cookieKey{u.Hostname(), c.Name, strings.ToLower(c.Domain), c.Path}
	if !strings.HasPrefix(c.Path, "/") { // the directory of the URL (RFC 6265 §5.1.4)
		key.path = path.Dir("/" + u.Path)
	}
	if j.known[site][key] {
		return true
	}
	if len(j.known[site]) >= maxCookiesPerSite || j.count >= maxCookies {
		return false
	}
	if j.known[site] == nil {
		j.known[site] = make(map[cookieKey]bool)
	}
	j.known[site][key] = true
	j.count++
	return true
}

// siteOf returns the domain that a host belongs to, for example "example.co.uk", or the host
// itself if it is an address or a public suffix.
func siteOf(host string) string {
	if site, err := publicsuffix.EffectiveTLDPlusOne(host); err == nil {
		return site
	}
	return host
}

// A cookieKeeper sends the cookies of a jar, and keeps the cookies of responses. It replaces the Jar of
// http.Client, which drops cookies that are not by the book: values with blanks, quotation marks,
// braces, backslashes, or letters beyond ASCII. They come back byte by byte, as from a browser.
type cookieKeeper struct {
	next http.RoundTripper
	jar  *boundedJar
}

func (k cookieKeeper) RoundTrip(req *http.Request) (*http.Response, error) {
	sent := req
	typed := req.Header.Values("Cookie")
	users := addCookies(typed, usersCookies(req))
	cookies := k.jar.cookies(req.URL)
	if len(cookies) > 0 || len(users) > len(typed) {
		copied := *req
		copied.Header = req.Header.Clone()
		copied.Header.Set("Cookie", mergeCookies(users, cookies))
		sent = &copied
	}
	resp, err := k.next.RoundTrip(sent)
	if err != nil {
		return resp, err
	}
	if sent != req && resp.Request == sent {
		resp.Request = req
	}
	if fields := resp.Header.Values("Set-Cookie"); len(fields) > 0 {
		k.jar.setCookies(req.URL, fields)
	}
	return resp, nil
}

// usersCookies returns the user's cookies for a request, nil after a redirect to another origin.
func usersCookies(req *http.Request) []*http.Cookie {
	info := infoOf(req.Context())
	if info == nil || info.Cookies == nil || LeftOrigin(req) {
		return nil
	}
	return info.Cookies(req.URL)
}

// addCookies returns Cookie fields of the user with further cookies, which have names of their own.
func addCookies(fields []string, cookies []*http.Cookie) []string {
	fields = slices.Clip(fields)
	typed := mergeCookies(fields, nil)
	for _, c := range cookies {
		switch {
		case strings.HasPrefix(typed, c.Name+"="), strings.Contains(typed, "; "+c.Name+"="):
		case c.Name == "":
			fields = append(fields, c.Value)
		default:
			fields = append(fields, c.Name+"="+c.Value)
		}
	}
	return fields
}

// mergeCookies returns the Cookie field with the cookies of the user's fields and of the jar. Cookies of
// the jar replace cookies of the user with the same name.
func mergeCookies(users []string, cookies []*http.Cookie) string {
	var pairs []string
	for pair := range strings.SplitSeq(strings.Join(users, ";"), ";") {
		pair = strings.TrimSpace(pair)
		name, _, _ := strings.Cut(pair, "=")
		if pair != "" && !slices.ContainsFunc(cookies, func(c *http.Cookie) bool { return c.Name == name }) {
			pairs = append(pairs, pair)
		}
	}
	for _, c := range cookies {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return strings.Join(pairs, "; ")
}

// parseCookie parses a Set-Cookie field as browsers do (RFC 6265 §5.2). It returns nil if the field
// has no cookie. The value may have any bytes but control characters; quotation marks belong to it.
func parseCookie(field string) *http.Cookie {
	pair, rest, _ := strings.Cut(field, ";")
	name, value, ok := strings.Cut(pair, "=")
	c := &http.Cookie{Name: trimBlanks(name), Value: trimBlanks(value)}
	if !ok || c.Name == "" || strings.ContainsFunc(pair, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return nil
	}
	for attribute := range strings.SplitSeq(rest, ";") {
		name, value, _ := strings.Cut(attribute, "=")
		if value = trimBlanks(value); len(value) > maxCookieAttribute {
			continue
		}
		switch strings.ToLower(trimBlanks(name)) {
		case "domain":
			c.Domain = strings.ToLower(value)
		case "path":
			c.Path = value
		case "secure":
			c.Secure = true
		case "max-age":
			if seconds, ok := parseMaxAge(value); ok {
				c.MaxAge = seconds
			}
		case "expires":
			c.Expires = parseExpires(value)
		}
	}
	return c
}

func trimBlanks(s string) string { return strings.Trim(s, " \t") }

// parseMaxAge returns a Max-Age as http.Cookie has it: -1 if the cookie is expired.
func parseMaxAge(value string) (seconds int, ok bool) {
	n, err := strconv.ParseInt(value, 10, 32)
	switch {
	case errors.Is(err, strconv.ErrRange) && value[0] != '-':
		return math.MaxInt32, true
	case err != nil && !errors.Is(err, strconv.ErrRange), strings.HasPrefix(value, "+"):
		return 0, false
	case n <= 0:
		return -1, true
	}
	return int(n), true
}

// expiryFormats are the formats of an Expires attribute that servers send.
var expiryFormats = []string{time.RFC1123, "Mon, 02-Jan-2006 15:04:05 MST", "Mon, 02-Jan-06 15:04:05 MST", time.RFC850, time.ANSIC}

// parseExpires returns the time of an Expires attribute, the zero time if it has none. The cookie
// then lasts as long as the run.
func parseExpires(value string) time.Time {
	for _, format := range expiryFormats {
		if at, err := time.Parse(format, value); err == nil {
			return at.UTC()
		}
	}
	return time.Time{}
}
