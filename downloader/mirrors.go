package downloader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/response"
	"pawl/downloader/weburl"
	"pawl/store"
)

const (
	// maxActiveMirrors limits the mirrors that a download uses or proves at the same time. A
	// guess; each costs a few connections.
	maxActiveMirrors = 8
	// maxMirrorFailures is how many consecutive failures end the use of a mirror. A guess; one
	// would give up a mirror after a single lost connection.
	maxMirrorFailures = 3
	// mirrorInterval is the time between two checks whether a mirror is worth a connection.
	// Double starts mirrors later by as much.
	mirrorInterval = 50 * time.Millisecond
)

// errUntrusted means that the bytes of a mirror must not be mixed with bytes of the origin.
var errUntrusted = errors.New("it is http and the file is https, and no digest is known that would prove its bytes")

// mirroring is the use of mirrors by a transfer.
type mirroring struct{ *transfer }

// use proves the mirrors, and admits the mirrors that have the file to the transfer.
func (t mirroring) use(ctx context.Context) error {
	var group errgroup.Group
	group.SetLimit(maxActiveMirrors)
	for _, m := range t.mirrors {
		if !t.version.isProvenByDigest() && !t.engine.opts.Follow.HTTP && t.origin.url.Scheme == "https" && m.url.Scheme != "https" {
			m.disable(t.transfer, errUntrusted)
			continue
		}
		group.Go(func() error { return m.use(ctx, t.transfer) })
	}
	return group.Wait()
}

// use proves the mirror when the transfer is worth it, admits it, and returns when it is disabled
// or ctx ends, so that it counts as active until then. An error of the mirror disables it and is
// not returned; only an error of the part file is.
func (m *mirror) use(ctx context.Context, t *transfer) error {
	m.mu.Lock()
	m.version, m.host = response.Version{Size: -1}, t.engine.host(m.url)
	m.mu.Unlock()
	for !m.mayProve(t, time.Now()) {
		if sleep(ctx, mirrorInterval); m.reason() != nil || ctx.Err() != nil {
			return nil
		}
	}
	if proven, err := m.tryOut(ctx, t); !proven {
		return err
	}
	select {
	case <-m.ended:
	case <-ctx.Done():
	}
	return nil
}

// mayProve reports whether the transfer is worth the proof of the mirror now, and counts a connection
// for that.
func (m *mirror) mayProve(t *transfer, now time.Time) bool {
	if m.reason() != nil || !t.sched.BeginProof(now) {
		return false
	}
	if m.host.TryOpen(now) {
		m.proving.Store(true)
		return true
	}
	t.sched.EndProof()
	return false
}

// tryOut proves the mirror and admits it, or disables it, after mayProve. It reports whether the mirror is
// admitted.
func (m *mirror) tryOut(ctx context.Context, t *transfer) (admitted bool, err error) {
	defer func() {
		m.proving.Store(false)
		m.host.Release()
		t.sched.EndProof()
	}()
	if err := m.prove(ctx, t); err != nil {
		if ctx.Err() == nil {
			m.disable(t, err)
		}
		return false, nil
	}
	err = m.admit(t)
	return err == nil, err
}

// admit makes the proven mirror a source of the transfer. If no digest will prove its bytes, the
// record first notes that bytes are mixed.
func (m *mirror) admit(t *transfer) error {
	if !t.version.isProvenByDigest() && !t.file.record().Mixed {
		if err := t.file.part.Update(func(r *store.Record) { r.Mixed = true }); err != nil {
			return failure.Permanent(err)
		}
	}
	m.mu.Lock()
	if m.sums == nil {
		m.sums = chunk.NewPieces(t.file.part.PieceSums().Length())
	}
	m.source = schedSource(m.host, m)
	m.mu.Unlock()
	m.host.Recall(time.Now())
	t.sched.Add(m.source)
	return nil
}

// prove returns nil if the mirror seems to have the version of the held bytes: the same size,
// and the same first bytes. If no digest is verified at the end, the last held bytes, some at
// random, and the end of the file must be the same, too. That shows another version; it does not
// show a mirror that sends correct samples and alters the rest. The ETag or digest that the
// mirror names proves nothing, but a digest that contradicts the wanted one excludes the mirror
// (RFC 6249 §7).
func (m *mirror) prove(ctx context.Context, t *transfer) error {
	all := append(samples(t.sched.Held()), chunk.Range{Off: max(0, t.version.Size-sampleSize), End: t.version.Size})
	for i, r := range all {
		got, err := m.sample(ctx, t, r)
		if err != nil {
			return err
		}
		if t.checksPieces() && !t.pieces.proves(r) { // the origin may be wrong, and each piece is verified
			return nil
		}
		want, err := (mirroring{t}).ownBytes(ctx, r)
		if err != nil {
			if i == len(all)-1 { // the end of the file, which is not held yet, and which the origin did not send
				continue
			}
			return err
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("%w: it has other %s", failure.ErrChanged, response.FormatRange(r))
		}
		if t.version.isProvenByDigest() {
			return nil
		}
	}
	return nil
}

// sample fetches range r from the mirror.
func (m *mirror) sample(ctx context.Context, t *transfer, r chunk.Range) ([]byte, error) {
	if err := sleep(ctx, m.host.PausedFor(time.Now())); err != nil {
		return nil, err
	}
	rep, err := m.askOnce(ctx, t.download, nil, r)
	if err != nil {
		return nil, err
	}
	defer rep.close()
	if err := t.download.denies(rep); err != nil {
		return nil, err
	}
	got := make([]byte, r.Len())
	if _, err := io.ReadFull(t.paced(ctx, rep), got); err != nil {
		return nil, failure.ExplainBody(noEOF(err))
	}
	return got, nil
}

// ownBytes returns range r of the file, from the held bytes or else from the origin. It does not
// wait for a connection to the origin, because the transfer needs all of them.
func (t mirroring) ownBytes(ctx context.Context, r chunk.Range) ([]byte, error) {
	want := make([]byte, r.Len())
	if held := t.sched.Held(); held.Contains(r) {
		_, err := t.file.part.ReadAt(want, r.Off)
		return want, err
	}
	if !t.first.host.TryOpen(time.Now()) {
		return nil, errCrowded
	}
	defer t.first.host.Release()
	rep, err := t.askOnce(ctx, r)
	if err != nil {
		return nil, err
	}
	defer rep.close()
	_, err = io.ReadFull(t.paced(ctx, rep), want)
	return want, err
}

// ask is asker.ask for a connection to the mirror. If the request fails, the connection leaves
// the transfer, and the last one asks the origin from then on. That also happens while the
// mirror wants a pause, because nobody else could fetch the claim of the connection meanwhile.
func (m *mirror) ask(ctx context.Context, c *conn, r chunk.Range) (*reply, error) {
	t := c.t
	err := error(errDisabled)
	paused := m.host.PausedFor(time.Now()) > 0
	if m.reason() == nil && !paused {
		var rep *reply
		if rep, err = m.askOnce(ctx, t.download, c, r); err == nil {
			return rep, nil
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if errors.Is(err, errStolen) || errors.Is(err, errReplaced) {
		return nil, err
	}
	others := c.others()
	if !paused {
		if err := m.failed(t, others, err); err != nil {
			return nil, err
		}
	}
	if c.FallBack() {
		if others && !paused {
			m.host.Refused(time.Now())
		}
		return nil, errSteppedDown
	}
	return t.ask(ctx, c, r)
}

// askOnce requests range r of the file, and checks that the response is of the version of the
// mirror.
func (m *mirror) askOnce(ctx context.Context, j *download, c requester, r chunk.Range) (*reply, error) {
	to := target{url: m.url, asked: m.url, host: m.host, public: m.public, received: &m.received, judge: func(resp *http.Response, _ error) (verdict, error) {
		if resp != nil {
			j.obey(m.host, c, resp)
		}
		return verdict{}, nil
	}}
	if !m.given {
		to.asked = nil
	}
	rep, err := send(ctx, j, to, c, r)
	if err != nil {
		return nil, err
	}
	if err := m.check(j.version.Version, rep.Content); err != nil {
		rep.close()
		return nil, err
	}
	return rep, nil
}

// failed notes a failure. With others, it was one of several connections, and may only show a
// limit of the mirror. If a mirror that has sent bytes shows another version now, the error
// ends the transfer, so that these bytes can be discarded.
func (m *mirror) failed(t *transfer, others bool, err error) error {
	changed := errors.Is(err, failure.ErrChanged)
	contradicts := changed || errors.Is(err, failure.ErrPage) || errors.Is(err, errLie)
	m.mu.Lock()
	if !others {
		m.failures++
	}
	tooOften, hasSent := m.failures >= maxMirrorFailures, m.written.Len() > 0
	m.mu.Unlock()
	switch {
	case m.reason() != nil:
	case changed && hasSent:
		m.disable(t, err)
		return restartError{why: fmt.Sprintf("the mirror %s has another version now", weburl.Redact(m.url.String())), keep: true}
	case contradicts || tooOften || failure.IsPermanent(err):
		m.disable(t, err)
	case !others:
		m.host.PauseOpening(time.Now().Add(t.engine.opts.Retry.Wait))
	}
	return nil
}

// disable ends the use of the mirror for the rest of the download, and reports why. Another
// version is the gravest reason, and replaces any other.
func (m *mirror) disable(t *transfer, why error) {
	m.mu.Lock()
	known := m.disabled != nil && (!errors.Is(why, failure.ErrChanged) || errors.Is(m.disabled, failure.ErrChanged))
	if m.disabled == nil {
		close(m.ended)
	}
	if !known {
		m.disabled = why
	}
	source := m.source
	m.mu.Unlock()
	if !known {
		t.sched.Remove(source)
		t.emit(Event{Kind: Warning, Err: fmt.Errorf("the mirror %s is not used: %w", weburl.Redact(m.url.String()), why)})
	}
}

// discardUnproven discards the bytes of mirrors that have shown another version. It reports
// whether there were any. No connection may be left in the transfer, because a connection that
// still writes could note bytes of the mirror after they were forgotten.
func (t mirroring) discardUnproven() (bool, error) {
	var lost chunk.Set
	for _, m := range t.mirrors {
		m.mu.Lock()
		if errors.Is(m.disabled, failure.ErrChanged) {
			for r := range m.written.All() {
				lost.Add(r)
			}
			m.forget()
		}
		m.mu.Unlock()
	}
	if lost.Len() == 0 {
		return false, nil
	}
	t.emit(Event{Kind: Lost, Held: lost.Len()})
	if err := t.file.part.Discard(lost); err != nil {
		return true, failure.Permanent(err)
	}
	held := t.file.held()
	t.progress.setHeld(held.Len())
	return true, nil
}

// checkSamples compares samples of the bytes of each mirror with the origin, unless a
// digest proves all bytes. A mirror that has sent other bytes is disabled. If the origin cannot
// be asked any more, that proves nothing, and is no error.
func (t mirroring) checkSamples(ctx context.Context) error {
	if t.version.isProvenByDigest() {
		return nil
	}
	written := make(map[*mirror]chunk.Set)
	for _, m := range t.mirrors {
		m.mu.Lock()
		if m.written.Len() > 0 {
			written[m] = m.written.Clone()
		}
		m.mu.Unlock()
	}
	if len(written) == 0 {
		return nil
	}
	asking, cancel := t.samplesTimeout(ctx, randomSamples*len(written))
	defer cancel()
	if t.acquireFirst(asking, t.first.host) != nil {
		return context.Cause(ctx)
	}
	defer t.first.release()
	for m, set := range written {
		for range randomSamples {
			r := rangeAfter(set, rand.Int64N(max(1, set.Len()-sampleSize)), sampleSize)
			if err := t.proveSample(asking, r, t.file.part); errors.Is(err, errOtherBytes) {
				m.disable(t.transfer, fmt.Errorf("%w: it sent other bytes", failure.ErrChanged))
			} else if err != nil {
				return context.Cause(ctx)
			}
		}
	}
	return context.Cause(ctx)
}
