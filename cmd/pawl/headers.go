package main

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"pawl/downloader"
	"pawl/downloader/weburl"
)

// A header is the argument of one -H: a header field, or @FILE.
type header struct {
	fields  []headerField
	exposed string // FILE, if other users of the machine can read it; else ""
}

// A headerField is a header field for one host, or for all origins that the user typed.
type headerField struct {
	host        string // in lower case, with or without a port, for example "[::1]:80"; "" for no particular host
	name, value string
}

// UnmarshalText accepts "N: V", "HOST=N: V", "HOST:PORT=N: V" and "@FILE". An error must not
// contain the value, because it may be a secret.
func (h *header) UnmarshalText(text []byte) error {
	if path, ok := strings.CutPrefix(string(text), "@"); ok {
		return h.readFile(path)
	}
	f, err := parseField(string(text))
	h.fields = []headerField{f}
	return err
}

// readFile reads the fields of a file, one per line. It skips blank lines and lines that
// begin with #.
func (h *header) readFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && isExposed(info) {
		h.exposed = path
	}
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20) // 1 MiB, because a cookie may be longer than the default of 64 KiB
	for n := 1; in.Scan(); n++ {
		line := strings.TrimSpace(in.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		field, err := parseField(line)
		if err != nil {
			return fmt.Errorf("%q line %d: %w", path, n, err)
		}
		h.fields = append(h.fields, field)
	}
	return in.Err()
}

// hostFieldPattern matches "HOST=N: V". The pattern allows no blank before "=", because
// "N: 80=A: V" is a field N with the value "80=A: V", whereas "N:80=A: V" is a field A for
// port 80 of the host N.
var hostFieldPattern = regexp.MustCompile(`^(\[[0-9A-Fa-f:.]+\](?::\d+)?|[^\s=:@/\[\]]+(?::\d+)?)=([^=:\s]+:.*)$`)

// parseField parses "N: V" or "HOST=N: V".
func parseField(text string) (f headerField, err error) {
	if m := hostFieldPattern.FindStringSubmatch(text); m != nil {
		f.host, text = strings.ToLower(m[1]), m[2]
	}
	name, value, ok := strings.Cut(text, ":")
	if !ok || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
		return f, errors.New("header is not of the form 'Name: value' or 'HOST=Name: value'")
	}
	f.name, f.value = name, strings.TrimSpace(value)
	return f, nil
}

// matchesOrigin reports whether the field is for the host of an origin, for example
// "https://example.com:443". A field for a host without a port is for all ports of it.
func (f headerField) matchesOrigin(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || f.host == "" {
		return false
	}
	return f.host == u.Host || strings.Trim(f.host, "[]") == u.Hostname() ||
		u.Port() != "" && f.host == net.JoinHostPort(u.Hostname(), u.Port())
}

// secretWords are parts of the names of header fields whose values may be secrets, such as
// Authorization, X-Api-Key, X-Amz-Security-Token and Cookie. A missing word would
// send a secret to all hosts of a list, so the words are rather too general than too exact.
var secretWords = []string{"auth", "cookie", "credential", "key", "password", "secret", "session", "signature", "token"}

// isSecretName reports whether the value of a header field may be a secret, judged by the
// name of the field.
func isSecretName(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(name, word) })
}

// isExposed reports whether other users of the machine can read a file, or change it.
func isExposed(info os.FileInfo) bool {
	return info.Mode().IsRegular() && info.Mode()&0o077 != 0 && runtime.GOOS != "windows"
}

// warnExposedHeaders warns about files of -H @FILE, and of sections, that other users can read.
func (r *RequestOptions) warnExposedHeaders(out *printer) {
	exposed := r.hosts.exposed()
	for _, h := range r.Header {
		if h.exposed != "" && !slices.Contains(exposed, h.exposed) {
			exposed = append(exposed, h.exposed)
		}
	}
	for _, path := range exposed {
		out.warn("%q is readable by other users; restrict it with: chmod 600", path)
	}
}

// AfterApply takes the settings of hosts from the config files. kong calls it after parsing.
func (r *RequestOptions) AfterApply(config *configLoader) error {
	r.hosts = config.hosts
	return nil
}

// originHeaders decides which header fields of the command line go to which origin (RFC
// 6454 §4). A field must not be sent to an origin that only a server has named, because it
// may be a secret.
type originHeaders struct {
	fields     []headerField          // from -H and --referer
	typed      map[string]http.Header // the origins that the user typed, with the credentials of their URLs
	hosts      hostTable              // fields of the config files for single hosts
	everywhere bool                   // --headers-everywhere: send secrets to all origins in the user's lists
}

// originHeaders returns the headers of the options for the URLs that the user typed: files,
// mirrors, lists, --checksums and --base. Other strings are ignored. If several URLs have
// the same origin, credentials in one of them are for the origin.
func (r *RequestOptions) originHeaders(urls ...string) originHeaders {
	o := originHeaders{fields: r.headerFields(), typed: make(map[string]http.Header), hosts: r.hosts}
	for _, s := range urls {
		origin := downloader.Origin(s)
		if u, err := weburl.Parse(s); err == nil && (u.User != nil || o.typed[origin] == nil) {
			o.typed[origin] = basicAuth(u)
		}
	}
	return o
}

// headerFields returns the fields of -H and --referer.
func (r *RequestOptions) headerFields() []headerField {
	var all []headerField
	for _, h := range r.Header {
		all = append(all, h.fields...)
	}
	if r.Referer != "" {
		all = append(all, headerField{name: "Referer", value: r.Referer})
	}
	return all
}

// basicAuth returns the user and password of a URL as a header (RFC 7617). The header is
// empty, but not nil, if the URL has none.
func basicAuth(u *url.URL) http.Header {
	if u.User == nil {
		return http.Header{}
	}
	password, _ := u.User.Password()
	basic := base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))
	return http.Header{"Authorization": {"Basic " + basic}}
}

// forTyped returns the fields for an origin that the user may have typed: all fields if
// the user did, else only those for its host.
func (o originHeaders) forTyped(origin string) http.Header {
	return o.collect(origin, func(headerField) bool { return o.typed[origin] != nil })
}

// forUserList returns the fields for an origin in a list of the user, that is a file or
// standard input. Possible secrets go only to origins that the user typed, unless
// --headers-everywhere is given.
func (o originHeaders) forUserList(origin string) http.Header {
	return o.collect(origin, func(f headerField) bool { return o.everywhere || o.typed[origin] != nil || !isSecretName(f.name) })
}

// forList returns the fields for an origin that the list called name contains. A list from
// a URL was written by somebody else, so its origins count as unknown.
func (o originHeaders) forList(name, origin string) http.Header {
	if isURL(name) {
		return o.forTyped(origin)
	}
	return o.forUserList(origin)
}

// collect returns the fields for an origin, in increasing priority: the credentials of its
// URL, the general fields that wanted selects, and the fields for its host. The fields of its section
// of a config file have the least priority; if the general fields are of a config file too, these
// have less. A field replaces all fields of the same name with a lower priority.
func (o originHeaders) collect(origin string, wanted func(headerField) bool) http.Header {
	general, own := make(http.Header), make(http.Header) // repeated fields of one kind are all sent
	for _, f := range o.fields {
		switch {
		case f.host == "" && wanted(f):
			general.Add(f.name, f.value)
		case f.matchesOrigin(origin):
			own.Add(f.name, f.value)
		}
	}
	layers := []http.Header{o.hosts.header(origin), o.typed[origin], general, own}
	if o.hosts.aboveHeader {
		layers = []http.Header{general, layers[0], o.typed[origin], own}
	}
	h := make(http.Header)
	for _, fields := range layers {
		maps.Copy(h, fields)
	}
	return h
}

// requestURL returns the URL to request for a URL that the user typed. It has no user and
// password if a header field overrides them.
func (o originHeaders) requestURL(typed string) string {
	origin := downloader.Origin(typed)
	authorization := o.forTyped(origin).Get("Authorization")
	if authorization == "" || authorization == o.typed[origin].Get("Authorization") {
		return typed
	}
	return weburl.WithoutUser(typed)
}
