package mirror

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"

	"pawl/downloader"
	"pawl/downloader/failure"
	"pawl/downloader/weburl"
	"pawl/store"
)

// A fetcher fetches items. It is safe for concurrent use.
type fetcher struct {
	d      *downloader.Downloader
	opts   Options
	ledger *ledger
	moves  *moveFinder
	names  *naming
	hosts  hostStates
	onRest func(Rest)
}

// Steps are functions that are called while a file is fetched.
type Steps struct {
	// Begin is called with the record of the part file before bytes are written to it, and again before those of
	// another attempt or version. It may wait. An error ends the download. A small file has no part file. May be nil.
	Begin func(store.Record) error
	// Released is called, perhaps more than once, when the file needs no connection any more but is not yet durable;
	// another file may start then. May be nil.
	Released func()
}

// hostStates decide which hosts are asked. They are safe for concurrent use.
type hostStates interface {
	// resting returns the error because of which a host must not be asked now, or nil.
	resting(host string) error
	// noteResult records how a request to a host ended. If the host begins to rest because of it,
	// noteResult returns the number of its queued files.
	noteResult(host string, err error) (rests bool, files int)
}

// fetch downloads a file from the first of its sources that has it.
func (f *fetcher) fetch(ctx context.Context, it *Item, steps Steps) Outcome {
	o := it.outcome(Failed, nil)
	for _, u := range it.sources() {
		res, err := f.tryHost(ctx, it, u, steps)
		if err == nil {
			if res.Target != "" && res.Target != it.Path { // the server has named it
				o.Path = res.Target
				f.names.keep(f.opts.Dir, res.Target)
			}
			o.State, o.URL, o.Result, o.Err = Fetched, u, res, nil
			switch {
			case res.Current && f.opts.Update:
				o.State = Unchanged
			case res.Current: // the file on disk has the digest of the entry, so no server was asked
				o.State, o.Record = Current, it.Record
			}
			return o
		}
		if errors.Is(err, store.ErrForeign) && f.otherProcessFetched(it) {
			o.State, o.URL, o.Record, o.Err = Current, u, it.Record, nil
			return o
		}
		if o.Err == nil || !MayRecover(err) {
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

// otherProcessFetched reports whether the file that is in the way is the wanted file, because
// another process has fetched it after the item was looked up. The failed request has refreshed
// the record.
func (f *fetcher) otherProcessFetched(it *Item) bool {
	current, err := f.ledger.isCurrent(it)
	return current && err == nil
}

// tryHost fetches a file from u, unless the host of u rests, and records whether the host
// responded.
func (f *fetcher) tryHost(ctx context.Context, it *Item, u string, steps Steps) (downloader.Result, error) {
	host := downloader.Origin(u)
	if err := f.hosts.resting(host); err != nil {
		return downloader.Result{}, err
	}
	responded := false
	own := steps
	own.Released = func() {
		responded = true
		f.hosts.noteResult(host, nil) // now, because get may wait long until the file is durable
		if steps.Released != nil {
			steps.Released()
		}
	}
	res, err := f.get(ctx, it, u, own)
	if !responded && ctx.Err() == nil {
		if rests, files := f.hosts.noteResult(host, err); rests {
			f.onRest(Rest{Host: host, Files: files, Err: err})
		}
	}
	return res, err
}

// get requests a file from u. If another source has left an unfinished download, get resumes
// it, provided that u has the same version; otherwise the download starts over, unless
// FailOnChange is set.
func (f *fetcher) get(ctx context.Context, it *Item, u string, steps Steps) (downloader.Result, error) {
	req, to := f.request(it, u)
	req.Mirrors = slices.DeleteFunc(slices.Clone(it.Entry.URLs), func(o string) bool {
		return o == u || f.hosts.resting(downloader.Origin(o)) != nil
	})
	to.Released, to.Begin = steps.Released, steps.Begin
	if r := it.Record; r.ID != "" && r.State != store.Done && r.URL != weburl.Canonical(u) {
		if r.Held.Len() > 0 {
			to.Resume = r.ID
		} else { // nothing to resume
			if r.Replace {
				req.Existing.InTheWay = downloader.Replace
			}
			req.Existing.Restart = true
		}
	}
	req.Into = to
	res, err := f.d.Get(ctx, req)
	if to.Resume != "" && errors.Is(err, failure.ErrChanged) && !req.Existing.FailOnChange {
		to.Resume, req.Existing.Restart = "", true
		req.Into = to
		res, err = f.d.Get(ctx, req)
	}
	if err != nil {
		f.ledger.refresh(it)
	}
	return res, err
}

// request returns the request for a file from u, made from Options.Request and the entry, and its
// destination.
func (f *fetcher) request(it *Item, u string) (req downloader.Request, to downloader.Listed) {
	req = f.opts.Request
	req.URL, req.Sum, req.SumBy, req.Pieces = u, it.Entry.Sum, it.SumBy, it.Entry.Pieces
	req.Existing.Restart = req.Existing.Restart && it.Rounds == 0 // later rounds resume the download of the first one
	req.Access.Header = maps.Clone(req.Access.Header)             // the template is shared
	for name, values := range it.Entry.Header {
		if req.Access.Header == nil {
			req.Access.Header = make(http.Header)
		}
		req.Access.Header[name] = values
	}
	if f.opts.ForList != nil {
		f.opts.ForList(it.Entry.List, &req)
	}
	to = downloader.Listed{Path: it.Path, Record: it.Record, Lists: it.claims(), Size: it.Entry.Size, ByURL: it.ByURL, ServerName: it.ServerName, Update: f.opts.Update}
	if it.Record.ID == "" && it.Entry.Sum.IsZero() && f.ledger.exists(it) {
		to.Moved = f.moves.find(it)
	}
	return req, to
}

// betterError chooses the error to report for a file that failed from two sources: an error that
// may pass, so that the file is tried again, or else the first error that leaves open whether the
// file exists, or else the first error.
func betterError(a, b error) error {
	if a == nil || !MayRecover(a) && MayRecover(b) || failure.IsGone(a) && !failure.IsGone(b) {
		return b
	}
	return a
}

// tryOtherSource reports whether another source may succeed after err. Within a list this includes
// a wrong checksum and a changed file, because the next source may have the right version.
func tryOtherSource(err error) bool {
	if errors.Is(err, failure.ErrOtherFile) { // the downloader has tried all sources
		return false
	}
	return failure.TryOtherSource(err) || errors.Is(err, failure.ErrChecksum) || errors.Is(err, failure.ErrChanged)
}

// MayRecover reports whether a later round may succeed after err, the error of a file: the host may be back, the server
// may be repaired, a login page may be gone, or the download of which this path is the part file
// may have ended.
func MayRecover(err error) bool {
	var rest *restError
	if errors.As(err, &rest) {
		return !rest.final
	}
	var status *failure.StatusError
	return isHostError(err) || errors.Is(err, store.ErrPartFile) || errors.As(err, &status) && status.Code >= 500 || errors.Is(err, failure.ErrPage)
}
