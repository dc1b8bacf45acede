package downloader

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net"
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
	"pawl/downloader/response"
	"pawl/store"
)

// Options are the settings of a Downloader. The zero value is good.
type Options struct {
	Connections     int           // most per host; default 16
	Tries           int           // consecutive failures without a byte; default 10, negative without end
	RetryWait       time.Duration // after the first failure; default 1s, doubling
	RetryMaxWait    time.Duration // longest of these waits; default 60s
	RetryAfterMax   time.Duration // longest wait that a server may ask for; default 5m
	ConnectTimeout  time.Duration // for TCP and again for TLS; default 30s
	StallTimeout    time.Duration // for the header, and for each next byte; default 30s
	MinRate         int64         // bytes per second, below which a connection is given up; default 64
	MinRateTime     time.Duration // for so long; default twice StallTimeout
	LimitRate       int64         // bytes per second of all downloads together; default no limit
	RequestRate     float64       // requests per second to each host; default no limit
	WaitNetwork     bool          // while the machine has no network at all, wait, without end
	NoRemoteTime    bool          // do not take Last-Modified as modification time
	SplitUnverified bool          // use several connections although nothing would tell versions apart
	UserAgent       string        // default "pawl"

	Proxy    func(*http.Request) (*url.URL, error) // default none; an error of the kind failure.ErrUsage ends the download
	RootCAs  *x509.CertPool                        // default the system's
	Insecure bool                                  // no proof of identity asked; redirects to plain http followed
	Follow   Follow                                // where servers and lists may lead

	// OnEvent is told transitions, by any goroutine but never by two at once.
	// It must return soon. Default none.
	OnEvent func(Event)
}

// defaultMinRate is in bytes per second. The slowest mobile networks bring a thousand times
// as much. At half of it a server could hold a small file for twice as long; a modem would
// still be faster than twice of it.
const defaultMinRate = 64

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
	// URL is http or https. A user and password in it are sent, to its origin
	// only, and never recorded.
	URL string
	// ID names the download to go on with; then URL, if not empty, is its new
	// address, and Dir and Output are not used.
	ID store.ID
	// Mirrors are other URLs of the file. They are used beside URL, once it is proven
	// that they have the same bytes, or in place of it where it fails, and get Header.
	Mirrors []string
	// Dir is where the file goes, default the working directory; Output its
	// name or path, default what server or URL call it.
	Dir, Output string
	// Stream, if not nil, takes the bytes in order in place of a file. Nothing
	// is recorded then.
	Stream io.Writer
	// Header is sent along, to the origin of URL and of Mirrors only unless it is harmless.
	Header http.Header
	// Credentials returns further header fields for an origin, as Origin returns it. The user
	// of URL and Header override them. They are sent where Header is. Default none.
	Credentials func(origin string) http.Header
	// Public reports whether a public list has named an origin, as Origin returns it: then URL
	// and Mirrors of that origin must not lead to a private address. Default none.
	Public func(origin string) bool
	// Sum is the digest that the file must have, if not zero.
	Sum chunk.Sum
	// MaxSize is how many bytes the file may have, 0 for no limit. A larger one ends with
	// failure.ErrTooLarge: before its body is read if the size is known, else when more arrive, and
	// then the part file is removed. If something is held already, a known size keeps it.
	MaxSize int64
	// Overwrite replaces a file that pawl did not make.
	Overwrite bool
	// Restart forgets what there is of the download.
	Restart bool
	// FailOnChange ends the download with failure.ErrChanged, and keeps what is there,
	// where the remote file is another one now. Else it starts over.
	FailOnChange bool
	// ListEntry is for a file of a list: Output is its path then, and Record is taken
	// for what is on record of that. Nil for others.
	ListEntry *ListEntry
}

// A Result says how a download ended; after an error, as far as it had come.
type Result struct {
	ID       store.ID
	Target   string // absolute path; "-" for a stream, "" if it was never known
	Size     int64  // bytes; -1 if it was never known
	Fetched  int64  // bytes received by this run, those fetched twice included
	Elapsed  time.Duration
	Current  bool      // nothing was transferred: the file was there, and is unchanged
	Unframed bool      // the server did not mark the end of the file: it may be cut
	Private  bool      // all answers came from private addresses
	Retries  int       // failures that were followed by another try
	Final    string    // URL that the bytes came from, without user and password; "" if none did
	CRC      uint32    // CRC-32C of a small file of a list (RFC 3720 §12.1)
	Sum      chunk.Sum // digest that the file was checked against, if any: the one asked for, or the server's
}

// A Downloader moves files into a Store. Safe for concurrent use; all its
// downloads share their connections per host, rate and waits, and connections also
// with the other processes that use the Store's directory.
type Downloader struct {
	store  *store.Store
	opts   Options
	http   *http.Client // for ranges, over HTTP/1.1
	http2  *http.Client // for small files, over HTTP/2 where there is
	dialer *dialer      // of both
	slots  *slots       // of connections of both
	turns  *turns       // of requests; nil without a limit
	bytes  *bucket      // of all bodies
	outage *outage

	eventMu sync.Mutex // orders events

	mu    sync.Mutex
	hosts memory[*hosts.Host] // by origin; guarded by mu
	jobs  []*job              // running, in order of their start; guarded by mu
}

// New returns a Downloader into s.
func New(s *store.Store, o Options) *Downloader {
	o = o.withDefaults()
	shared, t := newSlots(s, o.Connections), newTurns(o.RequestRate)
	dial := &dialer{Dialer: net.Dialer{Timeout: o.ConnectTimeout, KeepAlive: 30 * time.Second, ControlContext: refusePrivate}}
	http1, http2 := newHTTPClient(o, dial, shared, t, false), newHTTPClient(o, dial, shared, t, true)
	http2.Transport = proxied{http1.Transport, http2.Transport, o.Proxy}
	return &Downloader{
		store:  s,
		opts:   o,
		http:   http1,
		http2:  http2,
		dialer: dial,
		slots:  shared,
		turns:  t,
		bytes:  newBucket(float64(max(0, o.LimitRate)), burstTime),
		outage: newOutage(o.WaitNetwork),
		hosts:  newMemory(func(h *hosts.Host) bool { return h.IsIdle(time.Now()) }),
	}
}

// Close closes idle connections. No download may be running.
func (d *Downloader) Close() { d.slots.close() }

// Get downloads one file, or goes on with it, and returns when it is whole and
// durable, when it failed, or when ctx is cancelled; then what has arrived is
// committed first. Its error is one of the kinds of this package and of store,
// or the cause of ctx.
func (d *Downloader) Get(ctx context.Context, req Request) (Result, error) {
	if len(req.Mirrors) == 0 || req.ListEntry != nil { // a list has its own order of sources
		return d.getVerified(ctx, req)
	}
	return d.getAny(ctx, req)
}

// getFrom is Get from the URL asked, and the mirrors beside it, once: wrong are the
// complete downloads of req that did not have its digest.
func (d *Downloader) getFrom(ctx context.Context, req Request, wrong mismatches) (Result, error) {
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

// Snapshot returns the progress of the running downloads, in order of their
// start. It waits for no download.
func (d *Downloader) Snapshot() []Progress {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]Progress, len(d.jobs))
	for i, j := range d.jobs {
		all[i] = j.progress.snapshot()
	}
	return all
}

// MaxParallel returns how many small files a host, of Origin, is asked for at once.
func (d *Downloader) MaxParallel(name string) int {
	d.mu.Lock()
	known := d.hosts.known[name]
	d.mu.Unlock()
	if known == nil {
		return d.opts.Connections
	}
	return known.value.MaxParallel()
}

// running returns how many downloads there are, one at least.
func (d *Downloader) running() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return int64(max(1, len(d.jobs)))
}

// host returns what is shared about the server of u.
func (d *Downloader) host(u *url.URL) *hosts.Host {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := originOf(u)
	return d.hosts.get(key, func() *hosts.Host {
		addr := dialed(u, d.opts.Proxy)
		o := hosts.Options{Origin: key, Ceiling: d.opts.Connections, Address: hostAddress{addr, d.dialer, d.slots.group(addr)}}
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

// maxURL is how many bytes a URL may have, as many as an entry of a list. Servers accept
// 8 KiB to 64 KiB, so double helps nobody, and half may refuse a test server.
const maxURL = 1 << 20

// parseURL accepts what can be downloaded.
func parseURL(s string) (*url.URL, error) {
	if len(s) > maxURL {
		return nil, failure.Wrap(failure.ErrUsage, fmt.Errorf("a URL of %d bytes is longer than %d", len(s), maxURL))
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, failure.Wrap(failure.ErrUsage, fmt.Errorf("%q is not an http or https URL", RedactURL(s)))
	}
	if _, err := strconv.ParseUint(u.Port(), 10, 16); u.Port() != "" && err != nil {
		return nil, failure.Wrap(failure.ErrUsage, fmt.Errorf("%q has no port from 0 to 65535", RedactURL(s)))
	}
	u.Fragment = ""
	return u, nil
}

// CheckURL says why s is nothing that can be downloaded, nil if it may be.
func CheckURL(s string) error {
	_, err := parseURL(s)
	return err
}

// CanonicalURL returns a URL as records have it, "" for what is none.
func CanonicalURL(s string) string {
	u, err := parseURL(s)
	if err != nil {
		return ""
	}
	u.User = nil
	return u.String()
}

// Origin returns the scheme, host and port of a URL, by which connections are
// limited; "" for what is none.
func Origin(s string) string {
	u, err := parseURL(s)
	if err != nil {
		return ""
	}
	return originOf(u)
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
