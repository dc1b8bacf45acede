package transport

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path"
	"strings"
	"sync"

	"golang.org/x/net/publicsuffix"
)

const (
	// maxCookie limits a cookie, maxCookiesPerSite the cookies of a site, and maxCookies those of
	// all sites together. They are the numbers that every client should be able to keep, in bytes
	// and cookies (RFC 6265 §6.1). With half of them a site may fail; twice as many take 24 MB of
	// memory if hostile servers use them up.
	maxCookie         = 4096
	maxCookiesPerSite = 50
	maxCookies        = 3000
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

// A cookieKey tells apart the cookies of a site (RFC 6265 §5.3, step 11).
type cookieKey struct{ host, name, domain, path string }

func newBoundedJar() *boundedJar {
	jar, _ := cookiejar.New(&cookiejar.Options{PublicSuffixList: publicsuffix.List}) // the error is always nil
	return &boundedJar{jar: jar, known: make(map[string]map[cookieKey]bool)}
}

// Cookies is for http.CookieJar.
func (j *boundedJar) Cookies(u *url.URL) []*http.Cookie { return j.jar.Cookies(u) }

// SetCookies is for http.CookieJar.
func (j *boundedJar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	var kept []*http.Cookie
	for _, c := range cookies {
		if len(c.Raw) <= maxCookie && j.admit(u, c) {
			kept = append(kept, c)
		}
	}
	j.jar.SetCookies(u, kept)
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
