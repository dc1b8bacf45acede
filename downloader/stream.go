package downloader

import (
	"context"
	"errors"
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
		broke := err
		if rep, err = j.ask(ctx, w, chunk.Range{}); err != nil {
			return err
		}
		if !j.id.proves(rep.id) {
			rep.close()
			return restartError{why: "it broke off, and the server can only send it from the start", single: true, cause: broke}
		}
	}
}

// streamOnce reads one body from byte 0 into what is missing, and throws away
// what is not.
func (j *job) streamOnce(ctx context.Context, w *worker, rep *reply) error {
	pos := int64(0)
	for j.pool.next(w, time.Now()) {
		r := j.pool.arriving(w)
		if _, err := io.CopyN(io.Discard, pacedReader{ctx, j, rep.Body}, r.Off-pos); err != nil {
			return explainBody(noEOF(err))
		}
		w.buf.seek(r.Off)
		got, err := j.copy(ctx, w, rep)
		pos = r.Off + got
		if err == io.EOF && r.End == chunk.Unbounded {
			return j.pool.ended(pos)
		}
		if err != nil {
			return explainBody(noEOF(err))
		}
		j.pool.release(w)
	}
	return nil
}

// pacedReader counts and paces what is read to be thrown away.
type pacedReader struct {
	ctx  context.Context
	j    *job
	body io.Reader
}

func (r pacedReader) Read(p []byte) (int, error) {
	n, err := r.body.Read(p[:min(len(p), r.j.d.paceMost())])
	r.j.fetched.Add(int64(n))
	if paceErr := r.j.d.pace(r.ctx, n); paceErr != nil {
		err = paceErr
	}
	return n, err
}

// noEOF turns an end that came too early into an error that says so.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
