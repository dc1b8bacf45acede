package main

import (
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"

	"pawl/downloader"
)

// originHeaders are the header fields of the command line, and the origins (RFC 6454 §4)
// that they go to. A field must not be sent to an origin that only a server has named.
type originHeaders struct {
	fields     []headerField          // -H and --referer
	typed      map[string]http.Header // by origin that the user typed: the credentials of the URL
	everywhere bool                   // --headers-everywhere
}

// originHeaders returns the headers of the options, for the origins of the URLs that the
// user typed: of files, mirrors, lists, --checksums and --base.
func (t *Transfer) originHeaders(urls ...string) originHeaders {
	o := originHeaders{fields: t.headerFields(), typed: make(map[string]http.Header)}
	for _, s := range urls {
		origin := downloader.Origin(s)
		if u, err := url.Parse(s); err == nil && origin != "" && (u.User != nil || o.typed[origin] == nil) {
			o.typed[origin] = basicAuth(u)
		}
	}
	return o
}

// credentials returns the user and password of a URL as a header (RFC 7617), which is empty
// without them.
func basicAuth(u *url.URL) http.Header {
	if u.User == nil {
		return http.Header{}
	}
	password, _ := u.User.Password()
	basic := base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
	return http.Header{"Authorization": {"Basic " + basic}}
}

// forTyped returns the fields for an origin that the user may have typed: all of them if
// so, else those that name its host.
func (o originHeaders) forTyped(origin string) http.Header {
	return o.collect(origin, func(headerField) bool { return o.typed[origin] != nil })
}

// forOwn returns the fields for an origin that a list of the user's own names. Fields that
// may be secrets must not go to all of these origins unless the user says so.
func (o originHeaders) forUserList(origin string) http.Header {
	return o.collect(origin, func(f headerField) bool { return o.everywhere || o.typed[origin] != nil || !isSecretName(f.name) })
}

// forList returns the fields for an origin that a list names.
func (o originHeaders) forList(name, origin string) http.Header {
	if isURL(name) {
		return o.forTyped(origin)
	}
	return o.forUserList(origin)
}

// pick returns the fields for an origin. A field for its host overrides the general fields
// of that name, which pick takes if they are wanted, and these override the credentials of
// the URL.
func (o originHeaders) collect(origin string, wanted func(headerField) bool) http.Header {
	general, own := make(http.Header), make(http.Header)
	for _, f := range o.fields {
		switch {
		case f.host == "" && wanted(f):
			general.Add(f.name, f.value)
		case f.matchesOrigin(origin):
			own.Add(f.name, f.value)
		}
	}
	h := make(http.Header)
	for _, fields := range []http.Header{o.typed[origin], general, own} {
		maps.Copy(h, fields)
	}
	return h
}

// toAsk returns a URL that the user typed as it is asked: without user and password, if a
// header field overrides them.
func (o originHeaders) requestURL(typed string) string {
	origin := downloader.Origin(typed)
	given := o.forTyped(origin).Get("Authorization")
	if given == "" || given == o.typed[origin].Get("Authorization") {
		return typed
	}
	return downloader.WithoutUser(typed)
}

// fields returns -H and --referer.
func (t *Transfer) headerFields() []headerField {
	var all []headerField
	for _, h := range t.Header {
		all = append(all, h.fields...)
	}
	if t.Referer != "" {
		all = append(all, headerField{name: "Referer", value: t.Referer})
	}
	return all
}
