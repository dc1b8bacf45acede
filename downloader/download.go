package downloader

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/response"
	"pawl/downloader/transport"
	"pawl/store"
)

// maxClockSkew is how far the clock of a server may be ahead: a day, because servers that treat
// their local time as UTC are up to 14 hours off. Half would refuse some of them; double would
// accept dates that are as wrong.
const maxClockSkew = 24 * time.Hour

// A download is the state of one download of one URL. One goroutine uses it at a time, except
// that the connections of a transfer use it together: then only its parts that are safe for
// concurrent use may change.
type download struct {
	engine   *engine
	req      Request // immutable
	goal     goal
	origin   origin
	first    firstConn
	budget   *retryBudget
	progress *progress
	version  version
	file     file
	mirrors  []*mirror
	wrong    mismatches // earlier downloads of this request with a wrong digest
	pieces   pieceCheck // of the digests of pieces of the request
}

// A goal is the file that a download must produce: its request, completed by its record.
type goal struct {
	dir     string    // directory of output; "" for the working directory
	output  string    // path, or name in dir; "" if the server or the URL names the file
	named   bool      // the user or a list chose output, and not the server
	replace bool      // a file at the target may be replaced
	sum     chunk.Sum // digest that the file must have; zero for none
	sumBy   Proof     // whose digest sum is

	record store.ID  // recorded download to resume; "" for none
	wrong  *Damaged  // nil if the recorded download is not known to be damaged
	stream io.Writer // gets the bytes in place of a file; nil for none
	listed *Listed   // nil if the file is not of a list

	released func()                   // called when a small file needs no connection any more; nil if the file is not one of many
	begin    func(store.Record) error // called before bytes are written to the part file
}

// newGoal returns the goal of a request.
func newGoal(req Request) (goal, error) {
	g := goal{replace: req.Existing.InTheWay == Replace, sum: req.Sum, sumBy: cmp.Or(req.SumBy, ProofYours)}
	complete := true
	switch to := req.Into.(type) {
	case nil:
	case File:
		g.dir, g.output, g.released = to.Dir, to.Output, to.Released
	case Recorded:
		g.record, complete = to.ID, to.ID != ""
	case Damaged:
		g.record, g.wrong, complete = to.ID, &to, to.ID != ""
	case Stream:
		g.stream, complete = to.Writer, to.Writer != nil
	case Listed:
		g.output, g.record, g.listed, complete = to.Path, to.Resume, &to, to.Path != ""
		if g.released = to.Released; g.released == nil {
			g.released = func() {}
		}
		g.begin = to.Begin
		g.sumBy = cmp.Or(req.SumBy, ProofList)
	default:
		complete = false
	}
	if !complete {
		return g, failure.Wrap(failure.ErrUsage, fmt.Errorf("a download cannot go into %T%+v", req.Into, req.Into))
	}
	g.named = g.output != "" && !(g.listed != nil && g.listed.ServerName && g.listed.Record.ID == "" && g.record == "")
	return g, nil
}

// The origin is the URL of a request, as the first source of its file.
type origin struct {
	*resolver
	url        *url.URL      // without user and password; immutable
	recorded   string        // url as records have it; immutable
	user       *url.Userinfo // of the URL, for the origin of url alone; nil for none; immutable
	oneStream  bool          // no more ranges are requested
	plainTried bool          // a request without Range was tried because one with Range failed
	received   atomic.Int64  // bytes from the URL
}

func newDownload(e *engine, req Request) (*download, error) {
	g, err := newGoal(req)
	if err != nil {
		return nil, err
	}
	if req.ID != "" {
		if err := req.ID.Check(); err != nil {
			return nil, failure.Wrap(failure.ErrUsage, err)
		}
	}
	if g.record != "" && req.URL == "" {
		rec, err := e.store.Get(g.record)
		if err != nil {
			return nil, err
		}
		req.URL = rec.URL
	}
	if g.wrong != nil { // a repair keeps the right bytes
		req.Existing.Restart = false
	}
	u, err := parseURL(req.URL)
	if err != nil {
		return nil, err
	}
	if g.listed != nil {
		if err := e.opts.Follow.CheckScheme(u.Scheme); err != nil {
			return nil, err
		}
	}
	d := &download{
		engine:   e,
		req:      req,
		goal:     g,
		budget:   newRetryBudget(e.opts),
		progress: &progress{all: &e.received},
		version:  version{Version: response.Version{Size: -1}, digest: g.promise()},
	}
	d.pieces.hashes = req.Pieces
	d.version.pieces = &d.pieces
	d.origin.url, d.origin.user = u, u.User
	u.User = nil
	d.origin.recorded = u.String()
	d.origin.resolver = newResolver(destination{url: u, public: req.isPublic(u)})
	d.progress.show(store.Record{Target: d.origin.recorded, Size: -1})
	d.addMirrors(namer{given: true}, req.Mirrors...)
	return d, nil
}

// snapshot returns the progress for a front end. It may be called at any time, and waits for no
// connection. A download without a transfer, such as a small file, has its first connection.
func (d *download) snapshot() Progress {
	s := d.progress.snapshot()
	if d.first.held.Load() {
		s.Conns++
	}
	return s
}

// emit reports a transition of this download.
func (d *download) emit(e Event) {
	p := d.progress.snapshot()
	e.ID, e.URL, e.Target = p.ID, d.origin.recorded, p.Target
	d.engine.emit(&d.req, e)
}

// receive counts n bytes of the body of rep. A negative n takes bytes back that are going to be counted
// again.
func (d *download) receive(rep *reply, n int64) {
	d.progress.receive(n)
	if rep.source != nil {
		rep.source.Add(n)
	}
}

// waits notes why no byte arrives, and for how long that is known to last; 0 if it is not. The caller may
// call the function that it returns when the wait has ended.
func (d *download) waits(err error, wait time.Duration) (ended func()) {
	p := &Pause{Err: err}
	if wait > 0 {
		p.Until = time.Now().Add(wait)
	}
	d.progress.pause.Store(p)
	return func() { d.progress.pause.CompareAndSwap(p, nil) }
}

// pace returns the limits of the bodies from the host of u.
func (d *download) pace(u *url.URL) transport.Pace {
	p := d.engine.transport.PaceOf(u)
	if h := d.req.Handle; h != nil {
		p = p.With(h.limiter())
	}
	return p
}

// written notes that n bytes of the file are written. New ones refill the retry budget.
func (d *download) written(n int64) {
	if gained := d.progress.written(n); gained > 0 {
		d.budget.received(gained)
	}
}

// verifyPart verifies the pieces of the part file that may have changed since the last commit,
// and reports damage.
func (d *download) verifyPart(ctx context.Context) (lost int64, err error) {
	lost, err = d.file.verifyDirty(ctx)
	if lost > 0 {
		d.emit(Event{Kind: Lost, Held: lost})
	}
	return lost, err
}

// forget empties the part file, and deletes from its record all that the server said. The
// record gets this size.
func (d *download) forget(size int64) error {
	d.file.setEarlierRun(contribution{})
	err := d.file.part.Restart(func(r *store.Record) {
		r.URL, r.Public = d.origin.recorded, d.origin.start.public
		r.Sum, r.Replace = d.goal.sum, r.Replace || d.goal.replace
		r.Size, r.ETag, r.LastModified, r.Type, r.Coding, r.NoRanges, r.Unframed, r.Mixed = size, "", "", "", "", false, false, false
		r.ServerSum = chunk.Sum{}
	})
	if err != nil {
		return err
	}
	return d.announce()
}

// announce tells the caller of the download that bytes are about to be written to the part file, if there is one.
func (d *download) announce() error {
	if d.goal.begin == nil || d.file.part == nil {
		return nil
	}
	return d.goal.begin(d.file.record())
}

// adopt makes v the version of the download, and records it. noRanges is set if the server sends
// whole files.
func (d *download) adopt(v response.Version, noRanges bool) error {
	d.version.Version = d.version.Merge(v)
	d.file.moved = false // the new URL has the same file
	if d.file.stream != nil {
		d.progress.show(store.Record{Target: "-", Size: d.version.Size})
		return nil
	}
	if rec := d.file.record(); versionOf(rec) == d.version.Version && rec.URL == d.origin.recorded && rec.NoRanges == noRanges && rec.Unframed == d.version.unframed && rec.ServerSum == d.version.digest.recorded() && slices.Equal(rec.Credentials, d.credentialOptions(rec)) {
		return nil
	}
	if err := d.file.part.Update(func(r *store.Record) { d.note(r, noRanges) }); err != nil {
		return err
	}
	d.progress.show(d.file.record())
	return nil
}

// note writes the version and its URL into a record.
func (d *download) note(r *store.Record, noRanges bool) {
	v := &d.version
	r.URL, r.Public, r.NoRanges = d.origin.recorded, d.origin.start.public, noRanges
	r.Size, r.ETag, r.LastModified, r.Type, r.Coding, r.Unframed = v.Size, v.ETag, v.LastModified, v.MediaType, v.Coding, v.unframed
	r.ServerSum, r.Credentials = v.digest.recorded(), d.credentialOptions(*r)
}

// credentialOptions returns the options by which the user has given the credentials for the URL: in this run, or else in
// an earlier one.
func (d *download) credentialOptions(rec store.Record) []string {
	if given := d.credentials(d.origin.url).Options; len(given) > 0 {
		return given
	}
	return rec.Credentials
}

// fits returns an error if a version cannot be the file that the list wants.
func (d *download) fits(v response.Version) error {
	if l := d.goal.listed; l != nil && l.Size >= 0 && v.Size >= 0 && l.Size != v.Size {
		return failure.Wrap(failure.ErrChecksum, fmt.Errorf("the list says %d bytes, and the server %d bytes", l.Size, v.Size))
	}
	return nil
}

// modTime returns the modification time for a file of version v, the zero time for now.
func (d *download) modTime(v response.Version) time.Time {
	if t, err := http.ParseTime(v.LastModified); err == nil && !d.engine.opts.NoRemoteTime && isCredible(t, time.Now()) {
		return t
	}
	return time.Time{}
}

// isCredible reports whether a file may have been modified at t. Servers without a date send
// 1601 or 9999, which file systems and the record cannot store.
func isCredible(t, now time.Time) bool {
	return t.Unix() >= 0 && t.Before(now.Add(maxClockSkew))
}

// addMirrors makes URLs that by has named mirrors of the download. It skips known and
// invalid URLs, and URLs that by must not name.
func (d *download) addMirrors(by namer, texts ...string) {
	for _, text := range texts {
		if !by.given && len(d.mirrors) >= maxServerMirrors {
			return
		}
		u, err := parseURL(text)
		if err != nil || !by.given && d.origin.url.Scheme == "https" && u.Scheme != "https" {
			continue
		}
		if typed := by.given && d.goal.listed == nil; !typed && d.engine.opts.Follow.CheckScheme(u.Scheme) != nil {
			continue
		}
		u.User = nil
		known := u.String() == d.origin.url.String()
		for _, m := range d.mirrors {
			known = known || u.String() == m.url.String()
		}
		if !known {
			d.mirrors = append(d.mirrors, &mirror{url: u, namer: namer{by.given, by.public || d.req.isPublic(u)}, ended: make(chan struct{})})
			d.progress.showMirrors(d.mirrors)
		}
	}
}

// givenMirrors returns the URLs of the mirrors that the user or a list gave.
func (d *download) givenMirrors() (urls []string) {
	for _, m := range d.mirrors {
		if m.given {
			urls = append(urls, m.url.String())
		}
	}
	return urls
}
