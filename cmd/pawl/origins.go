package main

import (
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"

	"pawl/downloader"
)

// originHeaders are the header fields of the command line, and to which origins (RFC 6454
// §4) they go. They are never sent to an origin that only a server or a list has named.
type originHeaders struct {
	all   http.Header            // -H and --referer
	typed map[string]http.Header // by origin that the user typed: the credentials of the URL
}

// originHeaders returns the headers of the options, for the origins of the URLs that the
// user typed: of files, lists, --checksums and --base.
func (t *Transfer) originHeaders(urls ...string) originHeaders {
	o := originHeaders{t.header(), make(map[string]http.Header)}
	for _, s := range urls {
		origin := downloader.HostOf(s)
		if u, err := url.Parse(s); err == nil && origin != "" && (u.User != nil || o.typed[origin] == nil) {
			o.typed[origin] = credentials(u)
		}
	}
	return o
}

// credentials returns the user and password of a URL as a header (RFC 7617), which is empty
// without them.
func credentials(u *url.URL) http.Header {
	if u.User == nil {
		return http.Header{}
	}
	password, _ := u.User.Password()
	basic := base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
	return http.Header{"Authorization": {"Basic " + basic}}
}

// forTyped returns the fields for an origin if the user typed it.
func (o originHeaders) forTyped(origin string) http.Header {
	if o.typed[origin] == nil {
		return nil
	}
	return o.with(o.typed[origin])
}

// forAny returns the fields for any origin: for those of a list that is the user's own.
func (o originHeaders) forAny(origin string) http.Header { return o.with(o.typed[origin]) }

// forList returns the fields for an origin that a list names: any if the list is the user's
// own, else one that the user typed.
func (o originHeaders) forList(name, origin string) http.Header {
	if isURL(name) {
		return o.forTyped(origin)
	}
	return o.forAny(origin)
}

// with returns all fields and credentials, which they override.
func (o originHeaders) with(credentials http.Header) http.Header {
	h := make(http.Header)
	maps.Copy(h, credentials)
	maps.Copy(h, o.all)
	return h
}

// header returns -H and --referer.
func (t *Transfer) header() http.Header {
	h := make(http.Header)
	for _, f := range t.Header {
		h.Add(f.name, f.value)
	}
	if t.Referer != "" {
		h.Set("Referer", t.Referer)
	}
	return h
}
