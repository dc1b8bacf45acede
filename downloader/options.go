package downloader

import (
	"crypto/x509"
	"net/http"
	"net/url"
	"time"

	"pawl/downloader/transport"
)

// defaultMinRate is in bytes per second. The slowest mobile networks reach a thousand times
// as much. At half, a server could hold a small file for twice as long; a modem would still
// be faster than double.
const defaultMinRate = 64

// Options are the settings of a Downloader. The zero value is good. A download reads them when it
// starts; only LimitRate can be changed afterwards, by Downloader.SetLimitRate.
type Options struct {
	Connections     int           // most connections to a host; default 16
	Tries           int           // consecutive failures without a byte that end a download; default 10, negative for no limit
	RetryWait       time.Duration // wait after the first failure, doubled after each further one; default 1s
	RetryMaxWait    time.Duration // longest of these waits; default 60s
	RetryAfterMax   time.Duration // longest wait that a server may ask for; default 5m
	ConnectTimeout  time.Duration // for TCP, and again for TLS; default 30s
	StallTimeout    time.Duration // for the response header, and for each next byte; default 30s
	MinRate         int64         // bytes per second; a slower connection is given up; default 64
	MinRateTime     time.Duration // over which MinRate is measured; default twice StallTimeout
	LimitRate       int64         // bytes per second of all downloads together; 0 for no limit
	RequestRate     float64       // requests per second to each host; 0 for no limit
	WaitNetwork     bool          // while the machine has no network at all, wait without limit
	NoRemoteTime    bool          // do not use Last-Modified as the modification time of the file
	SplitUnverified bool          // use several connections even if nothing distinguishes versions
	UserAgent       string        // default "pawl"

	// Proxy returns the proxy for a request, nil for none. An error of kind failure.ErrUsage
	// ends the download. Default no proxy.
	Proxy    func(*http.Request) (*url.URL, error)
	RootCAs  *x509.CertPool // default the certificates of the system
	Insecure bool           // do not verify certificates, and follow redirects from https to http
	Follow   Follow         // where servers and lists may lead

	// OnEvent is called for each transition, by any goroutine but never by two at a time. It must
	// return soon. Default none.
	OnEvent func(Event)
}

// Follow limits where servers and lists may lead.
type Follow = transport.Follow

func (o Options) withDefaults() Options {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&o.RetryWait, time.Second)
	def(&o.RetryMaxWait, time.Minute)
	def(&o.RetryAfterMax, 5*time.Minute)
	def(&o.ConnectTimeout, 30*time.Second)
	def(&o.StallTimeout, 30*time.Second)
	if o.MinRate <= 0 {
		o.MinRate = defaultMinRate
	}
	if o.Connections <= 0 {
		o.Connections = 16
	}
	switch {
	case o.Tries == 0:
		o.Tries = 10
	case o.Tries < 0:
		o.Tries = 0
	}
	if o.UserAgent == "" {
		o.UserAgent = "pawl"
	}
	if o.OnEvent == nil {
		o.OnEvent = func(Event) {}
	}
	return o
}
