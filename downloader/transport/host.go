package transport

import (
	"cmp"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// HostOptions are the settings of one host, in place of the settings of all hosts. The zero value of a
// field means that the host has the setting of all hosts.
type HostOptions struct {
	Connections int     // most connections to the host
	RequestRate float64 // requests per second to the host; negative for no limit
	UserAgent   string  // of the requests to the host

	// ByteRate is the limit in bytes per second of the bodies from all hosts with the same
	// ByteRates, 0 for no limit. It holds in addition to the limit of all bodies together.
	ByteRate  int64
	ByteRates string // name of the limit; "" for a host without a limit of its own
}

// forHost returns the settings of a host.
func (o Options) forHost(hostPort string) HostOptions {
	if o.ForHost == nil {
		return HostOptions{}
	}
	return o.ForHost(strings.ToLower(hostPort))
}

// connections returns the most connections to a host or, with a proxy, to the proxy.
func (o Options) connections(hostPort string) int {
	return cmp.Or(o.forHost(hostPort).Connections, o.Connections)
}

// smallConnections returns the most connections to a host, or to the proxy, while it serves small files.
func (o Options) smallConnections(hostPort string) int {
	return max(o.connections(hostPort), cmp.Or(o.forHost(hostPort).Connections, o.SmallConnections))
}

// requestRate returns how many requests per second a host gets, 0 for no limit.
func (o Options) requestRate(hostPort string) float64 {
	if rate := cmp.Or(o.forHost(hostPort).RequestRate, o.RequestRate); rate > 0 { // not for NaN
		return rate
	}
	return 0
}

// userAgent returns the User-Agent of requests to u.
func (o Options) userAgent(u *url.URL) string {
	return cmp.Or(o.forHost(hostPort(u)).UserAgent, o.UserAgent)
}

// Connections returns the most connections to the host of u.
func (t *Transport) Connections(u *url.URL) int { return t.options.connections(hostPort(u)) }

// SmallConnections returns the most connections to the host of u while it serves small files.
func (t *Transport) SmallConnections(u *url.URL) int { return t.options.smallConnections(hostPort(u)) }

// UserAgent returns the User-Agent of requests to u, for which the user has not chosen another one.
func (t *Transport) UserAgent(u *url.URL) string { return t.options.userAgent(u) }

// setUserAgent gives a redirect to another host the User-Agent of that host, unless the user chose the one
// of the first request.
func (o Options) setUserAgent(req, first *http.Request) {
	const name = "User-Agent"
	if agent := o.userAgent(req.URL); first.Header.Get(name) == o.userAgent(first.URL) && agent != "" {
		req.Header.Set(name, agent)
	}
}

// hostPort returns the host and port of u, which may be the URL of a proxy. It adds the default port.
func hostPort(u *url.URL) string {
	return net.JoinHostPort(strings.ToLower(u.Hostname()), cmp.Or(u.Port(), defaultPorts[u.Scheme]))
}
