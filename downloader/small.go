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

const (
	groupMost  = 256                    // files that are made durable together, at most
	groupGood  = 64                     // of so many, each costs little: nothing more is waited for
	groupRest  = 10 * time.Millisecond  // at the least between two groups, for one to gather
	groupShare = 3                      // a group is followed by a rest of this many times its own length
	groupWait  = 250 * time.Millisecond // the longest of these rests
)

// A placer makes groups of small files durable: whoever comes while no group is
// under way leads one, of all that wait by then, and those that come meanwhile
// make the next. Safe for concurrent use.
type placer struct {
	store *store.Store

	mu      sync.Mutex
	waiting []placing     // guarded by mu
	leading bool          // a group is under way; guarded by mu
	good    chan struct{} // of capacity 1, told that a good group waits
	next    time.Time     // when the next group may go; of the leader
}

// A placing is one file that waits for its group.
type placing struct {
	file *store.Unnamed
	done chan error // of capacity 1; errLead makes its owner the next leader
}

// errLead tells one that waits to lead the next group, its own file among it.
var errLead = errors.New("lead the next group")

// place returns when the file is durable, on record and in its place, or why it
// is not. It closes the file.
func (p *placer) place(u *store.Unnamed) error {
	me := placing{u, make(chan error, 1)}
	p.mu.Lock()
	p.waiting = append(p.waiting, me)
	if len(p.waiting) == groupGood {
		select {
		case p.good <- struct{}{}:
		default:
		}
	}
	lead := !p.leading
	p.leading = true
	p.mu.Unlock()
	if !lead {
		if err := <-me.done; err != errLead {
			return err
		}
	}
	p.lead()
	return <-me.done
}

// lead places those that wait, the caller's file first, and passes the lead on.
func (p *placer) lead() {
	p.gather()
	p.mu.Lock()
	n := min(len(p.waiting), groupMost)
	group := p.waiting[:n:n]
	p.waiting = p.waiting[n:]
	p.mu.Unlock()
	files := make([]*store.Unnamed, n)
	for i, w := range group {
		files[i] = w.file
	}
	begun := time.Now()
	for i, err := range p.store.Place(files) {
		group[i].done <- err
	}
	p.next = time.Now().Add(min(max(groupRest, groupShare*time.Since(begun)), groupWait))
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leading = len(p.waiting) > 0; p.leading {
		p.waiting[0].done <- errLead
	} else {
		p.waiting = nil
	}
}

// gather waits until a group is worth its while.
func (p *placer) gather() {
	p.mu.Lock()
	good := len(p.waiting) >= groupGood
	p.mu.Unlock()
	if good {
		return
	}
	timer := time.NewTimer(time.Until(p.next))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.good:
	}
}

// small returns a file for the answer rep to go to, nil if it is not a small
// one, or cannot be without a name.
func (j *job) small(rep *reply) (*store.Unnamed, error) {
	size := rep.id.size
	if j.req.Listed == nil || j.brokeOff || j.part != nil || rep.coding != "" || size < 0 || size > smallMost || rep.body != (chunk.Range{End: size}) {
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
		URL: j.shown, Target: target, Named: true, NoRanges: rep.whole, List: j.req.Listed.List,
		ETag: rep.id.etag, LastModified: rep.id.lastModified, Type: rep.id.media,
		Sum: j.req.Sum, Replace: j.req.Overwrite, ModTime: j.modTime(rep.id),
	}
	j.show(store.Record{Target: target, Size: size})
	u, err := j.d.store.Unnamed(rec)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, nil
	}
	return u, err
}

// fits says that a version cannot be what the list wants.
func (j *job) fits(id identity) error {
	if l := j.req.Listed; l != nil && l.Size >= 0 && id.size >= 0 && l.Size != id.size {
		return kindError{fmt.Errorf("the list says that it has %d bytes, and the server that it has %d", l.Size, id.size), ErrChecksum}
	}
	return nil
}

// modTime is what the finished file's modification time is to be, zero for now.
func (j *job) modTime(id identity) time.Time {
	if t, err := http.ParseTime(id.lastModified); err == nil && !j.d.opts.NoRemoteTime {
		return t
	}
	return time.Time{}
}

// fetchSmall reads rep into u and places it. A body that breaks off is asked for
// again from its start, into a part file: the server may do so each time.
func (j *job) fetchSmall(ctx context.Context, rep *reply, u *store.Unnamed) error {
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
	if released := j.req.Listed.Released; released != nil {
		released()
	}
	if err := j.d.placer.place(u); err != nil {
		return err
	}
	j.show(u.Record())
	j.crc = u.Record().CRC
	return nil
}

// readSmall reads and checks the body of rep.
func (j *job) readSmall(ctx context.Context, rep *reply, u *store.Unnamed) error {
	var sum hash.Hash
	to := io.Writer(localWriter{u})
	if !j.req.Sum.IsZero() {
		sum = j.req.Sum.NewHash()
		to = io.MultiWriter(to, sum)
	}
	buf := buffers.Get().(*buffer)
	defer buffers.Put(buf)
	n, err := io.CopyBuffer(to, counted{j, pacedReader{ctx, j, io.LimitReader(rep.Body, rep.id.size)}}, buf.b)
	if err == nil && n < rep.id.size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return explainBody(err)
	}
	if sum != nil && !j.req.Sum.Matches(sum) {
		return fmt.Errorf("%w: it should be %s and is %s", ErrChecksum, j.req.Sum, j.req.Sum.Of(sum))
	}
	io.Copy(io.Discard, io.LimitReader(rep.Body, 1)) // meets the end, so that the connection is free
	return nil
}

// localWriter makes the errors of its file permanent ones.
type localWriter struct{ u *store.Unnamed }

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
