package downloader

import (
	"context"
	"errors"
	"io"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
)

// stream fetches a file from a server without ranges: one response from byte 0
// to its end. When it breaks off, the next one is compared with what has come
// before, so that the file ends as one version whatever the server does.
func (j *job) stream(ctx context.Context, w *worker, rep *reply) error {
	defer j.pool.leave(w)
	defer j.attach(w)()
	for {
		worth := j.most.Load() + tryBytes
		err := j.streamOnce(ctx, w, rep)
		rep.close()
		j.pool.release(w)
		var again restartError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case failure.IsPermanent(err), errors.As(err, &again):
			return err
		}
		if j.most.Load() < worth || errors.Is(err, failure.ErrTrickle) { // fetching the same bytes again and again is no progress
			if err := j.pause(ctx, w, err); err != nil {
				return err
			}
		}
		if rep, err = j.ask(ctx, w, chunk.Range{}); err != nil {
			return err
		}
	}
}

// streamOnce reads one body from byte 0: first what is held, which is all below
// what is missing, then the rest.
func (j *job) streamOnce(ctx context.Context, w *worker, rep *reply) error {
	if err := j.agree(ctx, rep); err != nil {
		return err
	}
	if !j.pool.next(w, time.Now()) {
		return nil
	}
	r := j.pool.arriving(w)
	w.buf.seek(r.Off)
	got, err := j.copy(ctx, w, rep)
	switch {
	case err == io.EOF && r.End == chunk.Unbounded:
		return j.pool.ended(r.Off + got)
	case err != nil:
		return failure.ExplainBody(noEOF(err))
	case rep.body.End == chunk.Unbounded && r.End != chunk.Unbounded:
		if n, _ := io.ReadFull(rep.Body, make([]byte, 1)); n > 0 {
			return restartError{why: "it is longer than it was"}
		}
	}
	return nil
}

// pacedReader counts and paces what is read, but not to be written.
type pacedReader struct {
	ctx  context.Context
	j    *job
	body io.Reader
}

func (r pacedReader) Read(p []byte) (int, error) {
	n, err := r.j.d.transport.Read(r.ctx, r.body, p)
	r.j.fetched.Add(int64(n))
	return n, err
}

// noEOF turns an end that came too early into an error that says so.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
