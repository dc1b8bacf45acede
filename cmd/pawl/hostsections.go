package main

// This file reads the sections [host NAME] of config files: settings of one host.

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"pawl/downloader"
)

// A hostPattern says which hosts a section is for: one host such as "example.org", or all below a
// domain, such as "*.example.org"; with a port such as "example.org:8080", only this port of them.
type hostPattern struct {
	name string // in lower case, without brackets; for a domain, with the dot in front
	port string // "" for any
}

// parseSection parses a line "[host NAME...]".
func parseSection(line string) (hosts []hostPattern, err error) {
	inside, closed := strings.CutSuffix(line[1:], "]")
	names := strings.Fields(inside)
	if !closed || len(names) < 2 || names[0] != "host" {
		return nil, fmt.Errorf("%q is not a section such as [host example.org]", line)
	}
	for _, name := range names[1:] {
		p, err := parseHostPattern(name)
		if err != nil {
			return nil, err
		}
		hosts = append(hosts, p)
	}
	return hosts, nil
}

// parseHostPattern parses a name of a section.
func parseHostPattern(text string) (hostPattern, error) {
	p := hostPattern{name: strings.ToLower(strings.TrimSuffix(text, "."))}
	if strings.Contains(text, "/") {
		return p, fmt.Errorf("%q is not a host such as example.org, *.example.org or example.org:8080", text)
	}
	if host, port, err := net.SplitHostPort(p.name); err == nil {
		p = hostPattern{host, port}
	}
	p.name = strings.TrimSuffix(strings.TrimPrefix(p.name, "["), "]")
	_, err := netip.ParseAddr(p.name)
	switch {
	case err == nil:
	case p.name == "*":
		return p, errors.New("the settings of all hosts are above the first [host NAME]")
	default:
		name, isDomain := strings.CutPrefix(p.name, "*.")
		u, err := url.Parse("http://" + name)
		if err != nil || u.Host == "" || u.Host != name || name[0] == '.' || strings.ContainsAny(name, "*,:") {
			return p, fmt.Errorf("%q is not a host such as example.org, *.example.org or example.org:8080", text)
		}
		if isDomain {
			p.name = "." + name
		}
	}
	if p.port != "" && !isPort(p.port) {
		return p, fmt.Errorf("%q has a port that is not a number from 1 to 65535", text)
	}
	return p, nil
}

// matches reports whether the section is for a host, for example "example.org:443".
func (p hostPattern) matches(hostPort string) bool {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil || p.port != "" && p.port != port {
		return false
	}
	if p.isDomain() {
		return strings.HasSuffix(host, p.name)
	}
	return host == p.name
}

func (p hostPattern) isDomain() bool { return strings.HasPrefix(p.name, ".") }

// compare orders patterns: a pattern for fewer hosts comes later.
func (p hostPattern) compare(q hostPattern) int {
	rank := func(p hostPattern) [3]int {
		r := [3]int{0, len(p.name), len(p.port)}
		if !p.isDomain() {
			r[0] = 1
		}
		return r
	}
	a, b := rank(p), rank(q)
	return slices.Compare(a[:], b[:])
}

// String returns the pattern as in a config file.
func (p hostPattern) String() string {
	name := p.name
	if p.isDomain() {
		name = "*" + name
	}
	if p.port != "" {
		return net.JoinHostPort(name, p.port)
	}
	return name
}

// hostSettings are the settings of one host that replace the settings of all hosts.
type hostSettings struct {
	downloader.HostOptions
	fields []headerField
	user   *url.Userinfo // nil for none
	proxy  *url.URL      // nil for the proxy of the other hosts; without a host for none
}

// hostSetters apply the settings that one host can have, by option. The value is of hostParsers, or else
// has the type of the field of the option.
var hostSetters = map[string]func(h *hostSettings, s hostSetting){
	"bearer-file":      func(h *hostSettings, s hostSetting) { h.setField("Authorization", "Bearer "+s.value.(hostToken).text) },
	"user":             func(h *hostSettings, s hostSetting) { h.setUser(s.value.(*url.Userinfo)) },
	"connections":      func(h *hostSettings, s hostSetting) { h.Connections = int(s.value.(connLimit)) },
	"header":           func(h *hostSettings, s hostSetting) { h.addHeaders(s.value.([]header)) },
	"limit-rate":       func(h *hostSettings, s hostSetting) { h.limitRate(s.value.(timetable), s.host.String()) },
	"max-request-rate": func(h *hostSettings, s hostSetting) { h.RequestRate = cmp.Or(s.value.(requestRate).perSecond(), -1) },
	"proxy":            func(h *hostSettings, s hostSetting) { h.proxy = s.value.(*url.URL) },
	"referer":          func(h *hostSettings, s hostSetting) { h.setField("Referer", s.value.(string)) },
	"user-agent":       func(h *hostSettings, s hostSetting) { h.UserAgent = s.value.(string) },
}

// hostParsers parse the values that mean something else for a host than for a command line.
var hostParsers = map[string]func(text string) (any, error){
	"bearer-file": func(text string) (any, error) { return readHostToken(kong.ExpandPath(text)) },
	"proxy": func(text string) (any, error) {
		if text == "off" {
			return new(url.URL), nil
		}
		text, err := checkProxyURL(text)
		if err != nil {
			return nil, err
		}
		return url.Parse(text)
	},
	"user": func(text string) (any, error) { // nobody can be asked for the password of a host that a server may name
		name, password, ok := strings.Cut(text, ":")
		if !ok || name == "" {
			return nil, errors.New("not of the form USER:PASSWORD")
		}
		return url.UserPassword(name, password), nil
	},
}

// A hostToken is the token of a file (RFC 6750 §2.1).
type hostToken struct {
	text    string
	exposed string // its path, if other users of the machine can read it; else ""
}

// readHostToken reads a file that contains a token and nothing else.
func readHostToken(path string) (t hostToken, err error) {
	text, exposed, err := readSecretFile(path)
	if err != nil {
		return t, err
	}
	if exposed {
		t.exposed = path
	}
	t.text, err = parseToken(text)
	if err != nil {
		return t, fmt.Errorf("%q %w", path, err)
	}
	return t, nil
}

// hostSetterNames returns the options that one host can have, for a message.
func hostSetterNames() string { return strings.Join(slices.Sorted(maps.Keys(hostSetters)), ", ") }

// limitRate sets the rate, which all hosts of one section share.
func (h *hostSettings) limitRate(t timetable, section string) {
	h.ByteRate, h.ByteRates = t.rateAt(time.Now()), section
}

// addHeaders adds header fields, in place of fields of the same names.
func (h *hostSettings) addHeaders(headers []header) {
	var fields []headerField
	for _, hd := range headers {
		fields = append(fields, hd.fields...)
	}
	h.fields = slices.DeleteFunc(slices.Clone(h.fields), func(old headerField) bool {
		return slices.ContainsFunc(fields, func(f headerField) bool { return strings.EqualFold(f.name, old.name) })
	})
	h.fields = append(h.fields, fields...)
	if slices.ContainsFunc(fields, isAuthorization) {
		h.user = nil
	}
}

// setUser sets the user, in place of another login.
func (h *hostSettings) setUser(user *url.Userinfo) {
	h.user, h.fields = user, slices.DeleteFunc(h.fields, isAuthorization)
}

func isAuthorization(f headerField) bool { return strings.EqualFold(f.name, "Authorization") }

// setField sets one header field.
func (h *hostSettings) setField(name, value string) {
	h.addHeaders([]header{{fields: []headerField{{name: name, value: value}}}})
}

// A hostSetting is one setting of a section.
type hostSetting struct {
	host   hostPattern
	option string
	value  any
	text   []setting
	file   *configFile
}

// A hostTable has the settings of all sections of all config files. A setting with priority comes
// later: of a section for fewer hosts, then of a later file, then of a later line. A setting
// that the command line or the environment makes for all hosts is not there, but for limit-rate, which
// limits all hosts together and so leaves the limit of one host as it is. The zero hostTable is empty.
type hostTable struct {
	settings    []hostSetting
	aboveHeader bool // the fields of --header come from a config file, too, so that the fields of sections have priority

	typedUser, typedBearer, typedNoProxy bool // --user, --bearer-file, --no-proxy do not come from a config file
}

// newHostTable returns the table of some config files, the later ones with priority. ctx must have been
// parsed so far that the options of the command line are known.
func newHostTable(ctx *kong.Context, files []*configFile) (t hostTable, err error) {
	flags := make(map[string]*kong.Flag)
	for _, flag := range allFlags(ctx.Model) {
		if !isTyped(flag) { // that of another command with the same name may have another type
			flags[flag.Name] = flag
		}
	}
	overridden := func(option string) bool {
		return onCommandLine(ctx, option) || flags[option] != nil && fromEnvironment(flags[option]) != ""
	}
	t.aboveHeader, t.typedUser, t.typedBearer = !overridden("header"), overridden("user"), overridden("bearer-file")
	t.typedNoProxy = overridden("no-proxy")
	for _, c := range files {
		for _, section := range c.sections {
			for _, option := range section.settings.names() {
				if flags[option] == nil && hostParsers[option] == nil { // a command without requests
					continue
				}
				lines := section.settings[option]
				value, err := c.hostValue(option, flags[option], lines)
				if err != nil {
					return t, fmt.Errorf("--%s: %w", option, err) // as kong words it for the others
				}
				if option != "header" && option != "limit-rate" && overridden(option) {
					continue
				}
				for _, host := range section.hosts {
					t.settings = append(t.settings, hostSetting{host, option, value, lines, c})
				}
			}
		}
	}
	slices.SortStableFunc(t.settings, func(a, b hostSetting) int {
		return cmp.Or(a.host.compare(b.host), slices.Index(files, a.file)-slices.Index(files, b.file), a.text[0].line-b.text[0].line)
	})
	return t, nil
}

// hostValue returns the value of an option of a section.
func (c *configFile) hostValue(option string, flag *kong.Flag, lines []setting) (value any, err error) {
	if parse := hostParsers[option]; parse != nil {
		last := lines[len(lines)-1]
		if value, err = parse(last.value); err != nil {
			err = c.errorAt(last.line, err)
		}
		return value, err
	}
	_, value, err = c.value(flag, lines)
	return value, err
}

// forHost returns the settings of a host, for example "example.org:443".
func (t hostTable) forHost(hostPort string) (h hostSettings) {
	for _, s := range t.settings {
		if s.host.matches(hostPort) {
			hostSetters[s.option](&h, s)
		}
	}
	return h
}

// options returns the function for downloader.Options.ForHost, nil if no host has settings.
func (t hostTable) options() func(hostPort string) downloader.HostOptions {
	if len(t.settings) == 0 {
		return nil
	}
	return func(hostPort string) downloader.HostOptions { return t.forHost(hostPort).HostOptions }
}

// proxies returns a function that returns the proxy of a request: the proxy of its host, unless exempt has the
// host, or else the result of others, which may be nil.
func (t hostTable) proxies(exempt exemptions, others func(*http.Request) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	if !slices.ContainsFunc(t.settings, func(s hostSetting) bool { return s.option == "proxy" }) {
		return others
	}
	return func(r *http.Request) (*url.URL, error) {
		_, hostPort, _ := strings.Cut(downloader.Origin(r.URL.String()), "://")
		switch proxy := t.forHost(hostPort).proxy; {
		case proxy != nil && proxy.Host != "" && !exempt.match(r.URL):
			return proxy, nil
		case proxy != nil || others == nil:
			return nil, nil
		}
		return others(r)
	}
}

// header returns the header fields for an origin.
func (t hostTable) header(origin string) http.Header {
	h := make(http.Header)
	if _, hostPort, ok := strings.Cut(origin, "://"); ok {
		for _, f := range t.forHost(hostPort).fields {
			if f.host == "" || f.matchesOrigin(origin) {
				h.Add(f.name, f.value)
			}
		}
	}
	return h
}

// user returns the user for an origin, nil for none.
func (t hostTable) user(origin string) *url.Userinfo {
	_, hostPort, _ := strings.Cut(origin, "://")
	return t.forHost(hostPort).user
}

// rows returns the settings for "pawl config", from the sections for the fewest hosts to those for the most.
func (t hostTable) rows() (rows []settingRow) {
	chosen := make(map[string]hostSetting) // by section and option; the last one counts
	var order []string
	for _, s := range t.settings {
		key := s.host.String() + " " + s.option
		if _, known := chosen[key]; !known {
			order = append(order, key)
		}
		chosen[key] = s
	}
	slices.SortStableFunc(order, func(a, b string) int {
		return cmp.Or(chosen[b].host.compare(chosen[a].host), cmp.Compare(a, b))
	})
	for _, key := range order {
		rows = append(rows, chosen[key].row())
	}
	return rows
}

// row returns the row of a setting.
func (s hostSetting) row() settingRow {
	r := settingRow{V: 1, Host: s.host.String(), Name: s.option}
	_, r.repeated = s.value.([]header)
	return r.fromFile(s.file, s.text)
}

// exposed returns the files of headers and tokens that other users of the machine can read.
func (t hostTable) exposed() (paths []string) {
	for _, s := range t.settings {
		headers, _ := s.value.([]header)
		for _, h := range headers {
			if h.exposed != "" && !slices.Contains(paths, h.exposed) {
				paths = append(paths, h.exposed)
			}
		}
		if token, ok := s.value.(hostToken); ok && token.exposed != "" {
			paths = append(paths, token.exposed)
		}
	}
	return paths
}

// followRates changes the limits of d with the time of day, of all downloads by calling set, and of hosts,
// until stop is called.
func (t *Transfer) followRates(d *downloader.Downloader, set func(bytesPerSecond int64)) (stop func()) {
	stops := []func(){t.LimitRate.follow(set)}
	last := make(map[string]timetable) // by pattern; the last one has priority
	for _, s := range t.hosts.settings {
		if rates, ok := s.value.(timetable); ok {
			last[s.host.String()] = rates
		}
	}
	for host, rates := range last {
		stops = append(stops, rates.follow(func(rate int64) { d.SetHostLimitRate(host, rate) }))
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
	}
}
