package downloader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/response"
)

// stream fetches a file from a server without ranges: one response from byte 0 to the end of
// the file. If it breaks off, the next response is compared with the written bytes, so that the
// file ends as one version whatever the server sends.
func (c *conn) stream(ctx context.Context, rep *reply) error {
	defer c.close()
	j := c.t.asker
	for {
		worth := j.progress.highWater.Load() + bytesPerTry
		err := c.streamOnce(ctx, rep)
		rep.close()
		c.Release()
		var again restartError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case failure.IsPermanent(err), errors.As(err, &again):
			return err
		}
		if j.progress.highWater.Load() < worth || errors.Is(err, failure.ErrTrickle) { // receiving the same bytes again is no progress
			if err := j.pause(ctx, c, err); err != nil {
				return err
			}
		}
		if rep, err = j.ask(ctx, c, chunk.Range{}); err != nil {
			return err
		}
	}
}

// streamOnce reads one body from byte 0: first the held bytes, then the rest.
func (c *conn) streamOnce(ctx context.Context, rep *reply) error {
	if err := c.compareWithHeld(ctx, rep); err != nil {
		return err
	}
	if !c.Next(time.Now()) {
		return nil
	}
	r := c.Remaining()
	c.buf.seek(r.Off)
	got, err := c.copy(ctx, rep)
	switch {
	case err == io.EOF && r.End == chunk.Unbounded:
		return c.t.sched.EndAt(r.Off + got)
	case err != nil:
		return failure.ExplainBody(noEOF(err))
	case rep.Range.End == chunk.Unbounded && r.End != chunk.Unbounded:
		if n, _ := io.ReadFull(rep.Body, make([]byte, 1)); n > 0 {
			return restartError{why: "it is longer than it was"}
		}
	}
	return nil
}

// compareWithHeld compares the held bytes with the body of rep, a whole file. From the first difference
// on, the held bytes are discarded, and the download is of the version of rep. compareWithHeld leaves the
// body at the first missing byte.
//
// The steps must be in this order: the pieces that a crash may have damaged are verified first,
// because damage would look like a change of the remote file; the version is adopted last, because
// the record must not name it while bytes of another version are held.
func (c *conn) compareWithHeld(ctx context.Context, rep *reply) error {
	t := c.t
	body := t.paced(ctx, rep)
	if s := t.file.stream; s != nil {
		same, err := s.hasSameBytes(body)
		if err != nil {
			return failure.ExplainBody(noEOF(err))
		}
		if !same {
			return errOtherBytes
		}
		return nil
	}
	if lost, err := t.verifyPart(ctx); err != nil {
		return err
	} else if lost > 0 { // otherwise damage of the part file would look like a change of the remote file
		return errDamaged
	}
	held := t.sched.Snapshot().Prefix
	same, rest, err := c.compareHeld(body, held)
	if err != nil {
		return err
	}
	all := t.file.held()
	if beyond := all.Len() - held; beyond > 0 {
		if err := c.dropBeyond(rep.Version, held, beyond, same == held); err != nil {
			return err
		}
	}
	if same < held {
		if t.version.IsSubstitute(rep.Version) {
			return errSubstitute
		}
		if err := c.discardFrom(same, held); err != nil {
			return err
		}
		rep.Body = readCloser{io.MultiReader(bytes.NewReader(rest), rep.Body), rep.Body}
		t.receive(rep, -int64(len(rest))) // they are counted again when they are read
	}
	size := t.version.Size
	if t.version.Version = rep.Version; t.version.Size < 0 {
		t.version.Size = size
	}
	if err := t.adopt(rep.Version, rep.Whole); err != nil {
		return err
	}
	return t.announce()
}

// dropBeyond discards the held bytes beyond the first gap, because a stream brings them again.
// held is the length of the prefix that was compared, beyond the number of bytes behind it, and
// same reports whether the whole prefix was the same. If there is no prefix, no byte could be
// compared, and the version v of the server must not contradict the held bytes.
func (c *conn) dropBeyond(v response.Version, held, beyond int64, same bool) error {
	t := c.t
	if held == 0 {
		switch differs := t.version.Differs(v); {
		case t.version.IsSubstitute(v):
			return errSubstitute
		case t.file.moved:
			return restartError{why: "the server sends it only from the start, and no byte there is held"}
		case differs != "" && t.req.Existing.FailOnChange:
			return restartError{why: differs}
		}
	}
	if !same {
		return nil
	}
	t.emit(Event{Kind: Warning, Err: fmt.Errorf("the server sends it from the start only; %d held bytes are fetched again", beyond)})
	if err := t.file.part.DiscardFrom(held); err != nil {
		return failure.Permanent(err)
	}
	t.progress.setHeld(held)
	return nil
}

// discardFrom discards the held bytes from off on, because the server has others.
func (c *conn) discardFrom(off, held int64) error {
	t := c.t
	if t.file.moved || t.req.Existing.FailOnChange {
		return errOtherBytes
	}
	t.emit(Event{Kind: Restarted, Held: held - off, Err: errOtherBytes})
	if err := t.file.part.DiscardFrom(off); err != nil {
		return failure.Permanent(err)
	}
	t.sched.Lose(off)
	t.discarded = true
	t.progress.setHeld(off)
	return nil
}

// compareHeld compares the first held bytes of the file with body. It returns how many are the
// same, and the bytes of body that it has read beyond them: the caller must put them back in front
// of the body. If the size of the file is unknown, the body may end earlier than the held bytes.
func (c *conn) compareHeld(body io.Reader, held int64) (same int64, rest []byte, err error) {
	t := c.t
	got, have := make([]byte, compareBytes), make([]byte, compareBytes)
	for same < held {
		n, err := readFull(body, got[:min(compareBytes, held-same)])
		if _, err := t.file.part.ReadAt(have[:n], same); err != nil && !errors.Is(err, io.EOF) {
			return 0, nil, failure.Permanent(err)
		}
		for i := range n {
			if got[i] != have[i] {
				return same + int64(i), got[i:n], nil
			}
		}
		same += int64(n)
		switch {
		case err == nil:
		case err == io.EOF && t.version.Size < 0: // the file is shorter now
			return same, nil, nil
		default:
			return 0, nil, failure.ExplainBody(noEOF(err))
		}
	}
	return same, nil, nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

// readFull is io.ReadFull, except that it returns the body's own error: only io.EOF is an end.
func readFull(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var k int
		k, err = r.Read(b[n:])
		n += k
	}
	if n == len(b) {
		err = nil
	}
	return n, err
}
