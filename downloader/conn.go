package downloader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/hosts"
	"pawl/downloader/response"
	"pawl/downloader/sched"
	"pawl/downloader/transport"
)

const (
	// maxDrain is how many unwanted bytes at the end of a response are read to keep its
	// connection. A guess: 64 KiB take 5 ms at 100 Mbit/s, a new connection two round trips.
	maxDrain = 64 << 10
	// extendInterval is the time between two checks whether an open body may be read beyond its
	// claim. Double would delay the end of a single-use link by as much.
	extendInterval = 5 * time.Millisecond
)

// errDrained ends the reading of unwanted bytes that takes too long.
var errDrained = errors.New("no more bytes are wanted")

// A conn is one connection of a transfer. One goroutine runs it.
type conn struct {
	*sched.Conn
	t   *transfer
	buf *buffer // bytes that are read and not yet written
}

// A source is a URL of the file, as the connections of a transfer ask it.
type source interface {
	// ask requests range r of the file for connection c. It returns the errors of
	// asker.askWith.
	ask(ctx context.Context, c *conn, r chunk.Range) (*reply, error)
}

// The originSource asks the origin.
type originSource struct{}

func (originSource) ask(ctx context.Context, c *conn, r chunk.Range) (*reply, error) {
	return c.t.ask(ctx, c, r)
}

// schedSource returns host h as a source of a scheduler, which asks src.
func schedSource(h *hosts.Host, src source) *sched.Source {
	return &sched.Source{Gate: h, TLS: strings.HasPrefix(h.Origin, "https:"), Tag: src}
}

// newConn returns the connection that c schedules, with a buffer. The caller must call close
// once.
func (t *transfer) newConn(c *sched.Conn) *conn {
	conn := &conn{Conn: c, t: t}
	conn.buf = newBuffer(connSink{conn}, func(n int64) { t.written(c.Written(n)) })
	t.buffers.add(conn.buf)
	return conn
}

// close ends the connection, and frees its buffer, which must be flushed.
func (c *conn) close() {
	c.t.buffers.remove(c.buf)
	c.buf.free()
	c.Leave()
}

// host returns the host that the connection leads to.
func (c *conn) host() *hosts.Host { return c.Source().Gate.(*hosts.Host) }

// source returns the URL that the connection asks.
func (c *conn) source() source { return c.Source().Tag.(source) }

// mirror returns the mirror that the connection asks, nil for the origin.
func (c *conn) mirror() *mirror {
	m, _ := c.Source().Tag.(*mirror)
	return m
}

// A connSink writes the bytes of a connection to the file, and notes bytes of a mirror.
type connSink struct{ c *conn }

func (s connSink) WriteAt(b []byte, off int64) (int, error) {
	n, err := s.c.t.file.sink.WriteAt(b, off)
	if m := s.c.mirror(); m != nil && n > 0 {
		m.noteWritten(off, b[:n])
	}
	return n, err
}

// run fetches claim after claim until the scheduler has none for the connection. rep is an open
// response for the first claim, or nil.
func (c *conn) run(ctx context.Context, rep *reply) error {
	defer c.close()
	for rep != nil || c.Next(time.Now()) {
		err := c.fetch(ctx, rep)
		rep = nil
		c.Release()
		if errors.Is(err, errSteppedDown) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fetch fetches the claim of the connection, with as many requests as that takes.
func (c *conn) fetch(ctx context.Context, rep *reply) error {
	for {
		r := c.Remaining()
		if r.Empty() {
			if rep != nil {
				rep.close()
			}
			return nil
		}
		if rep == nil && c.t.file.stream != nil && r.Off > 0 && c.t.version.StrongETag() == "" {
			return errWhole // the next attempt compares the whole file with the written bytes
		}
		if rep == nil {
			var err error
			if rep, err = c.source().ask(ctx, c, r); errors.Is(err, errStolen) || errors.Is(err, errReplaced) {
				return nil
			} else if err != nil {
				return err
			}
			c.Responded(rep.forScheduler(), time.Now())
		}
		c.buf.seek(r.Off)
		got, err := c.copy(ctx, rep)
		if !c.closeReply(rep, err) {
			c.Disconnected()
			if c.host().IsLimited() { // or the server counts the next one in addition
				sleep(ctx, transport.CloseNoticeDelay)
			}
		}
		rep = nil
		if err == io.EOF && got == 0 {
			err = failure.New(failure.ErrNetwork, "an empty body")
		}
		if err := c.settle(ctx, got, err); err != nil {
			return err
		}
	}
}

// settle decides whether the connection goes on with its claim after the end of a body. A body that
// the scheduler has stopped is no failure of the server. A body with enough bytes pays for its
// request, however it ended, because the next request resumes at its last byte. It returns
// nil if it does. got counts the wanted bytes of the body.
func (c *conn) settle(ctx context.Context, got int64, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errYielded) && c.LeaveUnlessLast():
		return errSteppedDown
	case errors.Is(err, errReplaced):
		c.host().Address.Forget() // another machine may be faster
		return nil
	case err == nil, errors.Is(err, errStolen), errors.Is(err, errYielded), errors.Is(err, errDisabled):
		return nil
	case failure.IsPermanent(err):
		return err
	case got >= bytesPerTry && !errors.Is(err, failure.ErrTrickle):
		return nil // the request has paid for itself
	}
	return c.t.pause(ctx, c, err)
}

// copy reads the body of rep into the claim, until one of both ends. After each read it asks the
// scheduler how many bytes of the claim are left, because another connection may have taken over a
// part of the claim meanwhile. It returns how many wanted
// bytes it has read; all of them are written, also if there is an error. The error is io.EOF if
// the body ends before the claim.
func (c *conn) copy(ctx context.Context, rep *reply) (got int64, err error) {
	j := c.t.download
	for left := c.Remaining().Len(); left > 0 && err == nil; {
		var n, kept int
		most := min(left, bufferSize) // no more, because a stream goes on beyond the claim
		n, err = rep.pace.Read(rep.ctx, rep.Body, c.buf.space(int(most)))
		kept, left = c.Received(n, time.Now())
		got += int64(kept)
		j.receive(rep, int64(n))
		j.progress.held.Add(int64(kept))
		if j.version.Size < 0 && (err == nil || err == io.EOF) {
			err = cmp.Or(checkArrived(j.progress.held.Load(), j.req.MaxSize), err)
		}
		if left == 0 && err == nil {
			left, err = c.extend(rep)
		}
		full := c.buf.filled(kept)
		if full || left == 0 || err != nil {
			if err := c.buf.flush(); err != nil {
				return got, failure.Permanent(err)
			}
		}
	}
	switch {
	case err == nil || err == io.EOF && c.Remaining().Empty():
		return got, nil
	case err == io.EOF:
		return got, io.EOF
	}
	if stop, ok := stopCause(rep.ctx); ok {
		return got, stop
	}
	return got, failure.ExplainBody(err)
}

// extend adds to the claim the bytes of the open body behind it. It waits while the body must
// stay open because no other request may get these bytes.
func (c *conn) extend(rep *reply) (left int64, err error) {
	left, wait := c.Extend(time.Now())
	for wait && err == nil {
		err = sleep(rep.ctx, extendInterval)
		left, wait = c.Extend(time.Now())
	}
	return left, err
}

// closeReply closes rep. It first reads the rest of the body, if that is little, so that the
// connection can be used again, and reports whether it can. More than maxDrain bytes are read only
// if they are most likely on their way already; a timer limits that to a few round trips. err is the error of copy.
func (c *conn) closeReply(rep *reply, err error) (reusable bool) {
	defer rep.close()
	if err != nil {
		return false
	}
	j := c.t.download
	left := rep.Range.End - c.Remaining().End
	if left > rep.pace.MaxDrain(maxDrain) {
		n, in := c.InFlight(time.Now())
		if left > rep.pace.MaxDrain(n) {
			return false
		}
		defer time.AfterFunc(in, func() { rep.cancel(errDrained) }).Stop()
	}
	n, err := io.CopyN(io.Discard, j.paced(rep.ctx, rep), left+1) // one more, to meet the end
	if n > left && j.progress.surplus.CompareAndSwap(false, true) {
		j.emit(Event{Kind: Warning, Err: fmt.Errorf("%w: the body has more bytes than %s", errLie, response.FormatRange(rep.Range))})
	}
	return err == io.EOF
}

// stepDown takes the connection out of the transfer because of err, if others go on.
func (c *conn) stepDown(err error) bool {
	left, ok := c.StepDown()
	if ok {
		c.host().Refused(time.Now())
		c.t.emit(Event{Kind: Limited, Conns: left, Err: err})
	}
	return ok
}

// others reports whether the transfer goes on while this connection pauses: over another
// connection, of the same mirror if it is one of a mirror.
func (c *conn) others() bool {
	if c.mirror() != nil {
		return c.t.sched.Conns(c.Source()) > 1
	}
	return c.t.conns() > 1
}
