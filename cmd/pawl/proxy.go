package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/net/http/httpproxy"
)

// proxyFromEnvironment returns a function that returns the proxy of a request, or nil for
// none. It reads http_proxy, https_proxy, all_proxy and no_proxy. A name in lower case has
// priority over the same name in upper case. all_proxy is for each scheme without a
// variable of its own.
//
// httpproxy ignores a value that it cannot parse, and the request would then bypass the
// proxy. So proxyFromEnvironment checks all four variables first, and fails if one of them
// is unusable, even if no request would need it.
func proxyFromEnvironment() (func(*http.Request) (*url.URL, error), error) {
	forHTTP, err1 := proxyVariable("http_proxy", checkProxyURL, proxyHint)
	forHTTPS, err2 := proxyVariable("https_proxy", checkProxyURL, proxyHint)
	forAll, err3 := proxyVariable("all_proxy", checkProxyURL, proxyHint)
	exempt, err4 := proxyVariable("no_proxy", checkNoProxy, noProxyHint)
	if err := cmp.Or(err1, err2, err3, err4); err != nil {
		return nil, err
	}
	config := httpproxy.Config{
		HTTPProxy:  cmp.Or(forHTTP, forAll),
		HTTPSProxy: cmp.Or(forHTTPS, forAll),
		NoProxy:    exempt,
		CGI:        forHTTP != "" && isSetByClient(),
	}
	choose := config.ProxyFunc()
	return func(r *http.Request) (*url.URL, error) {
		// All values have been checked, so the only possible error is that of CGI.
		u, err := choose(r.URL)
		if err != nil {
			err = &settingError{"HTTP_PROXY", "is refused under CGI (REQUEST_METHOD is set), because a client can set it", "unset REQUEST_METHOD, or give all_proxy=" + proxyHint}
		}
		return u, err
	}, nil
}

// isSetByClient reports whether the proxy for http may come from a client: a CGI server puts the
// header field "Proxy" of any client into HTTP_PROXY. Windows does not distinguish the names.
func isSetByClient() bool {
	hasLower := strings.TrimSpace(os.Getenv("http_proxy")) != "" && runtime.GOOS != "windows"
	return os.Getenv("REQUEST_METHOD") != "" && !hasLower
}

const (
	proxyHint   = `SCHEME://USER:PASSWORD@HOST:PORT, with the special characters of the password percent-encoded, for example "%" as %25`
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

// proxySchemes are the proxy protocols that net/http supports.
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

// checkNoProxy checks the entries of no_proxy and returns them separated by commas, the only
// separator that httpproxy accepts. Users of curl separate them by blanks too.
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
