package downloader

// This file is about mirrors: other URLs of a file that are used beside the one
// asked, once it is proven that they have the same bytes.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/store"
)

const (
	mostMirrors = 8                      // that are used or proven at once
	mostLinked  = 64                     // mirrors, beyond which none is taken from a server
	mirrorTries = 3                      // failures in a row, after which one is put aside
	mirrorWorth = 300 * time.Millisecond // what is done sooner needs no mirror
	mirrorLook  = 50 * time.Millisecond  // between two looks whether it is worth one
)

// A mirror is another URL of the file of a job. It lives as long as the job.
type mirror struct {
	url *url.URL
	namer
	ended chan struct{} // closed when it is put aside

	mu    sync.Mutex
	host  *host         // where it led; guarded by mu, like all that follows
	id    identity      // as it calls the version
	gave  chunk.Set     // written since the file was begun
	sums  *chunk.Pieces // of these bytes; nil before m is admitted
	fails int           // in a row
	aside error         // why it is not used any more
}

// errUntrusted says that a mirror must not be mixed with the URL asked.
var errUntrusted = errors.New("it is http and the file is https, and no digest is known that proves what it sends")

// errAside is the cause of a request to a mirror that is not used any more.
var errAside = errors.New("the mirror is put aside")

// addMirrors makes URLs that somebody has named mirrors, but those that are known.
func (j *job) addMirrors(by namer, texts ...string) {
	for _, text := range texts {
		if !by.given && len(j.mirrors) >= mostLinked {
			return
		}
		u, err := parseURL(text)
		if err != nil || !by.given && j.asked.Scheme == "https" && u.Scheme != "https" {
			continue
		}
		if typed := by.given && j.req.ListEntry == nil; !typed && j.d.opts.Follow.CheckScheme(u.Scheme) != nil {
			continue
		}
		u.User = nil
		known := u.String() == j.asked.String()
		for _, m := range j.mirrors {
			known = known || u.String() == m.url.String()
		}
		if !known {
			j.mirrors = append(j.mirrors, &mirror{url: u, namer: namer{by.given, by.public || j.req.isPublic(u)}, ended: make(chan struct{})})
		}
	}
}

// useMirrors proves the mirrors and lets the pool use those that have the file.
func (j *job) useMirrors(ctx context.Context) error {
	var group errgroup.Group
	group.SetLimit(mostMirrors)
	for _, m := range j.mirrors {
		if !j.proves() && j.asked.Scheme == "https" && m.url.Scheme != "https" {
			j.putAside(m, errUntrusted)
			continue
		}
		group.Go(func() error {
			for m.reason() == nil && ctx.Err() == nil && !j.pool.worthMirror(time.Now()) {
				sleep(ctx, mirrorLook)
			}
			if m.reason() != nil || ctx.Err() != nil {
				return nil
			}
			if err := j.proveMirror(ctx, m); err != nil && ctx.Err() == nil {
				j.putAside(m, err)
			} else if err == nil {
				if err := j.admit(m); err != nil {
					return err
				}
				select { // it keeps its place
				case <-m.ended:
				case <-ctx.Done():
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// admit lets the pool use m, which is proven. What is mixed without a promise that
// all is equal is on record before.
func (j *job) admit(m *mirror) error {
	if !j.proves() && !j.part.Record().Mixed {
		if err := j.part.Update(func(r *store.Record) { r.Mixed = true }); err != nil {
			return failure.Permanent(err)
		}
	}
	m.mu.Lock()
	if m.sums == nil {
		m.sums = chunk.NewPieces(j.part.PieceSums().Length())
	}
	m.mu.Unlock()
	j.d.recall(m.host)
	j.pool.addLane(m)
	return nil
}

// givenMirrors returns the URLs of the mirrors that the user gave.
func (j *job) givenMirrors() (urls []string) {
	for _, m := range j.mirrors {
		if m.given {
			urls = append(urls, m.url.String())
		}
	}
	return urls
}

// proveMirror returns nil if m seems to have the version that the job has bytes of: the
// size is the same, and so are the first bytes that are held. If no digest is verified at
// the end, the last ones, some at random, and the end of the file are compared too. That
// shows another version; it does not show a mirror that answers samples correctly and
// alters the rest. What m says of its own bytes, by an ETag or a digest, proves nothing.
func (j *job) proveMirror(ctx context.Context, m *mirror) error {
	m.mu.Lock()
	m.id, m.host = identity{size: -1}, j.d.host(m.url)
	m.mu.Unlock()
	all := append(samples(j.pool.held()), chunk.Range{Off: max(0, j.id.size-sampleBytes), End: j.id.size})
	for !m.host.enterMore(time.Now()) {
		if err := sleep(ctx, mirrorLook); err != nil {
			return err
		}
	}
	defer m.host.leave()
	for i, r := range all {
		got, err := j.mirrorBytes(ctx, m, r)
		if err != nil {
			return err
		}
		want, err := j.ownBytes(ctx, r)
		if err != nil {
			if i == len(all)-1 { // the end, which is not held yet, and nobody tells
				continue
			}
			return err
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("%w: it has other %s", failure.ErrChanged, span(r))
		}
		if j.proves() {
			return nil
		}
	}
	return nil
}

// mirrorBytes fetches r from m.
func (j *job) mirrorBytes(ctx context.Context, m *mirror, r chunk.Range) ([]byte, error) {
	rep, err := j.askMirrorOnce(ctx, m, nil, r)
	if err != nil {
		return nil, err
	}
	defer rep.close()
	got := make([]byte, r.Len())
	if _, err := io.ReadFull(pacedReader{ctx, j, rep.Body}, got); err != nil {
		return nil, failure.ExplainBody(noEOF(err))
	}
	return got, nil
}

// ownBytes returns r as the job has it, or else as the URL asked has it.
func (j *job) ownBytes(ctx context.Context, r chunk.Range) ([]byte, error) {
	want := make([]byte, r.Len())
	if held := j.pool.held(); held.Contains(r) {
		_, err := j.part.ReadAt(want, r.Off)
		return want, err
	}
	if !j.host.enterMore(time.Now()) {
		return nil, errCrowded
	}
	defer j.host.leave()
	dest, _ := j.target()
	to := j.first(dest)
	to.judge = func(*http.Response, error) (verdict, error) { return verdict{}, nil }
	rep, err := j.askOnce(ctx, to, nil, r)
	if err != nil {
		return nil, err
	}
	defer rep.close()
	if rep.whole || j.id.differs(rep.id) != "" {
		return nil, errDoubt
	}
	_, err = io.ReadFull(pacedReader{ctx, j, rep.Body}, want)
	return want, err
}

// askMirrorOnce asks m for r, and checks that the answer is of its version.
func (j *job) askMirrorOnce(ctx context.Context, m *mirror, w *worker, r chunk.Range) (*reply, error) {
	if w == nil { // who has a claim does not wait
		if err := sleep(ctx, m.host.held(time.Now())); err != nil {
			return nil, err
		}
	}
	to := target{url: m.url, asked: m.url, host: m.host, public: m.public, judge: func(resp *http.Response, _ error) (verdict, error) {
		if resp != nil {
			j.obeyMirror(m, w, resp)
		}
		return verdict{}, nil
	}}
	if !m.given {
		to.asked = nil
	}
	rep, err := j.askOnce(ctx, to, w, r)
	if err != nil {
		return nil, err
	}
	if err := m.check(j.id, rep); err != nil {
		rep.close()
		return nil, err
	}
	return rep, nil
}

// obeyMirror notes a Retry-After of m, as obey does.
func (j *job) obeyMirror(m *mirror, w *worker, resp *http.Response) {
	now := time.Now()
	d, ok := retryAfter(resp.Header, now)
	if !ok {
		return
	}
	until := now.Add(min(d, j.d.opts.RetryAfterMax))
	if w == nil || j.pool.countOfLane(w) == 1 || resp.StatusCode == http.StatusTooManyRequests && d <= longHold {
		m.host.hold(until)
	} else {
		m.host.holdGrowth(until)
	}
}

// check says what is wrong with an answer of m, where id is the version that is wanted.
func (m *mirror) check(id identity, rep *reply) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	own := identity{size: id.size, etag: m.id.etag, lastModified: m.id.lastModified, media: id.media}
	switch why := own.differs(rep.id); {
	case id.isPage(rep.id):
		return errPage
	case why != "":
		return failure.New(failure.ErrChanged, why)
	case rep.whole:
		return fmt.Errorf("%w: it sends whole files", errLie)
	case id.samePart(rep, rep.asked) != nil:
		return id.samePart(rep, rep.asked)
	}
	if m.id.size < 0 {
		m.id = rep.id
	}
	m.fails = 0
	return nil
}

// askMirror is ask for a worker of a mirror's lane. Where that fails the worker steps
// down, or is one of the URL asked from then on; so it does where m is to be left
// alone for a while, as nobody else could take over its claim meanwhile.
func (j *job) askMirror(ctx context.Context, w *worker, r chunk.Range) (*reply, error) {
	m := w.lane.mirror
	err := error(errAside)
	held := m.host.held(time.Now()) > 0
	if m.reason() == nil && !held {
		var rep *reply
		if rep, err = j.askMirrorOnce(ctx, m, w, r); err == nil {
			return rep, nil
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if errors.Is(err, errSeized) || errors.Is(err, errReplaced) {
		return nil, err
	}
	further := j.pool.countOfLane(w) > 1
	if !held {
		if err := j.mirrorFailed(m, further, err); err != nil {
			return nil, err
		}
	}
	if j.pool.retire(w) {
		if further && !held {
			m.host.refused(time.Now())
		}
		return nil, errSteppedDown
	}
	return j.ask(ctx, w, r)
}

// mirrorFailed notes a failure of m, on a further connection or its only one: that of
// a further one may be its limit, and does not count. One that shows that it has another version, after
// it has given bytes, ends the transfer, so that these can be given up.
func (j *job) mirrorFailed(m *mirror, further bool, err error) error {
	contradicts := errors.Is(err, failure.ErrChanged) || errors.Is(err, failure.ErrPage) || errors.Is(err, errLie)
	m.mu.Lock()
	if !further {
		m.fails++
	}
	tooOften, gave := m.fails >= mirrorTries, m.gave.Len() > 0
	m.mu.Unlock()
	switch {
	case m.reason() != nil:
	case contradicts && gave && errors.Is(err, failure.ErrChanged):
		j.putAside(m, err)
		return restartError{why: fmt.Sprintf("the mirror %s has another version now", RedactURL(m.url.String())), keep: true}
	case contradicts || tooOften || failure.IsPermanent(err):
		j.putAside(m, err)
	case !further:
		m.host.holdGrowth(time.Now().Add(j.d.opts.RetryWait))
	}
	return nil
}

// reason returns why m is put aside, nil if it is not.
func (m *mirror) reason() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.aside
}

// putAside ends the use of m for good, and says so.
func (j *job) putAside(m *mirror, why error) {
	m.mu.Lock()
	known := m.aside != nil && (!errors.Is(why, failure.ErrChanged) || errors.Is(m.aside, failure.ErrChanged)) // that is worse than any other
	if m.aside == nil {
		close(m.ended)
	}
	if !known {
		m.aside = why
	}
	m.mu.Unlock()
	if !known {
		j.pool.dropLane(m)
		j.emit(Event{Kind: Warning, Err: fmt.Errorf("the mirror %s is not used: %w", RedactURL(m.url.String()), why)})
	}
}
