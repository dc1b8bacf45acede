package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"pawl/chunk"
	"pawl/downloader"
	"pawl/downloader/list"
	"pawl/store"
)

// defaultJobs is how many files are fetched at once.
const defaultJobs = 4

// Validate refuses what cannot be meant, before anything is done.
func (c *GetCmd) Validate() error {
	if err := c.expand(); err != nil {
		return err
	}
	for _, s := range c.URLs {
		if err := downloader.CheckURL(s); err != nil {
			return fmt.Errorf("%w%s", err, suggestion(s))
		}
	}
	if c.Output == "/dev/stdout" {
		c.Output = "-"
	}
	if c.SHA256 != "" {
		sum, err := chunk.ParseSum("sha256:" + c.SHA256)
		if err != nil {
			return err
		}
		c.Checksum = sum
	}
	for _, u := range c.Mirror {
		if err := downloader.CheckURL(u); err != nil {
			return fmt.Errorf("--mirror: %w", err)
		}
	}
	if len(c.URLs) > 1 && (c.Output != "" || !c.Checksum.IsZero() || len(c.Mirror) > 0) {
		return errors.New("--output, --checksum and --mirror are for one URL")
	}
	return nil
}

// mostURLs is how many URLs the patterns of a command line may stand for.
const maxPatternURLs = 10_000

// expand puts what patterns stand for in their place.
func (c *GetCmd) expand() error {
	if !c.Glob {
		return nil
	}
	var all []string
	for _, s := range c.URLs {
		n, err := list.Count(s)
		if err != nil {
			return fmt.Errorf("%w; --no-glob takes it as it is", err)
		}
		if n+int64(len(all)) > maxPatternURLs {
			return fmt.Errorf("%q stands for %d URLs, more than %d; pawl mirror --glob has no limit", downloader.RedactURL(s), n, maxPatternURLs)
		}
		urls, err := list.Expand(s)
		if err != nil {
			return err
		}
		all = slices.AppendSeq(all, urls)
	}
	c.URLs = all
	return nil
}

// suggestion guesses what a word that is no URL was meant to be.
func suggestion(word string) string {
	if strings.Contains(word, "://") {
		return ""
	}
	if host, _, _ := strings.Cut(word, "/"); strings.Contains(host, ".") && downloader.CheckURL("https://"+word) == nil {
		return fmt.Sprintf("; did you mean %q?", "https://"+downloader.RedactURL(word))
	}
	near := nearest(word, slices.Values([]string{"get", "mirror", "resume", "list", "remove"}))
	if near == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", "pawl "+near)
}

// nearest returns the one of the known words that a misspelled word is at most two
// letters away from, "" if there is none. Of several it is the first in the alphabet.
func nearest(word string, known iter.Seq[string]) string {
	near, least := "", 3
	for _, k := range slices.Sorted(known) {
		if d := distance(word, k); d < least {
			near, least = k, d
		}
	}
	return near
}

// distance is the number of letters to insert, delete or replace between a and
// b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			next := diagonal
			if a[i] != b[j] {
				next = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}

// Run downloads the URLs.
func (c *GetCmd) Run(ctx context.Context, g *Globals, say *printer) error {
	st, err := g.openStore(say, store.Options{MinFree: int64(c.MinFree)})
	if err != nil {
		return err
	}
	if c.Output == "-" && isTerminal(say.stdout) {
		return usageError(errors.New("standard output is a terminal; pipe it somewhere, or give -o FILE"))
	}
	c.warnExposedHeaders(say)
	headers := c.originHeaders(slices.Concat([]string{c.Checksums}, c.URLs, c.Mirror)...)
	sum, err := c.checksums(ctx, g, st, headers)
	if err != nil {
		return err
	}
	mirrors := slices.Clone(c.Mirror)
	for i, u := range mirrors {
		mirrors[i] = headers.requestURL(u)
	}
	var requests []downloader.Request
	for i, u := range c.URLs {
		if slices.Contains(c.URLs[:i], u) {
			say.note("%q is given twice, and downloaded once", downloader.RedactURL(u))
			continue
		}
		req := downloader.Request{URL: headers.requestURL(u), Mirrors: mirrors, Dir: c.Dir, Output: c.Output, Sum: c.Checksum, Credentials: headers.forTyped}
		if sum != nil {
			if req.Sum, err = sum(downloader.FilenameFromURL(u)); err != nil {
				return fmt.Errorf("%q: %w", downloader.RedactURL(u), err)
			}
		}
		if c.Output == "-" {
			req.Output, req.Stream = "", say.stdout
		}
		requests = append(requests, req)
	}
	return c.transfer(ctx, g, say, st, requests)
}

// sums returns what tells the digests of --checksums, nil without.
func (c *GetCmd) checksums(ctx context.Context, g *Globals, st *store.Store, headers originHeaders) (func(string) (chunk.Sum, error), error) {
	if c.Checksums == "" {
		return nil, nil
	}
	opts, err := c.options()
	if err != nil {
		return nil, err
	}
	d := downloader.New(st, opts)
	defer d.Close()
	lists, err := c.newListOpener(d, g, downloader.Request{Restart: c.Restart, Credentials: headers.forTyped})
	if err != nil {
		return nil, err
	}
	return lists.readChecksums(ctx, c.Checksums)
}

// transfer does the requests, and tells each failure as it comes.
func (t *Transfer) transfer(ctx context.Context, g *Globals, say *printer, st *store.Store, requests []downloader.Request) error {
	ctx, cancel := t.deadline(ctx)
	defer cancel()
	opts, err := t.options()
	if err != nil {
		return err
	}
	ends, err := t.newRecorder(ctx, say, reportHeader{})
	if err != nil {
		return err
	}
	streams := len(requests) == 1 && requests[0].Stream != nil
	show := newDisplay(say, displayOptions{
		json: g.JSON && !streams, verbose: g.Verbose, bar: !g.Quiet && !t.NoProgress, paths: !g.JSON && !streams, files: len(requests),
	})
	if !streams {
		signal.Ignore(syscall.SIGPIPE) // that nobody reads the names is no reason to stop
	}
	opts.OnEvent = show.onEvent
	d := downloader.New(st, opts)
	defer d.Close()
	defer t.LimitRate.follow(d.SetLimitRate)()
	show.start(d.Snapshot)
	defer show.stop()

	var mu sync.Mutex // of what the downloads leave behind
	var failures []error
	var s summary
	s.Files = len(requests)
	ended := make(map[int]bool) // downloads that were not interrupted
	var group errgroup.Group
	group.SetLimit(cmp.Or(t.Jobs, defaultJobs))
	for i, req := range requests {
		t.applyTo(&req)
		group.Go(func() error {
			if ctx.Err() != nil {
				return nil // told once, at the end
			}
			res, err := d.Get(ctx, req)
			if ctx.Err() != nil && (errors.Is(err, context.Cause(ctx)) || errors.Is(err, context.Canceled)) {
				return nil
			}
			if err != nil {
				say.report(fmt.Errorf("%q: %w", subject(req), err), hint(err, unfinished(st, req)))
			}
			ends.completed(req, res, err)
			mu.Lock()
			defer mu.Unlock()
			ended[i] = true
			s.count(res, err)
			if err != nil {
				failures = append(failures, err)
			}
			return nil
		})
	}
	waitForGroup(ctx, &group, streams)
	mu.Lock()
	defer mu.Unlock()
	if len(ended) < len(requests) {
		held := false
		for i, req := range requests {
			if !ended[i] {
				rec, _ := findRecord(st, req) // of those that were begun
				ends.pending(req, rec)
				s.Pending++
			}
			held = held || unfinished(st, req) != ""
		}
		next := "nothing has arrived that could be kept; run the same command again"
		if held {
			next = "what has arrived is kept; go on with: pawl resume"
		}
		say.report(context.Cause(ctx), next)
		failures = append(failures, context.Cause(ctx))
	}
	if err := ends.close(s, errors.Join(failures...)); err != nil {
		say.report(err, hint(err, ""))
		failures = append(failures, err)
	}
	if len(failures) == 0 {
		return nil
	}
	return reportedError{errors.Join(failures...)}
}

// deadline is ctx with that of the options, if there is one.
func (t *Transfer) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if t.Deadline == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, time.Duration(t.Deadline), errDeadline)
}

// wait waits for the downloads. A stream may hang in a write to a pipe that
// nobody reads, which cannot be interrupted: it is given up soon after ctx.
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

// subject is what req is about, for people: no user, no password.
func subject(req downloader.Request) string {
	if req.URL == "" {
		return string(req.ID)
	}
	return downloader.RedactURL(req.URL)
}

// unfinished returns the ID of the download of req, if something of it is kept
// and not all is done.
func unfinished(st *store.Store, req downloader.Request) store.ID {
	if req.Stream != nil {
		return ""
	}
	if rec, err := findRecord(st, req); err == nil && rec.Held.Len() > 0 && rec.State != store.Done {
		return rec.ID
	}
	return ""
}

// find returns the record of what req asks for, the newest if there are several.
func findRecord(st *store.Store, req downloader.Request) (found store.Record, err error) {
	if req.ID != "" {
		return st.Get(req.ID)
	}
	records, err := st.Unfinished()
	if err != nil {
		return found, err
	}
	shown, _, _ := strings.Cut(downloader.WithoutUser(req.URL), "#")
	err = store.ErrNotFound
	for _, r := range records {
		if r.URL == shown {
			found, err = r, nil
		}
	}
	return found, err
}

// fill adds to req what the options say of every request.
func (t *Transfer) applyTo(req *downloader.Request) {
	req.Overwrite, req.Restart, req.FailOnChange = t.Overwrite, t.Restart, t.OnChange == "fail"
	req.MaxSize = int64(t.MaxSize)
}

// options are the engine's.
func (t *Transfer) options() (downloader.Options, error) {
	o := downloader.Options{
		Connections:    t.Connections,
		RetryWait:      max(1, time.Duration(t.RetryWait)), // 0 is the engine's word for its default
		RetryMaxWait:   t.RetryMaxWait.or(time.Minute),
		RetryAfterMax:  t.RetryMaxWait.or(5 * time.Minute),
		ConnectTimeout: t.ConnectTimeout.or(time.Duration(t.Timeout)),
		StallTimeout:   t.StallTimeout.or(time.Duration(t.Timeout)),
		LimitRate:      t.LimitRate.rateAt(time.Now()),
		RequestRate:    float64(t.MaxRequestRate),
		NoRemoteTime:   t.NoRemoteTime,
		WaitNetwork:    true,
		UserAgent:      t.UserAgent,
		Insecure:       t.Insecure,

		SplitUnverified: t.SplitUnverified,
		Follow:          downloader.Follow{Schemes: t.Proto.list(), Private: t.AllowPrivate, NoMirrors: t.NoServerMirrors},
		MinRate:         int64(t.MinRate.rate),
		MinRateTime:     t.MinRate.span,
	}
	if t.Tries != nil {
		o.Tries = cmp.Or(int(*t.Tries), -1)
	}
	if o.Connections < 1 || t.Jobs < 0 {
		return o, usageError(errors.New("--connections and --jobs are at least 1"))
	}
	var err error
	if o.Proxy, err = proxyFromEnvironment(); err != nil {
		return o, err
	}
	o.RootCAs, err = t.rootCAs()
	return o, err
}
