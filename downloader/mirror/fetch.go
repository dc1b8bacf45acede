package mirror

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"

	"pawl/downloader"
	"pawl/store"
)

// fetch brings one file, from the first of its sources that has it.
func (m *Run) fetch(ctx context.Context, it *item, released func()) Outcome {
	o := it.outcome(Failed, nil)
	for _, u := range sources(it) {
		res, err := m.getFrom(ctx, it, u, released)
		if err == nil {
			o.State, o.URL, o.Result, o.Err = Fetched, u, res, nil
			switch {
			case res.Current && m.opts.Update:
				o.State = Unchanged
			case res.Current: // its digest was wanted, and nobody asked
				o.State, o.Record = Current, it.Record
			}
			return o
		}
		if errors.Is(err, store.ErrForeign) && m.came(it) {
			o.State, o.URL, o.Record, o.Err = Current, u, it.Record, nil
			return o
		}
		if o.Err == nil || !mayRecover(err) {
			o.URL = u
		}
		res.Fetched += o.Result.Fetched
		o.Result = res
		if o.Err = betterError(o.Err, err); ctx.Err() != nil || !tryOtherSource(err) {
			break
		}
	}
	return o
}

// came reports whether what is in the way is the file itself, which another process
// has fetched meanwhile.
func (m *Run) came(it *item) bool {
	there, err := m.isThere(it)
	return there && err == nil
}

// getFrom is get, unless the host of u is down, and notes what it tells about that.
func (m *Run) getFrom(ctx context.Context, it *item, u string, released func()) (downloader.Result, error) {
	name := downloader.Origin(u)
	if err := m.down(name); err != nil {
		return downloader.Result{}, err
	}
	answered := false
	res, err := m.get(ctx, it, u, func() {
		answered = true
		m.asked(name, nil)
		released()
	})
	if !answered {
		m.asked(name, err)
	}
	return res, err
}

// worse returns what to say of a file that two sources did not have: that which
// may mend, or else the first.
func betterError(a, b error) error {
	if a == nil || !mayRecover(a) && mayRecover(b) {
		return b
	}
	return a
}

// isSource reports whether err is one that another source may not have: of a list,
// that may be the one with the right version.
func tryOtherSource(err error) bool {
	if errors.Is(err, downloader.ErrOtherFile) { // all sources were tried
		return false
	}
	return downloader.TryOtherSource(err) || errors.Is(err, downloader.ErrChecksum) || errors.Is(err, downloader.ErrChanged)
}

// sources returns the URLs of an entry in the order in which they are asked: that
// of which something is held goes first.
func sources(it *item) []string {
	urls := slices.Clone(it.Entry.URLs)
	if i := slices.IndexFunc(urls, func(u string) bool { return downloader.CanonicalURL(u) == it.Record.URL }); i > 0 {
		u := urls[i]
		urls = slices.Insert(slices.Delete(urls, i, i+1), 0, u)
	}
	return urls
}

// get asks one source. What another source has left is gone on with, if this one
// has the same bytes; else what is there is given up, as the list decides.
func (m *Run) get(ctx context.Context, it *item, u string, released func()) (downloader.Result, error) {
	req := m.request(it, u)
	req.Mirrors = slices.DeleteFunc(slices.Clone(it.Entry.URLs), func(o string) bool { return o == u || m.down(downloader.Origin(o)) != nil })
	req.ListEntry.Released = released
	if r := it.Record; r.ID != "" && r.State != store.Done && r.URL != downloader.CanonicalURL(u) {
		if r.Held.Len() > 0 {
			req.ID = r.ID
		} else {
			req.Overwrite = req.Overwrite || r.Replace
			req.Restart = true
		}
	}
	res, err := m.d.Get(ctx, req)
	if req.ID != "" && errors.Is(err, downloader.ErrChanged) && !req.FailOnChange {
		req.ID, req.Restart = "", true
		res, err = m.d.Get(ctx, req)
	}
	if err != nil {
		m.refresh(it)
	}
	return res, err
}

// refresh looks up what a failed try has left on record, or another process has put
// there. If that fails, what was known before stays.
func (m *Run) refresh(it *item) { m.recall([]*item{it}) }

// request is that for a file from u.
func (m *Run) request(it *item, u string) downloader.Request {
	req := m.opts.Request
	req.URL, req.Output, req.Sum = u, it.Path, it.Entry.Sum
	req.Restart = req.Restart && it.Rounds == 0 // the next round goes on from there
	req.Header = maps.Clone(req.Header)
	for name, values := range it.Entry.Header {
		if req.Header == nil {
			req.Header = make(http.Header)
		}
		req.Header[name] = values
	}
	if m.opts.ForList != nil {
		m.opts.ForList(it.Entry.List, &req)
	}
	req.ListEntry = &downloader.ListEntry{Record: it.Record, Lists: it.claims(), Size: it.Entry.Size, Update: m.opts.Update}
	return req
}
