package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"

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
	path = credentialPath(path)
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if isExposed(f) {
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

// AfterApply takes the settings of hosts from the config files. kong calls it after parsing.
func (r *RequestOptions) AfterApply(config *configLoader) error {
	r.hosts = config.hosts
	return nil
}

// originHeaders decides which header fields and credentials of the command line go to which origin (RFC
// 6454 §4). None of them must be sent to an origin that only a server has named, because it
// may be a secret.
type originHeaders struct {
	fields     []headerField            // from -H and --referer
	set        *credentialSet           // of the other options
	typed      map[string]*url.Userinfo // the origins that the user typed, with the users of their URLs, nil for none
	hosts      hostTable                // fields of the config files for single hosts
	everywhere bool                     // --headers-everywhere: send secrets to all origins in the user's lists
	onWithheld func()                   // called when an origin of a list of the user does not get them; nil for nothing
}

// openHeaders is originHeaders at the beginning of a command: it first reads the files of credentials,
// and warns of the files that other users can read.
func (t *Transfer) openHeaders(ctx context.Context, out *printer, urls ...string) (originHeaders, error) {
	exposed := t.hosts.exposed()
	for _, h := range t.Header {
		if h.exposed != "" && !slices.Contains(exposed, h.exposed) {
			exposed = append(exposed, h.exposed)
		}
	}
	for _, path := range exposed {
		warnExposed(out, path)
	}
	if t.User.given && t.BearerFile != "" && t.hosts.typedUser != t.hosts.typedBearer { // the other one is of a config file
		if t.hosts.typedUser {
			t.BearerFile = ""
		} else {
			t.User = userLogin{}
		}
	}
	if err := t.loadCredentials(ctx, out); err != nil {
		return originHeaders{}, err
	}
	o := t.originHeaders(urls...)
	if o.hasSecrets() {
		o.onWithheld = sync.OnceFunc(func() {
			out.warn("credentials are not sent to hosts that only a list names; if you trust the list, add --headers-everywhere")
		})
	}
	for origin := range o.typed {
		if _, option := o.login(origin); o.set.netrc.exposed != "" && option == o.set.netrc.name {
			warnExposed(out, o.set.netrc.exposed)
			break
		}
	}
	return o, nil
}

// originHeaders returns the headers of the options for the URLs that the user typed: files,
// mirrors, lists, --checksums and --base. Other strings are ignored. If several URLs have
// the same origin, credentials in one of them are for the origin.
func (t *Transfer) originHeaders(urls ...string) originHeaders {
	o := originHeaders{fields: t.headerFields(), set: &t.loaded, typed: make(map[string]*url.Userinfo), hosts: t.hosts}
	for _, s := range urls {
		origin := downloader.Origin(s)
		if u, err := weburl.Parse(s); err == nil && (u.User != nil || o.typed[origin] == nil) {
			o.typed[origin] = u.User
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

// isTyped reports whether the user typed a URL of the origin.
func (o originHeaders) isTyped(origin string) bool {
	_, typed := o.typed[origin]
	return typed
}

// forTyped returns the credentials for an origin that the user may have typed: all of them if
// the user did, else only the fields for its host.
func (o originHeaders) forTyped(origin string) downloader.Credentials {
	typed := o.isTyped(origin)
	return o.collect(origin, func(headerField) bool { return typed }, typed)
}

// forUserList returns the credentials for an origin in a list of the user, that is a file or
// standard input. Possible secrets go only to origins that the user typed, unless
// --headers-everywhere is given.
func (o originHeaders) forUserList(origin string) downloader.Credentials {
	trusted := o.everywhere || o.isTyped(origin)
	if !trusted && o.onWithheld != nil {
		o.onWithheld()
	}
	return o.collect(origin, func(f headerField) bool { return trusted || !isSecretName(f.name) }, trusted)
}

// isWithheld reports whether an origin in the list called name gets no credentials, because --headers-everywhere
// is not given.
func (o originHeaders) isWithheld(name, origin string) bool {
	return !isURL(name) && !o.isTyped(origin) && !o.everywhere
}

// isForHost reports whether an option of credentials, as Credentials.Options has it, is for one host, so that a list
// need not be trusted.
func isForHost(option string) bool {
	return strings.HasPrefix(option, "-H '") && strings.Contains(option, "=")
}

// hasSecrets reports whether the options have a secret for all origins that are trusted. The secrets of a
// netrc file do not count, because each is for one host.
func (o originHeaders) hasSecrets() bool {
	return o.set.user != nil || o.set.bearer != "" || o.set.cookies != nil ||
		slices.ContainsFunc(o.fields, func(f headerField) bool { return f.host == "" && isSecretName(f.name) })
}

// forList returns the credentials for an origin in the list called name. A list from
// a URL was written by somebody else, so its origins count as unknown.
func (o originHeaders) forList(name, origin string) downloader.Credentials {
	if isURL(name) {
		return o.forTyped(origin)
	}
	return o.forUserList(origin)
}

// collect returns the credentials for an origin, in increasing priority: the fields of its section of a
// config file; if the origin is trusted, the user, the token and the cookies; the general fields that
// wanted selects; and the fields for its host. If the general fields are of a config file, too, they have
// the least priority. A field replaces all fields of the same name with a lower priority.
func (o originHeaders) collect(origin string, wanted func(headerField) bool, trusted bool) (c downloader.Credentials) {
	general, own := make(http.Header), make(http.Header) // repeated fields of one kind are all sent
	for _, f := range o.fields {
		option := fmt.Sprintf("-H '%s: …'", f.name)
		switch {
		case f.host == "" && wanted(f):
			general.Add(f.name, f.value)
		case f.matchesOrigin(origin):
			own.Add(f.name, f.value)
			option = fmt.Sprintf("-H '%s=%s: …'", f.host, f.name)
		default:
			continue
		}
		if isSecretName(f.name) && !slices.Contains(c.Options, option) {
			c.Options = append(c.Options, option)
		}
	}
	c.Header = make(http.Header)
	if o.hosts.aboveHeader {
		maps.Copy(c.Header, general)
	}
	maps.Copy(c.Header, o.hosts.header(origin))
	c.User = o.hosts.user(origin)
	if trusted {
		o.addCredentials(&c, origin)
	}
	if !o.hosts.aboveHeader {
		maps.Copy(c.Header, general)
	}
	maps.Copy(c.Header, own)
	return c
}

// certOption is the option of client certificates in Credentials.Options.
const certOption = "--cert FILE"

// addCredentials adds the user, the token and the cookies for an origin.
func (o originHeaders) addCredentials(c *downloader.Credentials, origin string) {
	user, option := o.login(origin)
	switch {
	case o.hasOwnLogin(c, origin, user, option):
	case user != nil:
		c.Header.Del("Authorization")
		c.User = user
		c.Options = append(c.Options, option)
	case o.set.bearer != "":
		c.Header.Set("Authorization", "Bearer "+o.set.bearer)
		c.User = nil
		c.Options = append(c.Options, "--bearer-file FILE")
	}
	if o.set.cookies != nil {
		c.Cookies = o.set.cookies
		c.Options = append(c.Options, "--load-cookies FILE")
	}
	if o.certificate(origin) != nil {
		c.Options = append(c.Options, certOption)
	}
}

// hasOwnLogin reports whether c has a login of a config file for the origin that overrides the user that login
// has returned, and the token: those of config files and of netrc, which are for more hosts, and a user
// in the URL that lacks the password.
func (o originHeaders) hasOwnLogin(c *downloader.Credentials, origin string, user *url.Userinfo, option string) bool {
	inURL := o.typed[origin]
	switch {
	case c.User == nil && c.Header.Get("Authorization") == "":
		return false
	case inURL != nil && user == inURL:
		_, hasPassword := inURL.Password()
		return !hasPassword && c.User != nil && c.User.Username() == inURL.Username()
	}
	return user != nil && option == o.set.netrc.name || !o.hosts.typedUser && !o.hosts.typedBearer
}

// requestURL returns the URL to request for a URL that the user typed. It has no user if a header field or
// the password for the same user overrides it.
func (o originHeaders) requestURL(typed string) string {
	c := o.forTyped(downloader.Origin(typed))
	u, err := weburl.Parse(typed)
	if err != nil || u.User == nil {
		return typed
	}
	_, hasPassword := u.User.Password()
	hasBetter := !hasPassword && c.User != nil && c.User.Username() == u.User.Username()
	if c.Header.Get("Authorization") != "" || hasBetter {
		return weburl.WithoutUser(typed)
	}
	return typed
}
