package downloader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"pawl/chunk"
)

// stream fetches a file from a server without ranges: one response from byte 0
// to its end. When it breaks off, the next one is read up to where the first
// came, if it surely is of the same version; else the download starts over.
func (j *job) stream(ctx context.Context, w *worker, rep *reply) error {
	defer j.pool.leave(w)
	defer j.attach(w)()
	for {
		before := j.most.Load()
		err := j.streamOnce(ctx, w, rep)
		rep.close()
		j.pool.release(w)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case isPermanent(err):
			return err
		}
		if j.most.Load() == before { // fetching the same bytes again and again is no progress
			if err := j.pause(ctx, w, err); err != nil {
				return err
			}
		}
		if rep, err = j.ask(ctx, w, chunk.Range{}); err != nil {
			return err
		}
		if !j.id.proves(rep.id) {
			rep.close()
			return restartError{why: fmt.Sprintf("it broke off (%v), and the server can only send it from the start", err), single: true}
		}
	}
}

// streamOnce reads one body from byte 0 into what is missing, and throws away
// what is not.
func (j *job) streamOnce(ctx context.Context, w *worker, rep *reply) error {
	pos := int64(0)
	for j.pool.next(w, time.Now()) {
		r := j.pool.arriving(w)
		n, err := io.CopyN(io.Discard, rep.Body, r.Off-pos)
		j.fetched.Add(n)
		if err != nil {
			return explain(noEOF(err))
		}
		w.buf.seek(r.Off)
		got, err := j.copy(ctx, w, rep)
		pos = r.Off + got
		if err == io.EOF && r.End == chunk.Unbounded {
			return j.pool.ended(pos)
		}
		if err != nil {
			return explain(noEOF(err))
		}
		j.pool.release(w)
	}
	return nil
}

// noEOF turns an end that came too early into an error that says so.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
