package downloader

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/sched"
	"pawl/downloader/transport"
	"pawl/downloader/weburl"
)

var (
	// errResting means that the host wants no request for a while.
	errResting = errors.New("the host wants a pause")
	// errNoRoom means that all connections that the host may have are in use.
	errNoRoom = errors.New("all connections to the host are in use")
	// errOthersConnect means that the connections to the host are shared with other processes, which
	// have all of them.
	errOthersConnect = errors.New("other processes have all connections to the host")
	// errRequestRate means that the limit of requests per second is reached.
	errRequestRate = errors.New("the limit of requests to the host is reached")
)

// A Handle watches and steers the download of one Request while it runs, over all its attempts and from
// all its sources. The zero Handle is ready for use. It must be given to one Request at a time, and must
// not be copied. Settings may be made before the download starts, and hold for the next download as well. Safe for concurrent use.
type Handle struct {
	group       *Handle      // whose limits hold, and that counts the download; nil for none; immutable
	connections atomic.Int64 // most connections; 0 for no limit

	mu    sync.Mutex
	rate  *transport.Limiter   // nil before it is needed; guarded by mu, as the fields below are
	run   *handleRun           // nil if no download runs
	parts map[*Handle]struct{} // of Part, with a download that runs; nil before the first
	ended Progress             // sums of the ended parts
}

// Part returns a Handle for one of several downloads, such as the files of a list. The rate limit of h holds for all
// of them together, its limit of connections for each, and Progress of h has their sums.
func (h *Handle) Part() *Handle { return &Handle{group: h} }

// A handleRun is the running download of a Handle: one job, or several after one another if
// a source fails or sends wrong bytes. All fields are guarded by the mutex of the Handle.
type handleRun struct {
	job     *job             // the last one; nil before the first
	urls    []string         // all sources of all jobs, in the order in which Detail has them
	aside   map[string]error // why a source of an earlier job is not used any more
	earlier struct {         // of the jobs before the last
		received map[string]int64 // by source
		total    int64
		retries  int
	}
}

// SetLimitRate limits the rate of this download alone to bytes per second, in addition to all other limits,
// also for reads that wait under the previous limit. 0 means no limit.
func (h *Handle) SetLimitRate(bytesPerSecond int64) { h.limiter().SetByteRate(bytesPerSecond) }

// SetConnections limits the connections of this download, to all its sources together; 0 means no limit of
// its own. If there are more, the slowest ones are closed within moments, and the bytes that have been read
// from them stay. If there may be more, they are opened as far as they pay. With at least two, each source
// gets one before others get several; with one, no mirror is used beside the URL.
func (h *Handle) SetConnections(n int) { h.connections.Store(int64(max(0, n))) }

// Progress returns the progress of the download, as Downloader.Snapshot does, with the received bytes
// and retries of all its attempts. It reports false if no download with the Handle runs. For a Handle with
// parts, it has the sums of all parts so far; Size is -1, and Have is Received.
func (h *Handle) Progress() (Progress, bool) {
	if p, ok := h.sum(); ok {
		return p, true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run == nil || h.run.job == nil {
		return Progress{}, false
	}
	p := h.run.job.snapshot()
	p.Received += h.run.earlier.total
	p.Retries += h.run.earlier.retries
	return p, true
}

// sum returns the sums of the parts. It reports false if there has been none.
func (h *Handle) sum() (Progress, bool) {
	h.mu.Lock()
	p, parts, known := h.ended, slices.Collect(maps.Keys(h.parts)), h.parts != nil
	h.mu.Unlock()
	for _, part := range parts {
		one, _ := part.Progress()
		p.add(one)
	}
	p.Size, p.Have = -1, p.Received
	return p, known
}

// add adds the counts of a part.
func (p *Progress) add(part Progress) {
	p.Conns += part.Conns
	p.Received += part.Received
	p.Retries += part.Retries
}

// enter notes that the download of a part begins.
func (h *Handle) enter(part *Handle) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.parts == nil {
		h.parts = make(map[*Handle]struct{})
	}
	h.parts[part] = struct{}{}
}

// leave adds the final progress of a part whose download has ended.
func (h *Handle) leave(part *Handle, p Progress) {
	p.Conns = 0
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.parts, part)
	h.ended.add(p)
}

// A Detail is the state of a running download in detail.
type Detail struct {
	// Held are the bytes that are here, durable or not. Those in the buffers of connections, which
	// Progress.Have counts, are not in it.
	Held chunk.Set
	// Sources are the URL and its mirrors, in the order of the Request, then the mirrors on record, then the ones
	// that a server has named.
	Sources []Source
	// Waiting is zero if bytes arrive, or may arrive at any moment.
	Waiting Pause
}

// A Source is a URL of the file of a download.
type Source struct {
	URL      string // without user and password
	Conns    int    // connections that are open or being opened, also for samples
	Received int64  // bytes received from it by this run; a byte that is received twice counts twice
	Err      error  // why it is not used any more; nil if it is or may be used
}

// A Pause says why no byte of a download arrives.
type Pause struct {
	Err   error     // for example the failure that is followed by another try
	Until time.Time // when the next request is sent; zero if that is not known
}

// Detail returns the state of the download in detail, a copy. It returns the zero Detail if no download
// with the Handle runs. A call costs some microseconds.
func (h *Handle) Detail() Detail {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run == nil || h.run.job == nil {
		return Detail{}
	}
	j := h.run.job
	return Detail{Held: j.progress.heldSet(), Sources: h.run.sources(), Waiting: j.pauseNow(time.Now())}
}

// limiter returns the limiter of the download.
func (h *Handle) limiter() *transport.Limiter {
	if h.group != nil {
		return h.group.limiter()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rate == nil {
		h.rate = transport.NewByteLimiter(0)
	}
	return h.rate
}

// limit returns l, the limits of a transfer, with the limits of the Handle.
func (h *Handle) limit(l sched.Limit) sched.Limit {
	own := transport.Pace{}.With(h.limiter())
	if rate := float64(own.ByteRate()); rate > 0 && (l.Rate == 0 || rate < l.Rate) {
		l.Rate = rate
	}
	l.Low = l.Low || own.IsRateLow()
	l.Conns = int(h.connections.Load())
	if h.group != nil {
		l.Conns = int(h.group.connections.Load())
	}
	return l
}

// begin assigns the Handle to the download of req.
func (h *Handle) begin(req Request) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run != nil {
		return failure.Wrap(failure.ErrUsage, errors.New("the Handle belongs to a download that runs"))
	}
	h.run = &handleRun{aside: make(map[string]error)}
	h.run.earlier.received = make(map[string]int64)
	for _, u := range append([]string{req.URL}, req.Mirrors...) {
		h.run.add(weburl.Canonical(u))
	}
	if h.group != nil {
		h.group.enter(h)
	}
	return nil
}

// end ends the use of the Handle by the download.
func (h *Handle) end() {
	if h.group != nil {
		p, _ := h.Progress()
		defer h.group.leave(h, p)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.run = nil
}

// watch makes j the job of the download. It does nothing for a nil Handle.
func (h *Handle) watch(j *job) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.run.watch(j)
}

// putAside notes why the source u is not asked again. It does nothing for a nil Handle.
func (h *Handle) putAside(u string, why error) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.run.aside[weburl.Canonical(u)] = why
}

// add adds a source, unless it is known or not a URL.
func (r *handleRun) add(u string) {
	if u != "" && !slices.Contains(r.urls, u) {
		r.urls = append(r.urls, u)
	}
}

// watch makes j the job, and adds the counts of the job before to the earlier ones.
func (r *handleRun) watch(j *job) {
	if old := r.job; old != nil {
		for _, s := range old.sources() {
			r.add(s.URL)
			r.earlier.received[s.URL] += s.Received
			if s.Err != nil {
				r.aside[s.URL] = s.Err
			}
		}
		p := old.snapshot()
		r.earlier.total += p.Received
		r.earlier.retries += p.Retries
	}
	r.job = j
}

// sources returns the sources of all jobs. A source of the present job counts as in use, even if an earlier job
// has put it aside.
func (r *handleRun) sources() []Source {
	now := make(map[string]Source)
	for _, s := range r.job.sources() {
		r.add(s.URL)
		now[s.URL] = s
	}
	all := make([]Source, len(r.urls))
	for i, u := range r.urls {
		s, used := now[u]
		if !used {
			s = Source{URL: u, Err: r.aside[u]}
		}
		s.Received += r.earlier.received[u]
		all[i] = s
	}
	return all
}

// sources returns the sources of the download. It may be called at any time.
func (d *download) sources() []Source {
	t, mirrors := d.progress.sources()
	origin := Source{URL: d.origin.recorded, Received: d.origin.received.Load()}
	if d.first.held.Load() {
		origin.Conns++
	}
	if t != nil {
		origin.Conns += t.sched.Conns(t.source)
	}
	all := append(make([]Source, 0, 1+len(mirrors)), origin)
	for _, m := range mirrors {
		all = append(all, m.detail(t))
	}
	return all
}

// detail returns the mirror as a Source. t is the transfer that it may be used by, nil for none.
func (m *mirror) detail(t *transfer) Source {
	m.mu.Lock()
	source, s := m.source, Source{URL: m.url.String(), Received: m.received.Load(), Err: m.disabled}
	m.mu.Unlock()
	if t != nil && source != nil {
		s.Conns = t.sched.Conns(source)
	}
	if m.proving.Load() {
		s.Conns++
	}
	return s
}

// pauseNow returns why no byte arrives now. It may be called at any time.
func (d *download) pauseNow(now time.Time) Pause {
	if p := d.progress.pause.Load(); p != nil && (p.Until.IsZero() || now.Before(p.Until)) {
		return *p
	}
	t := d.progress.current()
	if t != nil && !t.sched.IsMoving(now) && t.source.Gate.Queued() {
		return Pause{Err: errOthersConnect}
	}
	if to, _ := d.origin.current(); t == nil && d.first.held.Load() && d.engine.host(to.url).Queued() {
		return Pause{Err: errOthersConnect}
	}
	return Pause{}
}
