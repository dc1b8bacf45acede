package downloader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/response"
	"pawl/downloader/weburl"
)

// pieceChecking verifies the pieces of a transfer as soon as they are complete. A wrong piece is
// discarded and fetched again, from a source that has sent nothing of it if there is one. Then both
// copies are compared, which shows the sources of the wrong bytes. In a single stream, which may discard
// bytes and change the version itself, that happens when the stream has ended.
type pieceChecking struct {
	*transfer
	size  int64 // of the file
	align int64 // length of the pieces of the part file
}

// pieceChecking returns the verification of the pieces of the part file.
func (t *transfer) pieceChecking() pieceChecking {
	return pieceChecking{t, t.version.Size, t.file.part.PieceSums().Length()}
}

// loop verifies pieces until serving ends, which is part of ctx. A piece that is being fetched again
// then is finished first: half of it would be on disk, and not on record.
func (t pieceChecking) loop(ctx, serving context.Context) error {
	for sleep(serving, followInterval) == nil {
		if err := t.follow(ctx, serving); err != nil {
			return err
		}
	}
	return nil
}

// finish verifies the pieces of a complete file that are not proven yet. Since the last commit of
// the transfer it may have fetched some again, so it commits.
func (t pieceChecking) finish(ctx context.Context) error {
	if t.discarded {
		t.pieces.keep(chunk.Set{}, t.size)
	}
	if err := t.follow(ctx, ctx); err != nil {
		return err
	}
	if err := t.commits.commit(); err != nil {
		return failure.Permanent(err)
	}
	return nil
}

// follow verifies the complete pieces that are not proven, one after another until serving ends.
func (t pieceChecking) follow(ctx, serving context.Context) error {
	for t.pieces.use(t.size) && serving.Err() == nil {
		piece := t.pieces.next(t.sched.Held(), t.align, t.size)
		if piece.Empty() {
			break
		}
		if err := t.verify(ctx, piece); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// verify verifies one piece, and replaces it if it is wrong.
func (t pieceChecking) verify(ctx context.Context, piece chunk.Range) error {
	want := t.pieces.hashes.Sum(piece.Off)
	got, err := digestOfPiece(t.file.part, piece, want)
	if err != nil {
		return err
	}
	if got == want {
		return t.settle(piece)
	}
	w := t.pieces.wrong[piece.Off]
	if w == nil {
		if w, err = t.newWrongPiece(piece); err != nil {
			return err
		}
	}
	if w.counted <= w.failures {
		w.counted = w.failures + 1
		if from := t.sharesBySource(piece); len(from) == 1 && w.wrongAgain(from[0].name, got) && w.failures > 0 {
			return t.giveUp(w, got)
		}
	}
	return t.replace(ctx, w)
}

// settle notes that a piece is right, and names the sources of its wrong copy, if there was one.
func (t pieceChecking) settle(piece chunk.Range) error {
	w := t.pieces.wrong[piece.Off]
	if w != nil {
		for _, s := range w.sources {
			sum, err := t.file.part.SumOf(s.bytes, t.pieces.hashes.Length())
			if err != nil {
				return failure.Permanent(err)
			}
			if sum != s.sum {
				t.blame(s, piece)
			}
		}
		for _, m := range append(slices.Clone(t.mirrors), nil) {
			if name := t.nameOf(m); len(w.seen[name]) > 0 {
				t.blame(pieceShare{mirror: m, name: name}, piece)
			}
		}
		delete(t.pieces.wrong, piece.Off)
	}
	t.pieces.prove(piece)
	return nil
}

// blame reports a source of wrong bytes. A mirror is not used any more.
func (t pieceChecking) blame(s pieceShare, piece chunk.Range) {
	if s.mirror != nil {
		s.mirror.disable(t.transfer, wrongBytesError{response.FormatRange(piece)})
		return
	}
	if !t.pieces.warned {
		t.pieces.warned = true
		t.emit(Event{Kind: Warning, Err: fmt.Errorf("wrong bytes came from %s (%s); such pieces are replaced", s.name, response.FormatRange(piece))})
	}
}

// newWrongPiece notes that a piece is wrong, with the sources that have sent it.
func (t pieceChecking) newWrongPiece(piece chunk.Range) (*wrongPiece, error) {
	w := &wrongPiece{Range: piece, sources: t.sharesBySource(piece)}
	for i := range w.sources {
		s := &w.sources[i]
		var err error
		if s.sum, err = t.file.part.SumOf(s.bytes, t.pieces.hashes.Length()); err != nil {
			return nil, failure.Permanent(err)
		}
	}
	if t.pieces.wrong == nil {
		t.pieces.wrong = make(map[int64]*wrongPiece)
	}
	t.pieces.wrong[piece.Off] = w
	return w, nil
}

// sharesBySource divides the bytes of a piece by the sources that have sent them: mirrors, an earlier run, or
// else the origin.
func (t pieceChecking) sharesBySource(piece chunk.Range) (all []pieceShare) {
	rest := chunk.NewSet(piece)
	take := func(m *mirror, name string, sent chunk.Set) {
		in := within(sent, piece)
		for r := range in.All() {
			rest.Remove(r)
		}
		if in.Len() > 0 {
			all = append(all, pieceShare{mirror: m, name: name, bytes: in})
		}
	}
	for _, m := range t.mirrors {
		m.mu.Lock()
		sent := m.written.Clone()
		m.mu.Unlock()
		take(m, weburl.Redact(m.url.String()), sent)
	}
	take(nil, "an earlier run", t.file.earlierRun().bytes)
	take(nil, weburl.Redact(t.origin.recorded), rest.Clone())
	return all
}

// within returns the ranges of s in r.
func within(s chunk.Set, r chunk.Range) chunk.Set {
	in := s.Clone()
	in.Remove(chunk.Range{End: r.Off})
	in.Remove(chunk.Range{Off: r.End, End: chunk.Unbounded})
	return in
}

// replace fetches a wrong piece again, from one source after another until it is right. If all have the
// same wrong bytes, it gives up.
func (t pieceChecking) replace(ctx context.Context, w *wrongPiece) error {
	want := t.pieces.hashes.Sum(w.Off)
	var last chunk.Sum // of a piece that is there, and wrong
	hopeless := false
	for _, m := range t.candidates(w) {
		if err := t.discard(w.Range); err != nil {
			return err
		}
		last = chunk.Sum{}
		got, err := t.fetchPiece(ctx, m, w.Range, want)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, new(localError)):
			return err
		case err != nil:
			continue
		case got == want:
			return t.settle(w.Range)
		}
		last = got
		hopeless = w.wrongAgain(t.nameOf(m), got) || hopeless
	}
	if hopeless && !last.IsZero() {
		return t.giveUp(w, last)
	}
	if err := t.discard(w.Range); err != nil {
		return err
	}
	w.failures++
	return t.pieces.failed(w.Range)
}

// candidates returns the sources of a piece in the order in which they are asked, nil for the origin:
// first the ones that have sent other bytes, then mirrors that nobody has asked yet, and then the ones that
// have sent bytes of the wrong piece.
func (t pieceChecking) candidates(w *wrongPiece) (all []*mirror) {
	rank := func(m *mirror) int {
		switch {
		case slices.ContainsFunc(w.sources, func(s pieceShare) bool { return s.name == t.nameOf(m) }):
			return 2
		case m == nil || m.isAdmitted():
			return 0
		}
		return 1
	}
	for _, m := range t.mirrors {
		if m.reason() == nil {
			all = append(all, m)
		}
	}
	byRank := func(a, b *mirror) int { return cmp.Compare(rank(a), rank(b)) }
	slices.SortStableFunc(all, byRank)
	all = append(all[:min(len(all), maxActiveMirrors)], nil) // each may be dead, and take its time
	slices.SortStableFunc(all, byRank)
	return append(all, nil, nil) // the bytes of the origin may have been damaged on their way
}

// nameOf returns the URL of a source for messages; nil is the origin.
func (t pieceChecking) nameOf(m *mirror) string {
	if m == nil {
		return weburl.Redact(t.origin.recorded)
	}
	return weburl.Redact(m.url.String())
}

// giveUp handles a complete piece of which no source has right bytes. If the request has a digest of
// the whole file, that decides whether the file or the digest of the piece is wrong; otherwise the
// download fails.
func (t pieceChecking) giveUp(w *wrongPiece, got chunk.Sum) error {
	if t.goal.sum.IsZero() {
		err := fmt.Errorf("%w: %s should be %s and are %s, from each source", failure.ErrChecksum, response.FormatRange(w.Range), t.pieces.hashes.Sum(w.Off), got)
		return errors.Join(failure.Permanent(failure.Wrap(failure.ErrOtherFile, err)), t.discard(w.Range))
	}
	t.pieces.ignore()
	t.emit(Event{Kind: Warning, Err: fmt.Errorf("the digests of pieces are not used: %s have another one from each source", response.FormatRange(w.Range))})
	return nil
}

// A localError is an error of the part file.
type localError struct{ error }

func (e localError) Unwrap() error { return e.error }

// discard removes a piece from the part file and from the bytes of its sources.
func (t pieceChecking) discard(piece chunk.Range) error {
	t.discarded = t.discarded || t.sched.IsSingle() // otherwise the verifier has hashed proven pieces only
	for _, s := range t.sharesBySource(piece) {
		if err := t.forgetShare(s); err != nil {
			return failure.Permanent(localError{err})
		}
	}
	if err := t.file.part.Discard(chunk.NewSet(piece)); err != nil {
		return failure.Permanent(localError{err})
	}
	// If the disk has altered bytes near the piece, the store has discarded these, too.
	near := chunk.NewSet(chunk.Range{Off: piece.Off - piece.Off%t.align, End: min(t.size, roundUp(piece.End, t.align))})
	for _, w := range t.pieces.wrong {
		near.Remove(w.Range)
	}
	held := t.file.held()
	for r := range near.All() {
		if !held.Contains(r) {
			return errDamaged
		}
	}
	return nil
}

// forgetShare takes the bytes of s out of the bytes of its source. They must still be in the file,
// because adding them to the checksums a second time removes them.
func (t pieceChecking) forgetShare(s pieceShare) error {
	if s.mirror == nil && s.name != "an earlier run" {
		return nil
	}
	buf := make([]byte, compareBytes)
	for r := range s.bytes.All() {
		for r.Off < r.End {
			b := buf[:min(int64(len(buf)), r.Len())]
			if _, err := t.file.part.ReadAt(b, r.Off); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			if s.mirror != nil {
				s.mirror.forgetBytes(r.Off, b)
			} else {
				t.file.forgetEarlier(r.Off, b)
			}
			r.Off += int64(len(b))
		}
	}
	return nil
}

// fetchPiece fetches a piece from a mirror, or from the origin if m is nil, and returns its digest.
func (t pieceChecking) fetchPiece(ctx context.Context, m *mirror, piece chunk.Range, want chunk.Sum) (chunk.Sum, error) {
	rep, release, err := t.askForPiece(ctx, m, piece)
	if err != nil {
		return chunk.Sum{}, err
	}
	defer release()
	defer rep.close()
	h := want.NewHash()
	buf := make([]byte, compareBytes)
	body := io.LimitReader(t.paced(ctx, rep), piece.Len())
	for off := piece.Off; off < piece.End; {
		n, err := readFull(body, buf[:min(int64(len(buf)), piece.End-off)])
		if n > 0 {
			if _, err := t.file.part.WriteAt(buf[:n], off); err != nil {
				return chunk.Sum{}, failure.Permanent(localError{err})
			}
			if m != nil {
				m.noteWritten(off, buf[:n])
			}
			h.Write(buf[:n])
			off += int64(n)
		}
		if err != nil {
			return chunk.Sum{}, failure.ExplainBody(noEOF(err))
		}
	}
	return want.Of(h), nil
}

// askForPiece requests a piece. The caller must close the reply and then call release.
func (t pieceChecking) askForPiece(ctx context.Context, m *mirror, piece chunk.Range) (rep *reply, release func(), err error) {
	host := t.first.host
	if m != nil {
		host = m.ready(t.transfer)
	}
	for waited := time.Duration(0); !host.TryOpen(time.Now()); waited += mirrorInterval {
		if waited > 2*t.engine.opts.Timeouts.Stall && t.conns() == 0 { // other downloads have all connections
			return nil, nil, errCrowded
		}
		if err := sleep(ctx, mirrorInterval); err != nil {
			return nil, nil, err
		}
	}
	if err = sleep(ctx, host.PausedFor(time.Now())); err == nil && m != nil {
		rep, err = m.askOnce(ctx, t.download, nil, piece)
	} else if err == nil {
		if rep, err = t.askOnce(ctx, piece); err == nil && rep.Range != piece {
			rep.close()
			err = errConflict
		}
	}
	if err != nil {
		host.Release()
		return nil, nil, err
	}
	return rep, host.Release, nil
}

// provePieces verifies the pieces of a complete file that no transfer has verified: an earlier run has
// fetched them all, or the size was unknown until now.
func (j *job) provePieces(ctx context.Context) error {
	p := &j.pieces
	if !p.hashes.IsZero() && !p.hashes.Fits(j.version.Size) {
		j.emit(Event{Kind: Warning, Err: fmt.Errorf("the digests of pieces are not used: they are not of a file of %d bytes", j.version.Size)})
	}
	for p.use(j.version.Size) && ctx.Err() == nil {
		piece := p.next(chunk.NewSet(chunk.Range{End: j.version.Size}), 1, j.version.Size)
		if piece.Empty() {
			break
		}
		want := p.hashes.Sum(piece.Off)
		got, err := digestOfPiece(j.file.part, piece, want)
		if err != nil {
			return err
		}
		if got == want {
			p.prove(piece)
			continue
		}
		j.emit(Event{Kind: Lost, Held: piece.Len()})
		if err := j.file.part.Discard(chunk.NewSet(piece)); err != nil {
			return failure.Permanent(err)
		}
		j.file.setEarlierRun(contribution{})
		return p.failed(piece)
	}
	return context.Cause(ctx)
}
