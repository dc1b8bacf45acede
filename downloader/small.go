package downloader

// This file is about small files of lists: each is one answer, kept without a name
// until a group of them is made durable together.

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"sync"
	"time"

	"pawl/chunk"
	"pawl/store"
)

// smallMost is how many bytes a small file may have: it is not worth several
// connections, and a crash loses all of it.
const smallMost = 256 << 10

// smallBuffers are for many files at once, so that they stay in the processor's cache.
var smallBuffers = sync.Pool{New: func() any { b := make([]byte, smallMost/4); return &b }}

// small returns a file for the answer rep to go to, nil if it is not a small
// one, or cannot be without a name.
func (j *job) small(rep *reply) (*store.TempFile, error) {
	size := rep.id.size
	if j.req.ListEntry == nil || j.brokeOff || j.part != nil || rep.coding != "" || size < 0 || size > smallMost || rep.body != (chunk.Range{End: size}) {
		return nil, nil
	}
	if err := j.fits(rep.id); err != nil {
		return nil, err
	}
	target, err := absTarget(j.req.Dir, j.req.Output)
	if err != nil {
		return nil, err
	}
	rec := store.Record{
		URL: j.recorded, Target: target, Named: true, NoRanges: rep.whole, Lists: j.req.ListEntry.Lists,
		ETag: rep.id.etag, LastModified: rep.id.lastModified, Type: rep.id.media,
		Sum: j.req.Sum, Replace: j.req.Overwrite, ModTime: j.modTime(rep.id),
	}
	j.id.size = size
	j.show(store.Record{Target: target, Size: size})
	u, err := j.d.store.CreateTemp(rec)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, nil
	}
	return u, err
}

// fits says that a version cannot be what the list wants.
func (j *job) fits(id identity) error {
	if l := j.req.ListEntry; l != nil && l.Size >= 0 && id.size >= 0 && l.Size != id.size {
		return kindError{fmt.Errorf("the list says that it has %d bytes, and the server that it has %d", l.Size, id.size), ErrChecksum}
	}
	return nil
}

// modTime is what the finished file's modification time is to be, zero for now.
func (j *job) modTime(id identity) time.Time {
	if t, err := http.ParseTime(id.lastModified); err == nil && !j.d.opts.NoRemoteTime && isCredible(t, time.Now()) {
		return t
	}
	return time.Time{}
}

// clockError is how far the clock of a server may be ahead of ours: a day, as servers that
// take their local time for UTC are up to 14 hours off. Half of it refuses some of these.
const clockError = 24 * time.Hour

// isCredible reports whether a file may have been modified at t. Servers without a date
// send 1601 or 9999, which file systems and the record cannot hold.
func isCredible(t, now time.Time) bool {
	return t.Unix() >= 0 && t.Before(now.Add(clockError))
}

// fetchSmall reads rep into u and places it. A body that breaks off is asked for
// again from its start, into a part file: the server may do so each time.
func (j *job) fetchSmall(ctx context.Context, rep *reply, u *store.TempFile) error {
	err := j.readSmall(ctx, rep, u)
	rep.close()
	j.leave()
	if err != nil {
		u.Close()
		if isPermanent(err) || ctx.Err() != nil || errors.Is(err, ErrChecksum) {
			return errors.Join(context.Cause(ctx), err)
		}
		j.have.Store(0)
		j.brokeOff = true
		wait, again := j.setback(err)
		if !again {
			return err
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
		return restartError{why: "its body broke off", keep: true}
	}
	if released := j.req.ListEntry.Released; released != nil {
		released()
	}
	if err := j.d.store.Publish(u); err != nil {
		return err
	}
	j.show(u.Record())
	j.crc = u.Record().CRC
	return j.blame()
}

// readSmall reads and checks the body of rep.
func (j *job) readSmall(ctx context.Context, rep *reply, u *store.TempFile) error {
	var sum hash.Hash
	to := io.Writer(localWriter{u})
	if !j.sum.IsZero() {
		sum = j.sum.NewHash()
		to = io.MultiWriter(to, sum)
	}
	buf := smallBuffers.Get().(*[]byte)
	defer smallBuffers.Put(buf)
	n, err := io.CopyBuffer(to, counted{j, pacedReader{ctx, j, io.LimitReader(rep.Body, rep.id.size)}}, *buf)
	if err == nil && n < rep.id.size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return explainBody(err)
	}
	if sum != nil && !j.sum.Matches(sum) {
		return j.mismatched(j.sum.Of(sum))
	}
	io.Copy(io.Discard, io.LimitReader(rep.Body, 1)) // meets the end, so that the connection is free
	return nil
}

// localWriter makes the errors of its file permanent ones.
type localWriter struct{ u *store.TempFile }

func (w localWriter) Write(b []byte) (int, error) {
	n, err := w.u.Write(b)
	if err != nil {
		err = permanentError{err}
	}
	return n, err
}

// counted shows what is read as progress.
type counted struct {
	j *job
	r io.Reader
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.j.have.Add(int64(n))
	return n, err
}
