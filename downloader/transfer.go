package downloader

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"pawl/chunk"
	"pawl/store"
)

const (
	growEvery = 100 * time.Millisecond // between two looks whether a further connection has work
	reserveBy = 1 << 30                // bytes of one reservation, which blocks writers while it lasts
)

// attempt asks for what is missing, fetches it, and finishes. restartError
// asks for another attempt from the start.
func (j *job) attempt(ctx context.Context) error {
	var held chunk.Set
	if j.part != nil {
		held = j.part.Record().Held
	} else if s, ok := j.sink.(*streamSink); ok {
		held.Add(chunk.Range{End: s.off})
	}
	j.have.Store(held.Len())
	if j.id.size >= 0 && held.Contains(chunk.Range{End: j.id.size}) && j.part != nil {
		return j.finish(ctx, nil)
	}
	j.setPool(nil)
	u, _ := j.target()
	if err := j.enter(ctx, j.d.host(u)); err != nil {
		return err
	}
	rep, err := j.probe(ctx, held)
	if err == nil {
		if err = j.accept(rep, &held); err == nil {
			return j.transfer(ctx, rep, held)
		}
		rep.close()
	}
	j.leave()
	return err
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
// if it is not. A whole file in answer to a range beyond byte 0 is used if it
// surely is the same version; what is held of another one is given up.
func (j *job) accept(rep *reply, held *chunk.Set) error {
	if final := j.d.host(rep.Request.URL); final != j.host { // later requests go there
		j.leave()
		if err := j.enter(rep.ctx, final); err != nil {
			return err
		}
	}
	if coding := rep.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		j.emit(Event{Kind: Warning, Err: fmt.Errorf("the server sends it coded as %q; it is stored so", coding)})
	}
	if rep.whole && held.Len() > 0 && !j.id.proves(rep.id) {
		why := restartError{why: "the server sends it from the start only"}
		if j.moved {
			return why
		}
		j.emit(Event{Kind: Restarted, Held: held.Len(), Err: why})
		if err := j.rewind(why); err != nil {
			return err
		}
		*held = chunk.Set{}
	}
	if j.id.size < 0 {
		j.id.size = rep.id.size
	}
	if rep.id.etag != "" {
		j.id.etag = rep.id.etag
	}
	if rep.id.lastModified != "" {
		j.id.lastModified = rep.id.lastModified
	}
	j.moved = false // it has the same file
	note := func(r *store.Record) {
		r.URL = j.shown
		r.Size, r.ETag, r.LastModified, r.NoRanges = j.id.size, j.id.etag, j.id.lastModified, rep.whole
	}
	switch {
	case j.req.Stream != nil:
		j.show(store.Record{Target: "-", Size: j.id.size})
		return nil
	case j.part == nil:
		return j.create(rep, note)
	}
	if err := j.part.Update(note); err != nil {
		return err
	}
	j.show(j.part.Record())
	return nil
}

// create makes the part file under the name that was asked for or that the
// answer tells.
func (j *job) create(rep *reply, note func(*store.Record)) error {
	name := j.req.Output
	if name == "" {
		name = localName(rep.Header.Get("Content-Disposition"), j.asked)
	}
	target, err := absTarget(j.req.Dir, name)
	if err != nil {
		return err
	}
	old, err := j.d.store.ByTarget(target)
	if err == nil && old.State != store.Done && !j.req.Overwrite && !j.req.Restart {
		if old.URL != j.shown {
			return claimed(old)
		}
		return begunError{old}
	}
	rec := store.Record{Target: target, Named: j.named, Sum: j.req.Sum, Replace: j.req.Overwrite}
	note(&rec)
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
	j.setPool(newPool(j.host, chunk.NewPlan(size, held), rep.whole || j.req.Stream != nil))
	j.advanced(held.Len())
	j.emit(Event{Kind: Started, Size: j.id.size, Held: held.Len()})

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { rep.cancel(context.Cause(ctx)) })() // it was asked for under the outer one
	var workers, services errgroup.Group
	start := func(g *errgroup.Group, do func() error) {
		g.Go(func() error {
			err := do()
			if err != nil {
				cancel(err) // all stop when one fails
			}
			return err
		})
	}
	serving, stop := context.WithCancel(ctx)
	c := &committer{j: j}
	start(&services, func() error { return c.loop(serving) })
	start(&services, func() error { return j.reserve(serving, size) })
	start(&services, func() error {
		return j.tend(serving, func(w *worker) {
			start(&workers, func() error { return j.work(ctx, w, nil) })
		})
	})
	var v *verifier
	if !j.req.Sum.IsZero() && j.part != nil {
		v = newVerifier(j.req.Sum, j.part)
		start(&services, func() error { return v.loop(serving, j.pool.prefix) })
	}
	if rep.whole {
		j.pool.begin(first, 0, rep.cancel, time.Now())
		start(&workers, func() error { return j.stream(ctx, first, rep) })
	} else {
		j.pool.begin(first, rep.body.Len(), rep.cancel, time.Now())
		start(&workers, func() error { return j.work(ctx, first, rep) })
	}
	err := workers.Wait()
	stop()
	if serviceErr := services.Wait(); serviceErr != nil {
		err = serviceErr // the workers only saw that all had to stop
	}
	if commitErr := c.commit(); commitErr != nil {
		err = commitErr // worse than whatever ended the transfer: bytes are lost
	}
	if err != nil {
		return err
	}
	return j.finish(ctx, v)
}

// tend opens further connections as long as there is work for them.
func (j *job) tend(ctx context.Context, spawn func(*worker)) error {
	for sleep(ctx, growEvery) == nil {
		j.pool.grow(time.Now(), spawn)
	}
	return nil
}

// reserve asks for the file's blocks, in steps between which writers get their
// turn.
func (j *job) reserve(ctx context.Context, size int64) error {
	if j.part == nil || size == chunk.Unbounded {
		return nil
	}
	for off := int64(0); off < size && ctx.Err() == nil; off += reserveBy {
		if err := j.part.Reserve(chunk.Range{Off: off, End: min(off+reserveBy, size)}); err != nil {
			return permanentError{err}
		}
	}
	return nil
}

// finish checks the whole file and gives it its name. v is the verifier that
// has followed the transfer, or nil.
func (j *job) finish(ctx context.Context, v *verifier) error {
	if s, ok := j.sink.(*streamSink); ok {
		return s.verdict()
	}
	if j.pool != nil {
		size, done := j.pool.done()
		if !done {
			return fmt.Errorf("%w: bytes are missing at the end", ErrProtocol)
		}
		if j.id.size != size { // a stream told its size by ending
			j.id.size = size
			if err := j.part.Update(func(r *store.Record) { r.Size = size }); err != nil {
				return err
			}
			j.show(j.part.Record())
		}
	}
	if v == nil && !j.req.Sum.IsZero() {
		v = newVerifier(j.req.Sum, j.part)
	}
	if v != nil {
		if err := v.verdict(ctx, j.id.size); err != nil {
			return err
		}
	}
	var modTime time.Time
	if t, err := http.ParseTime(j.id.lastModified); err == nil && !j.d.opts.NoRemoteTime {
		modTime = t
	}
	return j.part.Finish(modTime)
}
