package downloader

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/hosts"
	"pawl/downloader/recent"
	"pawl/downloader/response"
	"pawl/downloader/transport"
	"pawl/store"
)

const (
	// defaultMinRate is in bytes per second. The slowest mobile networks reach a thousand times
	// as much. At half, a server could hold a small file for twice as long; a modem would still
	// be faster than double.
	defaultMinRate = 64
	// maxURL limits a URL, in bytes, as the entry of a list is limited. Servers accept 8 KiB to
	// 64 KiB, so double helps nobody, and half may refuse a test server.
	maxURL = 1 << 20
)

// Options are the settings of a Downloader. The zero value is good.
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
	RootCAs  *x509.CertPool // default those of the system
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

// A Request asks for one file.
type Request struct {
	// URL is http or https. A user and password in it are sent to its origin only, and are never
	// recorded.
	URL string
	// ID names a recorded download to resume. URL then is its new URL, if not empty, and Dir and
	// Output are not used.
	ID store.ID
	// Mirrors are other URLs of the file. They are used beside URL once samples have shown that
	// they have the same bytes, or instead of URL if it fails. They get Header, too.
	Mirrors []string
	// Dir is the directory for the file, by default the working directory. Output is its name
	// or path, by default the name in the response or in the URL.
	Dir, Output string
	// Stream, if not nil, gets the bytes in order instead of a file. Nothing is recorded then.
	Stream io.Writer
	// Header is sent with each request. Fields that may be secret are sent only to the origins
	// of URL and Mirrors.
	Header http.Header
	// Credentials returns further header fields for an origin, as function Origin names it. They
	// are sent to the same origins as Header. The user in URL and Header override them. May be
	// nil.
	Credentials func(origin string) http.Header
	// Public reports whether a public list has named an origin, as function Origin names it. URLs
	// of that origin must not lead to a private address. May be nil.
	Public func(origin string) bool
	// Sum is the digest that the file must have; zero for none.
	Sum chunk.Sum
	// MaxSize limits the size of the file, in bytes; 0 for no limit. A larger file ends with
	// failure.ErrTooLarge: before its body is read if its size is known, else when more bytes
	// arrive, and then the part file is removed.
	MaxSize int64
	// Overwrite allows to replace a file that pawl did not download.
	Overwrite bool
	// Restart discards the held bytes of the download.
	Restart bool
	// FailOnChange ends the download with failure.ErrChanged, and keeps the held bytes, if the
	// remote file has changed. Otherwise the download starts over.
	FailOnChange bool
	// ListEntry is set for a file of a list. Output then is its path.
	ListEntry *ListEntry
}

// A Result is the outcome of a download. After an error it says how far the download came.
type Result struct {
	ID       store.ID
	Target   string        // absolute path; "-" for a stream; "" if it was never known
	Size     int64         // bytes; -1 if it was never known
	Fetched  int64         // bytes received by this run, including those received twice
	Elapsed  time.Duration // of this run
	Current  bool          // the file was finished already, and has not changed
	Unframed bool          // the server did not mark the end of the file, so it may be truncated
	Private  bool          // all responses came from private addresses
	Retries  int           // failures that were followed by another try
	Final    string        // URL of the bytes, without user and password; "" if no byte was received
	CRC      uint32        // CRC-32C of a small file of a list (RFC 3720 §12.1)
	Sum      chunk.Sum     // digest that was verified: Request.Sum, or the server's; zero for none
}

// A Downloader downloads files into a Store. Its methods are safe for concurrent use. All
// its downloads share the limits of connections, rates and pauses of a host; the limit of
// connections is also shared with the other processes that use the directory of the Store.
type Downloader struct {
	store     *store.Store
	opts      Options
	transport *transport.Transport
	network   *transport.Network

	eventMu sync.Mutex // held during Options.OnEvent

	mu    sync.Mutex
	hosts recent.Map[*hosts.Host] // by origin; guarded by mu
	jobs  []*job                  // running, in order of their start; guarded by mu
}

// New returns a Downloader into s. Close must be called once.
func New(s *store.Store, o Options) *Downloader {
	o = o.withDefaults()
	return &Downloader{
		store:     s,
		opts:      o,
		transport: newTransport(s, o),
		network:   transport.NewNetwork(o.WaitNetwork),
		hosts:     recent.NewMap(func(h *hosts.Host) bool { return h.IsIdle(time.Now()) }),
	}
}

// newTransport returns a transport whose connections are limited together with the other
// processes that use s. s may be nil.
func newTransport(s *store.Store, o Options) *transport.Transport {
	var slots func(addr string, n int) transport.Slots
	if s != nil {
		slots = func(addr string, n int) transport.Slots { return s.Slots(addr, n) }
	}
	return transport.New(transport.Options{
		Connections:    o.Connections,
		ConnectTimeout: o.ConnectTimeout,
		StallTimeout:   o.StallTimeout,
		MinRate:        o.MinRate,
		MinRateTime:    o.MinRateTime,
		ByteRate:       o.LimitRate,
		RequestRate:    o.RequestRate,
		Proxy:          o.Proxy,
		RootCAs:        o.RootCAs,
		Insecure:       o.Insecure,
		Follow:         o.Follow,
		Fields:         response.Fields,
	}, slots)
}

// Close closes idle connections. No download may be running.
func (d *Downloader) Close() { d.transport.Close() }

// SetLimitRate changes the limit of all downloads together, in bytes per second, also for
// connections that wait under the previous limit. 0 means no limit.
func (d *Downloader) SetLimitRate(bytesPerSecond int64) { d.transport.SetByteRate(bytesPerSecond) }

// Get downloads one file, or resumes it. It returns when the file is complete and durable, when
// the download has failed, or when ctx is cancelled; the arrived bytes are committed then. The
// error is of one of the kinds of packages failure and store, an error of the file system, or the
// cause of ctx.
func (d *Downloader) Get(ctx context.Context, req Request) (Result, error) {
	if len(req.Mirrors) == 0 || req.ListEntry != nil { // package mirror chooses the source of a list's file
		return d.getVerified(ctx, req)
	}
	return d.getFallback(ctx, req)
}

// getOnce downloads the file from its URL and the mirrors beside it. wrong are the complete
// downloads of req that had a wrong digest.
func (d *Downloader) getOnce(ctx context.Context, req Request, wrong mismatches) (Result, error) {
	j, err := newJob(d, req)
	if err != nil {
		return Result{}, err
	}
	j.wrong, j.origin.oneStream = wrong, wrong.decode()
	d.mu.Lock()
	d.jobs = append(d.jobs, j)
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.jobs = slices.DeleteFunc(d.jobs, func(o *job) bool { return o == j })
	}()
	return j.run(ctx)
}

// Snapshot returns the progress of the running downloads, in order of their start. It does not
// wait for a download.
func (d *Downloader) Snapshot() []Progress {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]Progress, len(d.jobs))
	for i, j := range d.jobs {
		all[i] = j.progress.snapshot()
	}
	return all
}

// MaxParallel returns how many small files may be requested from an origin at the same time.
func (d *Downloader) MaxParallel(origin string) int {
	d.mu.Lock()
	h, known := d.hosts.Peek(origin)
	d.mu.Unlock()
	if !known {
		return d.opts.Connections
	}
	return h.MaxParallel()
}

// running returns how many downloads are running, but at least 1.
func (d *Downloader) running() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return int64(max(1, len(d.jobs)))
}

// host returns the shared state of the host of u.
func (d *Downloader) host(u *url.URL) *hosts.Host {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := transport.Origin(u)
	return d.hosts.Get(key, func() *hosts.Host {
		o := hosts.Options{Origin: key, Ceiling: d.opts.Connections, Address: d.transport.Address(u)}
		if d.store != nil {
			o.Memory = d.store
		}
		return hosts.New(o)
	})
}

func (d *Downloader) emit(e Event) {
	d.eventMu.Lock()
	defer d.eventMu.Unlock()
	e.Time = time.Now()
	d.opts.OnEvent(e)
}

// parseURL parses a URL that can be downloaded, and drops its fragment.
func parseURL(s string) (*url.URL, error) {
	if len(s) > maxURL {
		return nil, failure.Wrap(failure.ErrUsage, fmt.Errorf("a URL of %d bytes is longer than %d", len(s), maxURL))
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, failure.Wrap(failure.ErrUsage, fmt.Errorf("%q is not an http or https URL", RedactURL(s)))
	}
	if _, err := strconv.ParseUint(u.Port(), 10, 16); u.Port() != "" && err != nil {
		return nil, failure.Wrap(failure.ErrUsage, fmt.Errorf("port in %q is not from 0 to 65535", RedactURL(s)))
	}
	u.Fragment = ""
	return u, nil
}

// CheckURL returns an error if s cannot be downloaded.
func CheckURL(s string) error {
	_, err := parseURL(s)
	return err
}

// CanonicalURL returns a URL as records have it: without user, password and fragment. It returns
// "" if s cannot be downloaded.
func CanonicalURL(s string) string {
	u, err := parseURL(s)
	if err != nil {
		return ""
	}
	u.User = nil
	return u.String()
}

// Origin returns the origin of a URL, by which connections are limited, for example
// "https://example.com:443" (RFC 6454 §4). It returns "" if s cannot be downloaded.
func Origin(s string) string {
	u, err := parseURL(s)
	if err != nil {
		return ""
	}
	return transport.Origin(u)
}

// FilenameFromURL returns the local name of a file by its URL alone.
func FilenameFromURL(s string) string { return response.FilenameFromURL(s) }

// absTarget returns the absolute path of name in dir.
func absTarget(dir, name string) (string, error) {
	if !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	return filepath.Abs(name)
}
