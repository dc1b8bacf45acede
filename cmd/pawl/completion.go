package main

import (
	"context"
	"time"

	"pawl/downloader"
	"pawl/store"
)

// ends are what is done about the end of each download, besides telling it: it is
// reported, and hooks are run. Safe for concurrent use.
type recorder struct {
	report  *report
	hooks   *hooks
	started time.Time
}

// newEnds begins the report and the hooks that the options ask for.
func (t *Transfer) newRecorder(ctx context.Context, say *printer, h reportHeader) (*recorder, error) {
	e := &recorder{started: time.Now()}
	if t.Report != "" {
		h.Pawl, h.Started = version(), e.started
		var err error
		if e.report, err = newReport(t.Report, h); err != nil {
			return nil, err
		}
	}
	e.hooks = newHooks(ctx, t.OnComplete, t.OnError, say)
	return e, nil
}

// abort drops the report, and waits for hooks.
func (e *recorder) abort() {
	e.report.abort()
	e.hooks.close()
}

// took takes the end of a download of req.
func (e *recorder) completed(req downloader.Request, res downloader.Result, err error) {
	f := reportFile{
		Path: res.Target, URL: downloader.WithoutUser(req.URL), FinalURL: res.Final, Outcome: outcomeFetched, Size: knownSize(res.Size),
		Fetched: res.Fetched, Seconds: res.Elapsed.Seconds(), Retries: res.Retries, Rounds: 1, Sum: res.Sum.String(), Complete: completeText(res.Unframed),
	}
	switch {
	case err != nil:
		f.Outcome, f.Size, f.Error, f.Exit = outcomeFailed, -1, err.Error(), exitCode(err)
		e.hooks.push(hookFile{res.Target, req.URL, -1, res.ID, err})
	case res.Current:
		f.Outcome = outcomeUnchanged
	default:
		e.hooks.push(hookFile{res.Target, req.URL, res.Size, res.ID, nil})
	}
	e.report.addFile(f)
}

// pending takes that a download of req was interrupted, or never begun.
func (e *recorder) pending(req downloader.Request, rec store.Record) {
	e.report.addFile(reportFile{URL: downloader.WithoutUser(req.URL), Path: rec.Target, Outcome: outcomePending, Size: -1})
}

// close waits for the hooks and ends the report of a run that ended so.
func (e *recorder) close(s summary, err error) error {
	e.hooks.close()
	s.Seconds, s.Exit = time.Since(e.started).Seconds(), exitCode(err)
	return e.report.close(s)
}
