package downloader

import (
	"context"
	"slices"
	"sync"

	"pawl/store"
)

// A Downloader downloads files into a Store. Its methods are safe for concurrent use. All
// its downloads share the limits of connections, rates and pauses of a host; the limit of
// connections is also shared with the other processes that use the directory of the Store.
type Downloader struct {
	*engine

	mu   sync.Mutex
	jobs []*job // running, in order of their start; guarded by mu
	last int64  // number of the last job; guarded by mu
}

// New returns a Downloader into s. Close must be called once.
func New(s *store.Store, o Options) *Downloader {
	return &Downloader{engine: newEngine(s, o.withDefaults())}
}

// Close closes idle connections. No download may be running.
func (d *Downloader) Close() { d.transport.Close() }

// SetLimitRate changes the limit of all downloads together, in bytes per second, also for
// connections that wait under the previous limit. 0 means no limit.
func (d *Downloader) SetLimitRate(bytesPerSecond int64) { d.transport.SetByteRate(bytesPerSecond) }

// SetHostLimitRate changes the limit of the hosts with these HostOptions.ByteRates, as SetLimitRate
// does for all downloads.
func (d *Downloader) SetHostLimitRate(byteRates string, bytesPerSecond int64) {
	d.transport.SetHostByteRate(byteRates, bytesPerSecond)
}

// Get downloads one file, or resumes it. It returns when the file is complete and durable, when
// the download has failed, or when ctx is cancelled; the arrived bytes are committed then. The
// error is of one of the kinds of packages failure and store, an error of the file system, or the
// cause of ctx.
func (d *Downloader) Get(ctx context.Context, req Request) (Result, error) {
	if h := req.Handle; h != nil {
		if err := h.begin(req); err != nil {
			return Result{}, err
		}
		defer h.end()
	}
	if _, listed := req.Into.(Listed); listed || len(req.Mirrors) == 0 { // package mirror chooses the source of a list's file
		return d.getVerified(ctx, req)
	}
	return d.getFallback(ctx, req)
}

// getOnce downloads the file from its URL and the mirrors beside it. wrong are the complete
// downloads of req that had a wrong digest.
func (d *Downloader) getOnce(ctx context.Context, req Request, wrong mismatches) (Result, error) {
	j, err := newJob(d.engine, req)
	if err != nil {
		return Result{}, err
	}
	j.wrong, j.origin.oneStream = wrong, wrong.decode()
	d.mu.Lock()
	d.last++
	j.progress.shown.Number = d.last // nobody else knows j yet
	d.jobs = append(d.jobs, j)
	d.mu.Unlock()
	req.Handle.watch(j)
	d.running.Add(1)
	defer func() {
		d.running.Add(-1)
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
		all[i] = j.snapshot()
	}
	return all
}

// Received returns how many bytes all downloads have received, including ended downloads.
// Bytes that were received twice count twice; bytes of earlier runs do not count. So the growth of
// the number is the rate of the network.
func (d *Downloader) Received() int64 { return d.received.Load() }
