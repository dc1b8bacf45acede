package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"pawl/downloader"
	"pawl/downloader/mirror"
	"pawl/downloader/weburl"
	"pawl/store"
)

// defaultJobs is how many files get and resume download at the same time. One file already
// uses several connections, so a few files keep a network busy; it is a guess. With one, the
// end of each file, when few connections are left, would not overlap with the next file.
const defaultJobs = 4

const (
	// manyFiles is how many URLs are probably small files, of which more are useful at the same time. A
	// guess; half would take a series of large archives for small files.
	manyFiles = 32
	// manyJobs is how many files of a command with manyFiles are downloaded at the same time: as many as
	// the connections to one host. With half, distant servers of small files are slower.
	manyJobs = 16
	// maxPublishing limits the small files that are complete and wait until they are durable. A group of
	// them has fullBatch files of package store, so with half as many, groups stay small.
	maxPublishing = 128
)

// defaultTimeout is the default of --connect-timeout and --stall-timeout. Half would give up on servers
// that build a file before they send it, and double would double the time until a dead one is left.
const defaultTimeout = 30 * time.Second

// A batch runs the downloads of get and resume. The fields of the first group must be set.
// Then run may be called once; it goes through three phases: set up, download, close.
type batch struct {
	options  *Transfer
	globals  *Globals
	out      *printer
	store    state
	requests []downloader.Request
	headers  originHeaders // of the requests
	streams  bool          // the only request writes to stdout, so nothing else may

	recorder *recorder

	mu       sync.Mutex
	failures []error      // of downloads that were not interrupted; guarded by mu
	summary  summary      // guarded by mu
	begun    time.Time    // of the first download; set by download
	ended    map[int]bool // indexes of requests that were not interrupted; nil after close, which drops later outcomes; guarded by mu
	end      error        // why no more downloads start, although ctx has not ended; guarded by mu
}

// run runs the downloads. It reports each failure as soon as it happens, and returns them
// all as a reportedError.
//
// The recorder is created before the downloader, because an unwritable report must stop
// the run before the first request. The display is stopped last, after close, so that all
// messages of close are printed above the bar.
func (b *batch) run(ctx context.Context) error {
	opts, err := b.options.downloaderOptions()
	if err != nil {
		return err
	}
	opts.TLS.Certificate = b.headers.certificate
	if b.recorder, err = b.options.newRecorder(ctx, b.out, reportHeader{}); err != nil {
		return err
	}
	show := newDisplay(b.out, displayOptions{
		json: b.globals.JSON && !b.streams, verbose: b.globals.Verbose, bar: !b.globals.Quiet && !b.options.NoProgress,
		paths: !b.globals.JSON && !b.streams, files: len(b.requests),
	})
	if !b.streams {
		// The downloads continue if nobody reads the paths on stdout, for example in pawl … | head.
		// A stream keeps the default, because without a reader it is useless.
		signal.Ignore(syscall.SIGPIPE)
	}
	opts.OnEvent = show.onEvent
	d := downloader.New(b.store.Store, opts)
	defer d.Close()
	defer b.options.followRates(d, d.SetLimitRate)()
	show.start(d)
	defer show.stop()
	b.download(ctx, d)
	return b.close(ctx)
}

// download runs the requests and waits for them. If ctx ends, a stream may still be
// running when download returns; see waitForGroup.
func (b *batch) download(ctx context.Context, d *downloader.Downloader) {
	b.summary.Files, b.begun = len(b.requests), time.Now()
	b.ended = make(map[int]bool)
	if len(b.requests) > 1 {
		d.ReserveNames(b.requests)
	}
	jobs := defaultJobs
	if len(b.requests) >= manyFiles {
		jobs = manyJobs
	}
	jobs = cmp.Or(b.options.Jobs, jobs)
	room := make(chan struct{}, jobs) // has a value for each download that needs connections
	var group errgroup.Group
	group.SetLimit(jobs + maxPublishing)
	for i, req := range b.requests {
		b.options.applyTo(&req)
		room <- struct{}{}
		release := sync.OnceFunc(func() { <-room })
		if to, isFile := req.Into.(downloader.File); isFile && len(b.requests) > 1 {
			to.Released = release
			req.Into = to
		}
		group.Go(func() error {
			defer release()
			b.downloadOne(ctx, d, i, req)
			return nil
		})
	}
	waitForGroup(ctx, &group, isStream(b.requests[0]))
}

// downloadOne runs request i. It records nothing if the download was interrupted, because
// close does that for all interrupted downloads together: one message is enough for a
// signal. A download that fails for another reason in the same moment is still reported, but
// not a stream that ends after close, which has not waited for it.
func (b *batch) downloadOne(ctx context.Context, d *downloader.Downloader, i int, req downloader.Request) {
	if ctx.Err() != nil || b.endReason() != nil {
		return
	}
	res, err := d.Get(ctx, req)
	if ctx.Err() != nil && (errors.Is(err, context.Cause(ctx)) || errors.Is(err, context.Canceled)) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended == nil {
		return
	}
	if err != nil { // report it now, and not at the end, because others may run for hours
		failed := fmt.Errorf("%q: %w", weburl.Redact(req.URL), err)
		if b.out.admits(message{level: "error", host: downloader.Origin(req.URL), text: err.Error(), line: printable(failed.Error()), most: maxAlike}) {
			b.out.report(failed, b.hint(req, err))
		}
	}
	b.recorder.completed(req, res, err)
	b.ended[i] = true
	if exitCode(err) == 9 && !errors.Is(err, store.ErrDoesNotFit) && b.end == nil { // the others would fill the disk again
		b.end = &mirror.EndedError{Err: err}
	}
	b.summary.count(res, err)
	if err != nil {
		b.failures = append(b.failures, err)
	}
}

// hint returns the hint for the failure of a request.
func (b *batch) hint(req downloader.Request, err error) string {
	f := hintSubject{err: err, given: b.credentialOptions(req)}
	if rec, ok := findUnfinished(b.store, req); ok {
		f.id, f.begun = rec.ID, rec.Credentials
	} else if rec, err := findFinished(b.store.Store, req); err == nil {
		f.begun = rec.Credentials
	}
	return f.hint(hints)
}

// credentialOptions returns the options of the credentials that this run has for a request.
func (b *batch) credentialOptions(req downloader.Request) []string {
	if req.Access.Credentials == nil {
		return nil
	}
	return req.Access.Credentials(downloader.Origin(req.URL)).Options
}

// endReason returns why no more downloads start, or nil.
func (b *batch) endReason() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.end
}

// close reports an interruption, ends the report, and returns all failures.
func (b *batch) close(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer func() { b.ended = nil }()
	b.out.printRepeats()
	var interruption error
	next := ""
	if len(b.ended) < len(b.requests) {
		if interruption = context.Cause(ctx); interruption == nil {
			interruption = b.end
		}
		next = b.recordPending()
		b.failures = append(b.failures, interruption)
	}
	if b.summary.Seconds = time.Since(b.begun).Seconds(); len(b.requests) > 1 {
		for _, line := range summaryLines(b.summary) {
			b.out.note("%s", line)
		}
	}
	if interruption != nil { // last, because its hint is the next command to type
		b.out.report(interruption, next)
	}
	if err := b.recorder.close(b.summary, errors.Join(b.failures...)); err != nil {
		b.out.report(err, hint(err, ""))
		b.failures = append(b.failures, err)
	}
	if len(b.failures) == 0 {
		return nil
	}
	return reportedError{errors.Join(b.failures...)}
}

// recordPending records the interrupted downloads, and returns a hint how to continue. The
// caller must hold mu.
func (b *batch) recordPending() (hint string) {
	resumable := false
	var needed []string
	for i, req := range b.requests {
		if !b.ended[i] {
			rec, _ := findRecord(b.store.Store, req) // the zero Record if the download did not begin
			b.recorder.pending(req, rec)
			b.summary.Pending++
		}
		if rec, ok := findUnfinished(b.store, req); ok {
			resumable = true
			needed = append(needed, missing(rec.Credentials, needed)...)
		}
	}
	if resumable {
		return "the downloaded part is kept; resume with: " + resumeCommand(needed)
	}
	return "nothing was downloaded that can be kept; run the same command again"
}

// waitForGroup waits for the downloads. A stream may hang in a write to a pipe that nobody
// reads, and such a write cannot be interrupted. So after ctx has ended, waitForGroup waits
// only one more second for a stream.
func waitForGroup(ctx context.Context, group *errgroup.Group, stream bool) {
	if !stream {
		group.Wait()
		return
	}
	done := make(chan struct{})
	go func() { // ends with the group, or with the process
		group.Wait()
		close(done)
	}()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	select {
	case <-done:
	case <-time.After(time.Second):
	}
}

// isStream reports whether the bytes go to standard output.
func isStream(req downloader.Request) bool {
	_, ok := req.Into.(downloader.Stream)
	return ok
}

// findUnfinished returns the record of the download of req if pawl resume can continue it.
func findUnfinished(st state, req downloader.Request) (rec store.Record, ok bool) {
	if isStream(req) || st.temporary {
		return rec, false
	}
	rec, err := findRecord(st.Store, req)
	return rec, err == nil && rec.Held.Len() > 0 && rec.State != store.Done
}

// findFinished returns the record of the finished file that req is about.
func findFinished(st *store.Store, req downloader.Request) (store.Record, error) {
	to, ok := req.Into.(downloader.File)
	if !ok {
		return store.Record{}, store.ErrNotFound
	}
	dir, err := filepath.Abs(to.Dir)
	switch {
	case err != nil:
		return store.Record{}, err
	case to.Output == "":
		recorded, _, _ := strings.Cut(weburl.WithoutUser(req.URL), "#")
		return st.ByURL(dir, recorded)
	case filepath.IsAbs(to.Output):
		return st.ByTarget(filepath.Clean(to.Output))
	}
	return st.ByTarget(filepath.Join(dir, to.Output))
}

// findRecord returns the record of the download of req. If several records have its URL,
// it returns the newest.
func findRecord(st *store.Store, req downloader.Request) (found store.Record, err error) {
	if to, ok := req.Into.(downloader.Recorded); ok {
		return st.Get(to.ID)
	}
	records, err := st.Unfinished()
	if err != nil {
		return found, err
	}
	recorded, _, _ := strings.Cut(weburl.WithoutUser(req.URL), "#")
	err = store.ErrNotFound
	for _, r := range records { // oldest first
		if r.URL == recorded { // records have no user, password or fragment
			found, err = r, nil
		}
	}
	return found, err
}

// withDeadline returns ctx with the time limit of --deadline, if one is given.
func (o *RunOptions) withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.Deadline == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(context.WithValue(ctx, noDeadlineKey{}, ctx), time.Duration(o.Deadline), errDeadline)
}

// noDeadlineKey is the key of the context without the time limit.
type noDeadlineKey struct{}

// withoutDeadline returns the context that withDeadline has limited, or ctx if there is none.
func withoutDeadline(ctx context.Context) context.Context {
	if all, ok := ctx.Value(noDeadlineKey{}).(context.Context); ok {
		return all
	}
	return ctx
}

// applyTo sets the fields of req that are the same for all requests of a command.
func (o *FileOptions) applyTo(req *downloader.Request) {
	req.Existing = downloader.Existing{Restart: o.Restart, FailOnChange: o.OnChange == "fail"}
	switch {
	case o.NoClobber:
		req.Existing.InTheWay = downloader.Keep
	case o.Overwrite:
		req.Existing.InTheWay = downloader.Replace
	case o.AutoRename:
		req.Existing.InTheWay = downloader.Rename
	}
	switch {
	case o.Continue:
		req.Existing.Taking = downloader.TakePartial
	case o.Adopt:
		req.Existing.Taking = downloader.TakeSameSize
	}
	req.MaxSize = int64(o.MaxSize)
	for _, t := range o.Expect {
		req.Expect = append(req.Expect, string(t))
	}
}

// downloaderOptions returns the options of the downloader. It fails if the command line or
// the environment has unusable values: a proxy or certificate that pawl cannot use must
// stop it, because without them it would connect in a way that the user does not want.
func (t *Transfer) downloaderOptions() (downloader.Options, error) {
	o := downloader.Options{
		Connections: int(t.Connections),
		Retry: downloader.RetryPolicy{
			Wait:          max(1, time.Duration(t.RetryWait)), // 1 ns, because the downloader takes 0 for its default
			MaxWait:       t.RetryMaxWait.or(time.Minute),
			MaxRetryAfter: t.RetryMaxWait.or(5 * time.Minute), // longer than a backoff, because the server knows why it asks
			WaitNetwork:   true,
		},
		Timeouts: downloader.Timeouts{
			Connect:     t.ConnectTimeout.or(defaultTimeout),
			Stall:       t.StallTimeout.or(defaultTimeout),
			MinRate:     int64(t.MinRate.rate),
			MinRateTime: t.MinRate.span,
		},
		LimitRate:       t.LimitRate.rateAt(time.Now()),
		RequestRate:     t.MaxRequestRate.perSecond(),
		NoRemoteTime:    t.NoRemoteTime,
		UserAgent:       t.UserAgent,
		ForHost:         t.hosts.options(),
		TLS:             downloader.TLSOptions{Insecure: t.Insecure, Legacy: t.TLSLegacy},
		SplitUnverified: t.SplitUnverified,
		Follow:          downloader.Follow{Schemes: t.Proto.list(), Private: t.AllowPrivate, NoMirrors: t.NoServerMirrors, HTTP: t.AllowHTTP},

		IgnoreServerDigest: t.IgnoreServerDigest,
	}
	if t.Tries != nil {
		o.Retry.Tries = cmp.Or(int(*t.Tries), -1) // the downloader takes -1 for no limit, and 0 for its default
	}
	if t.Jobs < 0 { // 0 means the default
		return o, usageErr{errors.New("--jobs must be at least 1")}
	}
	err := t.applyNetwork(&o)
	if err != nil {
		return o, err
	}
	exempt, err := newExemptions(t.NetworkOptions)
	if err != nil {
		return o, err
	}
	if t.NoProxy != nil && !t.hosts.typedNoProxy { // of a config file, whose sections are more exact
		exempt = nil
	}
	o.Proxy = t.hosts.proxies(exempt, o.Proxy)
	o.TLS.RootCAs, err = t.rootCAs()
	return o, err
}
