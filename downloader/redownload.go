package downloader

import (
	"context"
	"errors"
	"fmt"
	"pawl/downloader/failure"
	"pawl/store"
	"slices"
)

// getVerified is getOnce, repeated from single sources while the digest is wrong.
func (d *Downloader) getVerified(ctx context.Context, req Request) (Result, error) {
	sources := append([]string{req.URL}, req.Mirrors...)
	var wrong mismatches
	var all Result
	for {
		res, err := d.getOnce(ctx, req, wrong)
		res.Fetched, res.Retries, res.Elapsed = res.Fetched+all.Fetched, res.Retries+all.Retries, res.Elapsed+all.Elapsed
		all = res
		var m *mismatch
		switch {
		case err == nil || ctx.Err() != nil || req.Stream != nil:
			return all, err
		case errors.Is(err, failure.ErrOtherFile):
			return all, errors.Join(err, d.discard(res.ID))
		case errors.As(err, &m):
			wrong = append(wrong, m)
		case len(wrong) > 0 && slices.ContainsFunc(sources, func(s string) bool { return s != req.URL }) && failure.TryOtherSource(err):
			sources = slices.DeleteFunc(sources, func(s string) bool { return s == req.URL })
		default:
			return all, err
		}
		all.Retries++
		next := wrong.next(sources)
		d.emit(Event{Kind: Restarted, ID: res.ID, URL: WithoutUser(req.URL), Target: res.Target, Held: max(0, res.Size), Err: fmt.Errorf("%w; all of it is fetched again from %s", err, RedactURL(next))})
		req = d.again(req, next, res.ID)
	}
}

// discard forgets the unfinished download id, of which nothing is held, if it is on record.
// A finished file that it was to replace is again what is on record of the target.
func (d *Downloader) discard(id store.ID) error {
	if !d.isUnfinished(id) {
		return nil
	}
	return d.store.Remove(id, true)
}

// isUnfinished reports whether id is on record as a download that is not finished.
func (d *Downloader) isUnfinished(id store.ID) bool {
	rec, err := d.store.Get(id)
	return err == nil && rec.State != store.Done
}

// again is req to fetch all from one source, into the unfinished download id, if that is on
// record.
func (d *Downloader) again(req Request, source string, id store.ID) Request {
	req.URL, req.Mirrors, req.Restart = source, nil, false
	if d.isUnfinished(id) {
		req.ID = id
	}
	return req
}
