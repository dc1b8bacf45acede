package downloader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/transport"
)

// worthDraining is how many unwanted bytes at the end of a response are read to
// keep its connection.
const worthDraining = 64 << 10

// mostInFlight is how many bytes at most may be on their way to a connection, and so
// cost nothing to read.
const mostInFlight = 1 << 20

// preciousEvery is the time between two looks whether a body is needed any more.
const preciousEvery = 5 * time.Millisecond

// work is the life of one connection: it fetches claim after claim until there
// is none for it. rep is a reply that is already there for its first claim, or nil.
func (j *job) work(ctx context.Context, w *worker, rep *reply) error {
	defer j.pool.leave(w)
	defer j.attach(w)()
	for rep != nil || j.pool.next(w, time.Now()) {
		err := j.fetch(ctx, w, rep)
		rep = nil
		j.pool.release(w)
		if errors.Is(err, errSteppedDown) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// attach gives w a buffer, and returns what takes it back.
func (j *job) attach(w *worker) func() {
	b := newBuffer(mirrorSink{j.sink, j.pool, w}, func(n int64) { j.advanced(j.pool.wrote(w, n)) })
	j.pool.setBuffer(w, b)
	return func() {
		j.pool.setBuffer(w, nil)
		b.free()
	}
}

// fetch gets the claim of w, with as many requests as that takes.
func (j *job) fetch(ctx context.Context, w *worker, rep *reply) error {
	for {
		r := j.pool.arriving(w)
		if r.Empty() {
			if rep != nil {
				rep.close()
			}
			return nil
		}
		if rep == nil && j.req.Stream != nil && r.Off > 0 && j.id.strongETag() == "" {
			return errWhole // to be compared with what was written
		}
		if rep == nil {
			var err error
			if rep, err = j.askAs(ctx, w, r); errors.Is(err, errSeized) || errors.Is(err, errReplaced) {
				return nil
			} else if err != nil {
				return err
			}
			j.pool.answered(w, rep.wanted().End, rep.way, time.Now())
		}
		w.buf.seek(r.Off)
		got, err := j.copy(ctx, w, rep)
		if !j.leaveReply(rep, w, err) {
			j.pool.closed(w)
			if w.lane.host.limited() { // or it is one more for a moment
				sleep(ctx, transport.CloseNoticeDelay)
			}
		}
		rep = nil
		if err == io.EOF && got == 0 {
			err = failure.New(failure.ErrNetwork, "an empty body")
		}
		if err := j.settle(ctx, w, got, err); err != nil {
			return err
		}
	}
}

// askAs asks for r from the source of w.
func (j *job) askAs(ctx context.Context, w *worker, r chunk.Range) (*reply, error) {
	if w.lane.mirror != nil {
		return j.askMirror(ctx, w, r)
	}
	return j.ask(ctx, w, r)
}

// settle says what the outcome of one body means for the claim: nil to go on
// with what is left of it.
func (j *job) settle(ctx context.Context, w *worker, got int64, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errGiveBack) && j.pool.goWithout(w):
		return errSteppedDown
	case errors.Is(err, errReplaced):
		w.lane.host.addr.Forget() // another machine may be better
		return nil
	case err == nil, errors.Is(err, errSeized), errors.Is(err, errGiveBack), errors.Is(err, errAside):
		return nil
	case failure.IsPermanent(err):
		return err
	case got >= tryBytes && !errors.Is(err, failure.ErrTrickle):
		return nil // it was worth the request; the next one tells if it was the last
	}
	return j.pause(ctx, w, err)
}

// pause is for a body that ended with few bytes or none: others go on without w, or it
// waits, or the retry budget is at its end.
func (j *job) pause(ctx context.Context, w *worker, err error) error {
	if j.stepDown(w, err) {
		return errSteppedDown
	}
	wait, again := j.setback(err)
	if !again {
		return err
	}
	return sleep(ctx, wait)
}

// copy reads the body of rep into the claim of w, until the claim or the body
// ends, and returns how many bytes of it were wanted; all of them are written,
// whatever the error. That is io.EOF where the body ends before the claim.
func (j *job) copy(ctx context.Context, w *worker, rep *reply) (got int64, err error) {
	for left := j.pool.arriving(w).Len(); left > 0 && err == nil; {
		var n, kept int
		most := min(left, bufferSize) // no more: a stream goes on behind the claim
		n, err = j.d.transport.Read(rep.ctx, rep.Body, w.buf.space(int(most)))
		kept, left = j.pool.arrive(w, n, time.Now())
		got += int64(kept)
		j.fetched.Add(int64(n))
		j.have.Add(int64(kept))
		if large := j.checkArrived(); large != nil && (err == nil || err == io.EOF) {
			err = large
		}
		if left == 0 && err == nil {
			left = j.pool.extend(w, time.Now())
			for left == 0 && err == nil && j.pool.precious(w, time.Now()) {
				err = sleep(rep.ctx, preciousEvery)
				left = j.pool.extend(w, time.Now())
			}
		}
		full := w.buf.filled(kept)
		if full || left == 0 || err != nil {
			if err := w.buf.flush(); err != nil {
				return got, failure.Permanent(err)
			}
		}
	}
	switch {
	case err == nil || err == io.EOF && j.pool.arriving(w).Empty():
		return got, nil
	case err == io.EOF:
		return got, io.EOF
	}
	if cause := context.Cause(rep.ctx); cause == errSeized || cause == errReplaced || cause == errAside || cause == errDrips || cause == errHung || cause == errGiveBack {
		return got, cause
	}
	return got, failure.ExplainBody(err)
}

// leaveReply closes rep so that its connection can be used again if little or
// nothing is left on it, and is closed otherwise. It reports which.
func (j *job) leaveReply(rep *reply, w *worker, err error) (kept bool) {
	defer rep.close()
	if err != nil {
		return false
	}
	left := rep.body.End - j.pool.arriving(w).End
	if left > j.d.transport.MaxDrain(worthDraining) {
		n, in := j.pool.inFlight(w, time.Now())
		if left > j.d.transport.MaxDrain(n) {
			return false
		}
		defer time.AfterFunc(in, func() { rep.cancel(errDrained) }).Stop()
	}
	n, err := io.CopyN(io.Discard, pacedReader{rep.ctx, j, rep.Body}, left+1) // the one more meets the end
	if n > left && j.surplus.CompareAndSwap(false, true) {
		j.emit(Event{Kind: Warning, Err: fmt.Errorf("%w: more bytes came than %s", errLie, span(rep.body))})
	}
	return err == io.EOF
}
