package downloader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/store"
)

// attempt asks for what is missing, fetches it, and finishes. restartError
// asks for another attempt from the start.
func (j *job) attempt(ctx context.Context) error {
	if l := j.req.ListEntry; l != nil {
		if err := j.checkSize(l.Size); err != nil {
			return err
		}
	}
	to, _ := j.target()
	j.host = j.d.host(to.url)
	j.single = j.single || j.host.rangeUse() == rangesRefused
	held, err := j.held(ctx)
	if err != nil {
		return err
	}
	j.have.Store(held.Len())
	j.setPool(nil)
	if j.part != nil && j.id.size >= 0 && held.Contains(chunk.Range{End: j.id.size}) {
		if err := j.proveAgain(ctx); err != nil {
			return err
		}
		return j.finish(ctx, nil)
	}
	if err := j.enter(ctx, j.host); err != nil {
		return err
	}
	rep, err := j.begin(ctx, held)
	if err != nil {
		j.leave()
		return err
	}
	j.expect(rep)
	var file *store.TempFile
	if err = j.checkSize(rep.id.size); err == nil {
		file, err = j.small(rep)
	}
	if file != nil {
		return j.fetchSmall(ctx, rep, file)
	}
	if err == nil {
		err = j.accept(rep, &held)
	}
	if err == nil {
		return j.transfer(ctx, rep, held)
	}
	rep.close()
	j.leave()
	return err
}

// held returns what is there. It is checked again, if it has to be, before it is
// finished or compared with what the server has; else beside the transfer.
func (j *job) held(ctx context.Context) (held chunk.Set, err error) {
	if s, ok := j.sink.(*streamSink); ok {
		return chunk.NewSet(chunk.Range{End: s.off}), nil
	}
	if j.part == nil {
		return held, nil
	}
	held = j.part.Record().Held
	if j.single || j.moved || j.id.strongETag() == "" || j.id.size >= 0 && held.Contains(chunk.Range{End: j.id.size}) {
		_, err = j.recheck(ctx)
		held = j.part.Record().Held
	}
	return held, err
}

// begin returns the answer to begin with. Its version is that of what is held, by a
// strong validator or by samples, unless it is the whole file.
func (j *job) begin(ctx context.Context, held chunk.Set) (*reply, error) {
	if j.part == nil || held.Len() == 0 || j.single {
		return j.probe(ctx, held)
	}
	if j.id.strongETag() != "" && !j.part.Record().Mixed {
		rep, err := j.probe(ctx, held)
		if err != nil || rep.whole || j.id.proves(rep.id) {
			return rep, err
		}
		rep.close() // one connection has to do
	}
	if err := j.prove(ctx, held); err != nil {
		return nil, err
	}
	return j.probe(ctx, held)
}

// enter takes the download's first connection, to h. The pool gives it back
// once there is one, and leave before.
func (j *job) enter(ctx context.Context, h *host) error {
	j.host = h
	err := h.enter(ctx)
	j.entered = err == nil
	return err
}

func (j *job) leave() {
	if j.entered {
		j.host.leave()
	}
	j.entered = false
}

// probe asks for the first missing bytes; the answer tells all that there is to
// know, and its body is the first connection's work.
func (j *job) probe(ctx context.Context, held chunk.Set) (*reply, error) {
	var r chunk.Range
	for gap := range held.Missing(chunk.Range{End: chunk.Unbounded}) {
		r = chunk.Range{Off: gap.Off, End: min(gap.End, gap.Off+firstRange)}
		break
	}
	if j.id.size >= 0 {
		r.End = min(r.End, j.id.size)
	} else if r.Off == 0 { // without end: some links may be asked only once
		r.End = chunk.Unbounded
	}
	if j.single {
		r = chunk.Range{}
	}
	rep, err := j.ask(ctx, nil, r)
	switch {
	case errors.Is(err, errUnsatisfiable):
		return j.ask(ctx, nil, chunk.Range{}) // an empty file, most likely
	case err != nil:
		return nil, err
	case !rep.whole && rep.id.size < 0 && j.id.size < 0: // a part of nobody knows what
		rep.close()
		j.single = true
		return j.ask(ctx, nil, chunk.Range{})
	}
	return rep, nil
}

// accept makes the version of rep that of the download, and opens the part file
// if it is not. Where rep is the whole file and something of it is held, that is
// left to agree, which compares.
func (j *job) accept(rep *reply, held *chunk.Set) error {
	if final := j.d.host(rep.Request.URL); final != j.host { // later requests go there
		j.leave()
		final.join()
		j.host, j.entered = final, true
	}
	if j.proves() && len(j.wrong) == 0 && !j.d.opts.Follow.NoMirrors { // else nobody vouches for those that a server names
		j.addMirrors(namer{public: !rep.info.Private()}, duplicates(rep.Header, rep.Request.URL)...)
	}
	switch {
	case j.part == nil && j.req.Stream == nil:
		if err := j.fits(rep.id); err != nil {
			return err
		}
		j.take(rep.id)
		return j.create(rep)
	case !rep.whole || held.Len() == 0:
		return j.adopt(rep.answer)
	}
	*held = chunk.NewSet(chunk.Range{End: held.Prefix()}) // a stream brings the rest again
	return nil
}

// adopt makes the version of a that of the download, and records it.
func (j *job) adopt(a answer) error {
	j.take(a.id)
	j.moved = false // it has the same file
	if j.req.Stream != nil {
		j.show(store.Record{Target: "-", Size: j.id.size})
		return nil
	}
	if rec := j.part.Record(); identityOf(rec) == j.id && rec.URL == j.recorded && rec.NoRanges == a.whole && rec.Unframed == j.unframed {
		return nil
	}
	if err := j.part.Update(func(r *store.Record) { j.note(r, a.whole) }); err != nil {
		return err
	}
	j.show(j.part.Record())
	return nil
}

// take takes over what id tells.
func (j *job) take(id identity) {
	if j.id.size < 0 {
		j.id.size = id.size
	}
	if id.etag != "" {
		j.id.etag = id.etag
	}
	if id.lastModified != "" {
		j.id.lastModified = id.lastModified
	}
	if id.media != "" {
		j.id.media = id.media
	}
	j.id.coding = id.coding
}

// note writes into a record what is known of the version.
func (j *job) note(r *store.Record, whole bool) {
	r.URL, r.Public, r.NoRanges = j.recorded, j.req.isPublic(j.asked), whole
	r.Size, r.ETag, r.LastModified, r.Type, r.Coding = j.id.size, j.id.etag, j.id.lastModified, j.id.media, j.id.coding
	r.Unframed = j.unframed
}

// create makes the part file under the name that was asked for or that the
// answer tells.
func (j *job) create(rep *reply) error {
	name := j.req.Output
	if name == "" {
		name = localName(rep.Header.Get("Content-Disposition"), j.asked)
	}
	target, err := absTarget(j.req.Dir, name)
	if err != nil {
		return err
	}
	old, err := j.d.store.ByTarget(target)
	switch {
	case err != nil || j.req.Overwrite || j.req.Restart:
	case old.URL == j.recorded && (old.State != store.Done || j.d.store.Exists(old)):
		return begunError{old}
	case old.State != store.Done:
		return claimed(old)
	}
	rec := store.Record{Target: target, Named: j.named, Sum: j.req.Sum, Replace: j.req.Overwrite, Mirrors: j.givenMirrors()}
	if j.req.ListEntry != nil {
		rec.Lists = j.req.ListEntry.Lists
	}
	j.note(&rec, rep.whole)
	part, err := j.d.store.Create(rec)
	if err != nil {
		return err
	}
	j.part, j.sink = part, part
	j.show(part.Record())
	return nil
}

// transfer fetches what held lacks, beginning with the body of rep, and
// finishes.
func (j *job) transfer(ctx context.Context, rep *reply, held chunk.Set) error {
	size := j.id.size
	if size < 0 {
		size = chunk.Unbounded
	}
	first := &worker{}
	j.entered = false // from here on, the pool gives the connection back
	j.d.recall(j.host)
	j.setPool(newPool(j.host, chunk.NewPlan(size, held), rep.whole || j.req.Stream != nil || j.mayMix(held)))
	defer j.endPool()
	j.advanced(held.Len())
	if !j.started {
		j.emit(Event{Kind: Started, Size: j.id.size, Held: held.Len()})
	}
	j.started = true

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { rep.cancel(context.Cause(ctx)) })() // it was asked for under the outer one
	c := &crew{job: j, cancel: cancel, commits: committer{j: j}}
	c.serve(ctx, size)
	j.pool.begin(first, rep.wanted(), rep.whole, rep.cancel, time.Now())
	j.pool.answered(first, rep.wanted().End, rep.way, time.Now())
	c.start(&c.workers, func() error {
		if rep.whole {
			return j.stream(ctx, first, rep)
		}
		return j.work(ctx, first, rep)
	})
	err := c.wait()
	if lost, loseErr := j.loseMirrored(); loseErr != nil {
		return loseErr
	} else if lost && err == nil {
		return errMirrored
	}
	if err != nil {
		return err
	}
	if again, err := j.recheck(ctx); err != nil { // somebody has touched it meanwhile
		return err
	} else if c.lost+again > 0 {
		return errDamaged
	}
	if err := j.compareMirrored(ctx); err != nil {
		return err
	}
	if lost, err := j.loseMirrored(); err != nil {
		return err
	} else if lost {
		return errMirrored
	}
	if err := j.proveAgain(ctx); err != nil {
		return err
	}
	if j.gaveUp { // the verifier has bytes that are no longer there
		c.verifier = nil
	}
	return j.finish(ctx, c.verifier)
}

// errMirrored says that what mirrors gave is fetched again, without them.
var errMirrored = restartError{why: "mirrors gave other bytes", keep: true}

// endPool remembers what the transfer has learned of its hosts. Where it has broken
// off, what refused connections may have been an outage.
func (j *job) endPool() {
	_, done := j.pool.done()
	for i, best := range j.pool.end() {
		if h := j.pool.lanes[i].host; done || !h.limited() {
			j.d.learn(h, best)
		}
	}
}

// finish checks the whole file and gives it its name. v is the verifier that
// has followed the transfer, or nil.
func (j *job) finish(ctx context.Context, v *verifier) error {
	if s, ok := j.sink.(*streamSink); ok {
		return s.verify()
	}
	if j.pool != nil {
		size, done := j.pool.done()
		if !done {
			return fmt.Errorf("%w: bytes are missing at the end", failure.ErrProtocol)
		}
		if j.id.size != size { // a stream told its size by ending
			j.id.size = size
			if err := j.part.Update(func(r *store.Record) { r.Size = size }); err != nil {
				return err
			}
			j.show(j.part.Record())
		}
	}
	if err := j.fits(j.id); err != nil {
		return err
	}
	if v == nil && !j.sum.IsZero() {
		v = newVerifier(j.sum, j.part)
	}
	if v != nil {
		var m *mismatch
		if err := v.verdict(ctx, j.id.size); errors.As(err, &m) {
			return j.mismatched(m.got)
		} else if err != nil {
			return err
		}
	}
	if err := j.blame(); err != nil {
		return err
	}
	return j.part.Finish(j.modTime(j.id))
}
