package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

// A proxyChoice decides which proxy a request uses. Immutable.
type proxyChoice struct {
	proxies   map[string]*url.URL // by the scheme of the request
	exempt    exemptions
	local     bool // the proxies are also for this machine, such as localhost
	forbidden bool // the proxy for http may come from a client; see isSetByClient
}

// proxy returns the proxy of a request, nil for none. A Downloader calls it.
func (c proxyChoice) proxy(r *http.Request) (*url.URL, error) {
	u := c.proxies[r.URL.Scheme]
	if u == nil || !c.local && isThisMachine(r.URL.Hostname()) || c.exempt.match(r.URL) {
		return nil, nil
	}
	if c.forbidden && r.URL.Scheme == "http" {
		return nil, &settingError{"HTTP_PROXY", "is refused under CGI (REQUEST_METHOD is set), because a client can set it", "unset REQUEST_METHOD, or give all_proxy=" + proxyHint}
	}
	return u, nil
}

// newProxyChoice reads --proxy and --no-proxy or, in place of each that is not given, the
// environment: http_proxy, https_proxy, all_proxy and no_proxy. A name in lower case has priority
// over the same name in upper case. all_proxy is for each scheme without a variable of its own.
//
// A value that cannot be used must not make requests bypass the proxy. So newProxyChoice fails if
// one of them is unusable, even if no request would need it. It returns nil if there is no proxy.
func newProxyChoice(o NetworkOptions) (func(*http.Request) (*url.URL, error), error) {
	c := proxyChoice{proxies: make(map[string]*url.URL)}
	if o.Proxy == "" {
		forHTTP, err1 := proxyVariable("http_proxy", checkProxyURL, proxyHint)
		forHTTPS, err2 := proxyVariable("https_proxy", checkProxyURL, proxyHint)
		forAll, err3 := proxyVariable("all_proxy", checkProxyURL, proxyHint)
		if err := cmp.Or(err1, err2, err3); err != nil {
			return nil, err
		}
		c.add("http", cmp.Or(forHTTP, forAll))
		c.add("https", cmp.Or(forHTTPS, forAll))
		c.forbidden = forHTTP != "" && isSetByClient()
	} else {
		u, err := checkProxyURL(strings.TrimSpace(o.Proxy))
		if err != nil {
			return nil, &settingError{"--proxy", err.Error(), "give --proxy " + proxyHint}
		}
		c.local = true
		c.add("http", u)
		c.add("https", u)
	}
	var err error
	if c.exempt, err = newExemptions(o); err != nil || len(c.proxies) == 0 {
		return nil, err
	}
	return c.proxy, nil
}

// add sets the proxy for requests of a scheme to a URL that checkProxyURL has accepted, if there is
// one.
func (c proxyChoice) add(scheme, proxy string) {
	if u, err := url.Parse(proxy); err == nil && proxy != "" {
		c.proxies[scheme] = u
	}
}

// isThisMachine reports whether a host is localhost or a loopback address. The variables of the
// environment are not for them, because they are meant for the network.
func isThisMachine(host string) bool {
	a, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && a.Unmap().IsLoopback()
}

// isSetByClient reports whether the proxy for http may come from a client: a CGI server puts the
// header field "Proxy" of any client into HTTP_PROXY. Windows does not distinguish the names.
func isSetByClient() bool {
	hasLower := strings.TrimSpace(os.Getenv("http_proxy")) != "" && runtime.GOOS != "windows"
	return os.Getenv("REQUEST_METHOD") != "" && !hasLower
}

const (
	// It names the user apart, because a message shows no user and password of a URL.
	proxyHint   = `SCHEME://HOST:PORT, with USER:PASSWORD@ before HOST, and the special characters of the password percent-encoded, for example "@" as %40`
	noProxyHint = "HOST,.DOMAIN,ADDRESS,NETWORK/BITS"
)

// proxyVariable reads an environment variable in upper and lower case, and returns its
// value as check returns it, or "" if both are blank. hint is an example of a value, for
// the error message.
func proxyVariable(name string, check func(string) (string, error), hint string) (found string, err error) {
	for _, name := range []string{strings.ToUpper(name), name} { // the later one wins
		value := strings.TrimSpace(os.Getenv(name))
		if value == "" {
			continue
		}
		if found, err = check(value); err != nil {
			return "", &settingError{name, err.Error(), "unset it, or give " + name + "=" + hint}
		}
	}
	return found, nil
}

// proxySchemes are the proxy protocols that pawl supports.
var proxySchemes = []string{"http", "https", "socks5", "socks5h"}

// checkProxyURL checks the URL of a proxy, for example "http://user:password@host:3128". It
// returns the URL with the scheme http if there was none.
func checkProxyURL(value string) (string, error) {
	if !strings.Contains(value, "://") {
		value = "http://" + value
	}
	scheme, rest, _ := strings.Cut(value, "://")
	if strings.EqualFold(scheme, "socks") { // so GNOME writes socks5 into all_proxy
		scheme = "socks5h"
		value = scheme + "://" + rest
	}
	userInfo := rest[:strings.LastIndexByte(rest, '@')+1]
	u, err := url.Parse(value)
	escape := url.EscapeError("")
	why := ""
	// The order of the cases decides which mistake is reported: a "/" in the password, for
	// example, makes url.Parse fail with a message about the port.
	switch {
	case !slices.Contains(proxySchemes, strings.ToLower(scheme)):
		why = "has a scheme that is not one of " + strings.Join(proxySchemes, ", ")
	case errors.As(err, &escape):
		why = `has a "%" that is not followed by two hexadecimal digits`
	case strings.ContainsAny(userInfo, "/?#"):
		why = `has a "/", "?" or "#" before the "@"`
	case err != nil:
		why = "is not a URL"
	case u.Hostname() == "":
		why = "has no host"
	case u.Port() != "" && !isPort(u.Port()), strings.HasSuffix(u.Host, ":"):
		why = "has a port that is not a number from 1 to 65535"
	default:
		return value, nil
	}
	return "", errors.New(why + redactedProxy(value, u))
}

// redactedProxy returns the part of a proxy URL that messages may show. u is the parsed
// URL, or nil if it cannot be parsed. A password may contain any character, so nothing
// before the last "@" is shown. Without "@", only the host is shown.
func redactedProxy(value string, u *url.URL) string {
	if at := strings.LastIndexByte(value, '@'); at >= 0 {
		return fmt.Sprintf(" (%q)", "…"+value[at:])
	}
	if u != nil && u.Hostname() != "" {
		return fmt.Sprintf(" (%q)", u.Hostname())
	}
	return ""
}

// isPort reports whether text is a port number.
func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}

// checkNoProxy checks the entries of no_proxy and returns them separated by commas, without blanks
// and brackets. Users of curl separate them by blanks, too.
func checkNoProxy(value string) (string, error) {
	entries := strings.FieldsFunc(value, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
	for i, entry := range entries {
		if problem := noProxyProblem(entry); problem != "" {
			return "", fmt.Errorf("has the entry %q, which %s", entry[strings.LastIndexByte(entry, '@')+1:], problem)
		}
		if address := strings.Trim(entry, "[]"); net.ParseIP(address) != nil {
			entries[i] = address
		}
	}
	return strings.Join(entries, ","), nil
}

// noProxyProblem returns why an entry of no_proxy can never match a host, or "" if it can. A
// valid entry is "*", an address, a network such as 10.0.0.0/8, or a host such as
// example.com, .example.com or *.example.com. Addresses and hosts may have a port.
func noProxyProblem(entry string) string {
	if _, _, err := net.ParseCIDR(entry); err == nil || entry == "*" || net.ParseIP(strings.Trim(entry, "[]")) != nil {
		return ""
	}
	host, port, hasPort := strings.Cut(entry, ":")
	if strings.HasPrefix(entry, "[") {
		host, port, hasPort = strings.Cut(entry, "]:")
	}
	host = strings.TrimPrefix(host, "*.")
	switch {
	case strings.Contains(entry, "/"):
		return "is not a network such as 10.0.0.0/8"
	case hasPort && !isPort(port):
		return "has a port that is not a number from 1 to 65535"
	case strings.Trim(host, ".") == "", strings.Contains(host, "*"):
		return "is not a host, an address or a network"
	}
	return ""
}

// exemptions are the hosts that are requested without a proxy.
type exemptions []exemption

// An exemption is one entry of no_proxy.
type exemption struct {
	net    netip.Prefix // of addresses; invalid if the entry is a name
	suffix string       // end of the names, in lower case and with a dot before it: ".example.com"; "." for all
	below  bool         // only for names that are longer than suffix
	port   string       // "" for all
}

// newExemptions reads --no-proxy or, in its place, no_proxy.
func newExemptions(o NetworkOptions) (exemptions, error) {
	exempt, err := proxyVariable("no_proxy", checkNoProxy, noProxyHint)
	if o.NoProxy != nil {
		if exempt, err = checkNoProxy(*o.NoProxy); err != nil {
			err = &settingError{"--no-proxy", err.Error(), "give --no-proxy " + noProxyHint}
		}
	}
	return parseExemptions(exempt), err
}

// parseExemptions returns the entries of a text that checkNoProxy has returned.
func parseExemptions(text string) (all exemptions) {
	for entry := range strings.SplitSeq(text, ",") {
		if entry == "" {
			continue
		}
		if net, err := netip.ParsePrefix(entry); err == nil {
			all = append(all, exemption{net: net.Masked()})
			continue
		}
		var e exemption
		host := entry
		if _, err := netip.ParseAddr(entry); err != nil {
			if h, port, err := net.SplitHostPort(entry); err == nil {
				host, e.port = h, port
			}
		}
		if a, err := netip.ParseAddr(host); err == nil {
			e.net = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())
		} else {
			host = strings.TrimPrefix(host, "*")
			e.below = strings.HasPrefix(host, ".")
			e.suffix = "." + strings.TrimPrefix(asciiHost(host), ".")
		}
		all = append(all, e)
	}
	return all
}

// match reports whether a URL is requested without a proxy.
func (all exemptions) match(u *url.URL) bool {
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	addr, err := netip.ParseAddr(u.Hostname())
	name := "." + asciiHost(u.Hostname())
	for _, e := range all {
		switch {
		case e.port != "" && e.port != port:
		case e.suffix == ".": // the entry "*"
			return true
		case e.suffix == "" && err == nil && e.net.Contains(addr.Unmap().WithZone("")):
			return true
		case e.suffix != "" && err != nil && strings.HasSuffix(name, e.suffix) && !(e.below && name == e.suffix):
			return true
		}
	}
	return false
}

// asciiHost returns a host name as it is looked up: in lower case, without a dot at its end, and in
// the ASCII form if it is international.
func asciiHost(name string) string {
	if ascii, err := idna.Lookup.ToASCII(name); err == nil {
		name = ascii
	}
	return strings.ToLower(strings.TrimSuffix(name, "."))
}
