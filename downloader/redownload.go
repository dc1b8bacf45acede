package downloader

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pawl/downloader/failure"
	"pawl/downloader/weburl"
	"pawl/store"
)

// getVerified downloads the file, and repeats that while its digest is wrong: from one source at a
// time, so that the copies show which source sends the wrong bytes. Bytes that are
// not suspect stay held; blamer.keep says which.
func (d *Downloader) getVerified(ctx context.Context, req Request) (Result, error) {
	sources := append([]string{req.URL}, req.Mirrors...)
	_, isStream := req.Into.(Stream)
	var wrong mismatches
	var all Result
	for {
		res, err := d.getOnce(ctx, req, wrong)
		res.Fetched, res.Retries, res.Elapsed = res.Fetched+all.Fetched, res.Retries+all.Retries, res.Elapsed+all.Elapsed
		all = res
		var m *mismatch
		switch {
		case err == nil || ctx.Err() != nil || isStream:
			return all, err
		case errors.Is(err, failure.ErrOtherFile) && errors.As(err, &m):
			return all, errors.Join(err, d.discard(res.ID))
		case errors.As(err, &m):
			wrong = append(wrong, m)
		case errors.Is(err, failure.ErrChanged) && !req.Existing.FailOnChange && wrong.forgetKept(): // the source has other bytes than were kept
			req.Existing.Restart = true
			continue
		case len(wrong) > 0 && slices.ContainsFunc(sources, func(s string) bool { return s != req.URL }) && failure.TryOtherSource(err):
			sources = slices.DeleteFunc(sources, func(s string) bool { return s == req.URL })
			req.Handle.putAside(req.URL, err)
		default:
			return all, err
		}
		all.Retries++
		next := wrong.next(sources)
		d.emit(&req, Event{Kind: Restarted, ID: res.ID, URL: weburl.WithoutUser(req.URL), Target: res.Target, Held: max(0, res.Size), Err: fmt.Errorf("%w; fetching %s again from %s", err, wrong.suspects(), weburl.Redact(next))})
		req = d.again(req, next, res.ID)
	}
}

// discard removes the record of the unfinished download id, of which no byte is held. If it was
// to replace a finished file, the record of that file stands for the target again.
func (d *Downloader) discard(id store.ID) error {
	if !d.isUnfinished(id) {
		return nil
	}
	return d.store.Remove(id, true)
}

// isUnfinished reports whether id is the record of an unfinished download.
func (d *Downloader) isUnfinished(id store.ID) bool {
	rec, err := d.store.Get(id)
	return err == nil && rec.State != store.Done
}

// again returns the request to download the whole file from one source, into the unfinished
// download id if that is on record.
func (d *Downloader) again(req Request, source string, id store.ID) Request {
	req.URL, req.Mirrors, req.Existing.Restart = source, nil, false
	if d.isUnfinished(id) {
		req = req.resuming(id)
	}
	return req
}
