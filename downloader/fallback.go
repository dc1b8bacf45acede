package downloader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"pawl/downloader/failure"
	"pawl/downloader/weburl"
)

// getFallback downloads the file from its URL or, if that fails, from the first mirror that has
// the file. A URL that has a recorded download comes first, because its held bytes can be resumed.
// Each URL gets the ones after it as mirrors, so that a later one is never asked twice.
//
// A mirror continues the download of the URL before it, by its ID. If the mirror has another file,
// it ends with ErrChanged, and the held bytes stay for the next URL.
func (d *Downloader) getFallback(ctx context.Context, req Request) (Result, error) {
	urls := append([]string{req.URL}, req.Mirrors...)
	if i := slices.IndexFunc(urls, func(u string) bool { return d.isOnRecord(req, u) }); i > 0 {
		urls = slices.Concat(urls[i:i+1], urls[:i], urls[i+1:])
	}
	var all Result
	var failed error
	for i, u := range urls {
		if i > 0 {
			d.emit(&req, Event{Kind: Warning, URL: weburl.WithoutUser(u), Target: cmp.Or(all.Target, weburl.WithoutUser(req.URL)), Err: fmt.Errorf("%w; trying the mirror %s", failed, weburl.Redact(u))})
		}
		next := req.resuming(all.ID)
		next.URL, next.Mirrors = u, urls[i+1:]
		res, err := d.getVerified(ctx, next)
		res.Fetched += all.Fetched
		all = res
		if err == nil || ctx.Err() != nil || !failure.TryOtherSource(err) && !(i > 0 && errors.Is(err, failure.ErrChanged)) { // a changed file is an error of the mirror only, for which no held bytes are discarded
			return all, err
		}
		failed = cmp.Or(failed, err)
		req.Handle.putAside(u, err)
	}
	return all, failed
}

// isOnRecord reports whether a download of u for the target of req is on record, finished or not.
func (d *Downloader) isOnRecord(req Request, u string) bool {
	to, isFile := req.Into.(File)
	if !isFile && req.Into != nil {
		return false
	}
	if to.Output == "" {
		dir, err := filepath.Abs(to.Dir)
		if err != nil {
			return false
		}
		rec, err := d.store.ByURL(dir, weburl.Canonical(u))
		return err == nil && rec.URL == weburl.Canonical(u)
	}
	target, err := absTarget(to.Dir, to.Output)
	if err != nil {
		return false
	}
	rec, err := d.store.ByTarget(target)
	return err == nil && rec.URL == weburl.Canonical(u)
}
