package weburl

import (
	"net/url"
	"strings"
)

// Below returns the path of u relative to the directory of dir, as decoded segments: "a b" and "c"
// for http://h/pub/a%20b/c and the directory http://h/pub/. It returns no segments for the directory
// itself. ok is false if u is on another host or not below the directory.
//
// The scheme does not matter, because servers behind a proxy that speaks https often write http into
// absolute links. A segment may be "..", and may contain a slash, if the URL has them as escapes.
func Below(dir, u *url.URL) (segments []string, ok bool) {
	if !sameHost(dir, u) {
		return nil, false
	}
	above := decodedSegments(dir)
	above = above[:len(above)-1] // behind the last slash of dir is a file, or nothing
	segments = decodedSegments(u)
	if len(segments) <= len(above) {
		return nil, false
	}
	for i, s := range above {
		if segments[i] != s {
			return nil, false
		}
	}
	below := segments[len(above):]
	segments = below[:0]
	for _, s := range below {
		if s != "" && s != "." {
			segments = append(segments, s)
		}
	}
	return segments, true
}

// decodedSegments returns the parts of a path between its slashes, decoded. An empty path is "/".
func decodedSegments(u *url.URL) []string {
	parts := strings.Split("/"+strings.TrimPrefix(u.EscapedPath(), "/"), "/")
	for i, p := range parts {
		if s, err := url.PathUnescape(p); err == nil {
			parts[i] = s
		}
	}
	return parts
}

// sameHost reports whether both URLs have the same host and port. The default ports of http and https
// count as the same.
func sameHost(a, b *url.URL) bool {
	return strings.EqualFold(a.Hostname(), b.Hostname()) && portOf(a) == portOf(b)
}

// portOf returns the port of u, "" for the default port of its scheme.
func portOf(u *url.URL) string {
	if port := u.Port(); u.Scheme+port != "http80" && u.Scheme+port != "https443" {
		return port
	}
	return ""
}
