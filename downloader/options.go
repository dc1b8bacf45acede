package downloader

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"time"

	"pawl/downloader/transport"
)

// defaultMinRate is in bytes per second. The slowest mobile networks reach a thousand times
// as much. At half, a server could hold a small file for twice as long; a modem would still
// be faster than double.
const defaultMinRate = 64

const (
	// defaultConnections is a guess: fewer than most servers refuse, and enough for distant ones. At half, a
	// download over 80 ms takes 1.2 times as long; double gains 5 % at most there, and more servers refuse it.
	defaultConnections = 16
	// defaultSmallConnections are enough to fetch more than 2,000 small files per second from a server at
	// 20 ms. At half, that takes nearly twice as long; at double, the processor is the limit.
	defaultSmallConnections = 48
)

// Options are the settings of a Downloader. The zero value is good. A download reads them when it
// starts; only LimitRate can be changed afterwards, by Downloader.SetLimitRate. A Handle changes the limits of a
// single download.
type Options struct {
	Connections     int     // most connections to a host; default 16, and 48 while it serves small files of lists over HTTP/1.1
	LimitRate       int64   // bytes per second of all downloads together; 0 for no limit
	RequestRate     float64 // requests per second to each host; 0 for no limit
	Retry           RetryPolicy
	Timeouts        Timeouts
	NoRemoteTime    bool   // do not use Last-Modified as the modification time of the file
	SplitUnverified bool   // use several connections even if nothing distinguishes versions
	UserAgent       string // default "pawl"

	// ForHost returns the settings of a host that differ from those above. Its argument is host and
	// port in lower case, for example "example.org:443"; it must always return the same for a host. It
	// is called by any goroutine. Default: no host has settings of its own.
	ForHost func(hostPort string) HostOptions

	// IgnoreServerDigest makes no use of the digests that servers name, for servers whose fields
	// are wrong.
	IgnoreServerDigest bool

	// Slots returns the connections to an address that all processes share, on other machines, too.
	// Its arguments are host and port, for example "example.org:443", of the server or its proxy, and
	// the most connections that this process opens; small files get no further ones. A set of slots whose
	// Share is 0 was taken away: all its connections are closed, also those in use, and the downloads
	// wait, however long, until there is a slot again; that is no failure. Slots is called by any
	// goroutine, and again for an address that was not used for a while. Default: the processes that use the same directory of the Store share
	// the connections.
	Slots func(addr string, n int) Slots

	smallConnections int // most connections to a host while it serves small files; set by withDefaults

	// Dial opens a TCP connection to an IP address and port, for example in memory. Default package
	// net.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Address says between which addresses connections are opened.
	Address Addressing

	// Proxy returns the proxy for a request, nil for none. An error of kind failure.ErrUsage
	// ends the download. Default no proxy.
	Proxy  func(*http.Request) (*url.URL, error)
	TLS    TLSOptions
	Follow Follow // limits the redirects, lists and mirrors that are followed

	// OnEvent is called for each transition, by any goroutine but never by two at a time. It must
	// return soon. Default none.
	OnEvent func(Event)
}

// A RetryPolicy says how often, and after which waits, a download asks again after a failure.
type RetryPolicy struct {
	Tries         int           // consecutive failures without a byte that end a download; default 10, negative for no limit
	Wait          time.Duration // after the first failure, doubled after each further one; default 1s
	MaxWait       time.Duration // longest of these waits; default 60s
	MaxRetryAfter time.Duration // longest wait that a server may ask for; default 5m
	WaitNetwork   bool          // while the machine has no network at all, wait without limit
}

// Timeouts limit the waits for a server.
type Timeouts struct {
	Connect     time.Duration // for TCP, and again for TLS; default 30s
	Stall       time.Duration // for the response header, and for each next byte; default 30s
	MinRate     int64         // bytes per second; a slower connection is given up; default 64
	MinRateTime time.Duration // over which MinRate is measured; default twice Stall
}

// TLSOptions are the settings of TLS.
type TLSOptions struct {
	RootCAs *x509.CertPool // default the certificates of the system
	// Certificate returns the user's certificate for an origin, as function Origin names it; nil for
	// none. No other origin gets it. Default none.
	Certificate func(origin string) *tls.Certificate

	Legacy   bool // offer outdated versions, key exchanges and ciphers, too
	Insecure bool // do not verify certificates, and follow redirects from https to http
}

// Addressing says between which addresses connections are opened.
type Addressing = transport.Addressing

// FixedAddresses are the addresses that are used for a host and port in place of a lookup.
type FixedAddresses = transport.FixedAddresses

// The families of addresses that an Addressing may allow alone.
const (
	IPv4 = transport.IPv4
	IPv6 = transport.IPv6
)

// A Binding is the local end of connections: an interface or an address.
type Binding = transport.Binding

// NewBinding returns the Binding to the interface of this name, or to the local address of this text.
func NewBinding(name string) (*Binding, error) { return transport.NewBinding(name) }

// Interfaces returns the names of the interfaces that are up.
func Interfaces() []string { return transport.Interfaces() }

// Slots are the connections to one address that several processes share.
type Slots = transport.Slots

// HostOptions are the settings of one host, in place of the settings of all hosts.
type HostOptions = transport.HostOptions

// Follow limits the URLs to which servers and lists may lead.
type Follow = transport.Follow

func (o Options) withDefaults() Options {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&o.Retry.Wait, time.Second)
	def(&o.Retry.MaxWait, time.Minute)
	def(&o.Retry.MaxRetryAfter, 5*time.Minute)
	def(&o.Timeouts.Connect, 30*time.Second)
	def(&o.Timeouts.Stall, 30*time.Second)
	if o.Timeouts.MinRate <= 0 {
		o.Timeouts.MinRate = defaultMinRate
	}
	o.smallConnections = o.Connections
	if o.Connections <= 0 {
		o.Connections, o.smallConnections = defaultConnections, defaultSmallConnections
	}
	if o.Slots != nil {
		o.smallConnections = o.Connections
	}
	switch {
	case o.Retry.Tries == 0:
		o.Retry.Tries = 10
	case o.Retry.Tries < 0:
		o.Retry.Tries = 0
	}
	if o.UserAgent == "" {
		o.UserAgent = "pawl"
	}
	if o.OnEvent == nil {
		o.OnEvent = func(Event) {}
	}
	return o
}
