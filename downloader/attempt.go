package downloader

import (
	"context"
	"errors"
	"net/http"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/hosts"
	"pawl/downloader/response"
	"pawl/downloader/sched"
	"pawl/store"
)

// attempt requests the missing bytes, fetches them, and finishes the file. A restartError asks
// for another attempt, for which the held bytes are kept or discarded as the error says; the first
// connection is released in any case.
func (j *job) attempt(ctx context.Context) error {
	if l := j.goal.listed; l != nil {
		if err := checkSize(l.Size, j.req.MaxSize); err != nil {
			return err
		}
	}
	to, _ := j.origin.current()
	j.first.host = j.engine.host(to.url)
	j.origin.oneStream = j.origin.oneStream || j.first.host.Ranges.Use() == hosts.RangesRefused
	held, err := j.verifiedHeld(ctx)
	if err != nil {
		return err
	}
	// The last attempt may have counted bytes that were received and not written.
	j.progress.begin(held)
	// An earlier run may have ended between its last commit and the end of the file.
	if j.isComplete(held) {
		if err := j.proveAgain(ctx); err != nil {
			return err
		}
		return j.finish(ctx, nil)
	}
	if err := j.acquireFirst(ctx, j.first.host); err != nil {
		return err
	}
	rep, err := j.begin(ctx, held)
	if err != nil {
		if j.mayBeSmall() && !failure.IsGone(err) {
			j.first.host.FailedSmall()
		}
		j.first.release()
		return err
	}
	return j.useFirstResponse(ctx, rep, held)
}

// useFirstResponse takes over the first response of an attempt: as a small file, or as the beginning of a
// transfer. Size and content are checked before anything is created, so that a file that is not
// wanted leaves nothing behind.
func (j *job) useFirstResponse(ctx context.Context, rep *reply, held chunk.Set) error {
	j.expect(rep)
	warning, err := j.inspect(rep, held.Len() > 0)
	if err == nil {
		err = checkSize(rep.Version.Size, j.req.MaxSize)
	}
	var small *smallFile
	if err == nil {
		small, err = j.newSmallFile(rep)
	}
	if err == nil && small == nil && j.mayBeSmall() {
		err = j.becomeLarge()
	}
	if err == nil && small == nil {
		err = j.acceptVersion(rep, &held)
	}
	if err != nil {
		rep.close()
		j.first.release()
		return err
	}
	if warning != nil {
		j.emit(Event{Kind: Warning, Err: warning})
	}
	if small != nil {
		return small.fetch(ctx, rep)
	}
	return j.transfer(ctx, rep, held)
}

// becomeLarge notes that the file is not one of the small ones. If small files have made the connections to
// the host too many for large ones, it returns a restartError, and the next attempt waits for its turn.
func (j *job) becomeLarge() error {
	j.first.large = true
	if j.first.host.ServesLarge() {
		return restartError{why: "too many connections for large files", keep: true}
	}
	return nil
}

// transfer fetches the bytes that held lacks, beginning with the body of rep, and finishes the
// file.
func (j *job) transfer(ctx context.Context, rep *reply, held chunk.Set) error {
	if s := j.file.stream; s != nil {
		s.holdBack(&j.pieces, j.version.Size)
	}
	size := j.version.Size
	if rep.Whole && rep.Version.Size >= 0 { // a growing file is longer than the held version
		size = rep.Version.Size
	}
	if size < 0 {
		size = chunk.Unbounded
	}
	t := newTransfer(j.sampler, chunk.NewPlan(size, held), rep.Whole || j.file.stream != nil || j.mustNotMix(held))
	defer t.rememberLimits() // the download counts at its hosts until the file is finished
	if err := t.fetch(ctx, rep, held.Len()); err != nil {
		return err
	}
	if j.file.part != nil {
		if err := j.settleSize(t.sched.Snapshot()); err != nil {
			return err
		}
	}
	return j.finish(ctx, t.verifier)
}

// isComplete reports whether held has all bytes of a part file.
func (j *job) isComplete(held chunk.Set) bool {
	return j.file.part != nil && j.version.Size >= 0 && held.Contains(chunk.Range{End: j.version.Size})
}

// verifiedHeld returns the held bytes. It verifies them if they are going to be finished or
// compared with the bytes of the server; otherwise that happens during the transfer.
func (j *job) verifiedHeld(ctx context.Context) (held chunk.Set, err error) {
	held = j.file.held()
	if j.origin.oneStream || j.file.moved || j.version.StrongETag() == "" || j.isComplete(held) {
		_, err = j.verifyPart(ctx)
		held = j.file.held()
	}
	return held, err
}

// begin returns the first response of an attempt. Unless it is the whole file, a strong validator
// or samples have shown that it is of the version of the held bytes:
//
//   - With a strong ETag, the response itself proves it. If bytes of mirrors are held that only
//     samples vouch for, samples of all held bytes are compared in addition.
//   - Otherwise samples are compared first, because a Last-Modified may stay the same for several
//     versions within a second, and many servers send no validator.
func (j *job) begin(ctx context.Context, held chunk.Set) (*reply, error) {
	if j.file.part == nil || held.Len() == 0 || j.origin.oneStream {
		return j.probe(ctx, held)
	}
	if j.version.StrongETag() != "" && !j.file.record().Mixed {
		rep, err := j.probe(ctx, held)
		if err != nil || rep.Whole || j.version.Proves(rep.Version) {
			return rep, err
		}
		rep.close() // there is one connection only, which the samples need
	}
	if err := j.prove(ctx, held); err != nil {
		return nil, err
	}
	return j.probe(ctx, held)
}

// probe requests the first missing bytes. The response shows size, version, ranges and name, and
// its body is the first work of a transfer, so that no request is spent on questions alone. An
// interrupted download may hold bytes already.
func (j *job) probe(ctx context.Context, held chunk.Set) (*reply, error) {
	var r chunk.Range
	for gap := range held.Missing(chunk.Range{End: chunk.Unbounded}) {
		r = chunk.Range{Off: gap.Off, End: min(gap.End, gap.Off+sched.FirstRange)}
		break
	}
	if j.version.Size >= 0 {
		r.End = min(r.End, j.version.Size)
	} else if r.Off == 0 { // without an end, because some links may be requested only once
		r.End = chunk.Unbounded
	}
	if j.origin.oneStream {
		r = chunk.Range{}
	}
	rep, err := j.askWith(ctx, http.Header{"Want-Repr-Digest": {response.WantReprDigest}}, nil, r)
	switch {
	case errors.Is(err, errUnsatisfiable): // most likely an empty file, of which no range is valid
		return j.ask(ctx, nil, chunk.Range{})
	case err != nil:
		return nil, err
	case !rep.Whole && rep.Version.Size < 0 && j.version.Size < 0: // a part of a file of unknown size
		rep.close()
		j.origin.oneStream = true
		return j.ask(ctx, nil, chunk.Range{})
	}
	return rep, nil
}

// expect takes over the facts about the whole file in rep, beside its version: the digest, the
// content coding, and whether its end is marked. It reports warnings.
func (j *job) expect(rep *reply) {
	j.version.gzip, j.version.unframed = rep.Gzip, rep.unframed
	j.useServerDigest(rep)
	if rep.Note != "" {
		j.emit(Event{Kind: Warning, Err: errors.New(rep.Note)})
	}
	if rep.unframed {
		j.emit(Event{Kind: Warning, Err: errUnframed})
	}
}

// acceptVersion makes the version of rep the version of the download, and creates the part file if
// there is none. If rep is the whole file and some bytes are held, conn.compareWithHeld compares both later,
// and adopts the version then; until then the record must keep the version of the held bytes.
func (j *job) acceptVersion(rep *reply, held *chunk.Set) error {
	j.first.moveTo(j.engine.host(rep.Request.URL))                                            // later requests go there
	if j.version.isProvenByDigest() && len(j.wrong) == 0 && !j.engine.opts.Follow.NoMirrors { // without a digest, nobody vouches for mirrors of the server
		j.addMirrors(namer{public: !rep.info.Private()}, response.Duplicates(rep.Header, rep.Request.URL)...)
	}
	switch {
	case j.file.part == nil && j.file.stream == nil:
		if err := j.fits(rep.Version); err != nil {
			return err
		}
		j.version.Version = j.version.Merge(rep.Version)
		return j.create(rep)
	case !rep.Whole || held.Len() == 0:
		if rep.Whole && rep.Version.Size >= 0 {
			j.version.Size = rep.Version.Size
		}
		return j.adopt(rep.Version, rep.Whole)
	}
	*held = chunk.NewSet(chunk.Range{End: held.Prefix()}) // a stream brings the bytes beyond it again
	return nil
}

// mustNotMix reports whether one connection must fetch everything, because the bytes of two
// versions could be mixed without notice. It warns if that costs much. A stream always comes over
// one connection, and Options.SplitUnverified accepts the risk.
func (j *job) mustNotMix(held chunk.Set) bool {
	if !j.version.mayMix() || j.file.stream != nil || j.engine.opts.SplitUnverified {
		return false
	}
	if j.version.isLarge(held.Len()) {
		j.emit(Event{Kind: Warning, Err: errMayMix})
	}
	return true
}

// finish verifies the whole file and gives it its name. v is the verifier that has followed the
// transfer, or nil. The order matters: the digest is verified before blame compares this copy with
// earlier ones, and the part file is gone after Finish.
func (j *job) finish(ctx context.Context, v *verifier) error {
	if s := j.file.stream; s != nil {
		return s.verify()
	}
	if err := j.fits(j.version.Version); err != nil {
		return err
	}
	if err := j.provesRepair(); err != nil { // before the digest: a wrong one discards bytes
		return err
	}
	if err := j.provePieces(ctx); err != nil {
		return err
	}
	if err := j.verifyDigest(ctx, v); err != nil {
		return err
	}
	if err := (blamer{j.download}).blame(); err != nil {
		return err
	}
	return j.file.part.Finish(j.modTime(j.version.Version))
}

// verifyDigest compares the complete file with the digest that it must have, if there is one. If
// they differ, the file is first compared with the checksums of the received bytes: if the disk
// has changed some of them, only these are fetched again.
func (j *job) verifyDigest(ctx context.Context, v *verifier) error {
	want := j.version.digest
	if want.IsZero() {
		return nil
	}
	if want.isComposed() {
		if got := j.file.composedCRC(j.version.Size); got != want.Sum {
			return blamer{j.download}.mismatched(want, got)
		}
		return nil
	}
	if v == nil {
		v = newVerifier(want.Sum, j.file.part)
	}
	var m *mismatch
	if err := v.verdict(ctx, j.version.Size); !errors.As(err, &m) {
		return err
	}
	if damaged, err := j.file.reread(ctx); err != nil {
		return err
	} else if damaged.Len() > 0 {
		j.warn("the disk has other bytes than were received, in %s; they are fetched again", formatRanges(damaged, j.version.Size))
		return errDamaged
	}
	return blamer{j.download}.mismatched(want, m.got)
}

// settleSize records the size of a file whose size was unknown until its end.
func (j *job) settleSize(s sched.Snapshot) error {
	if !s.Done {
		return errIncomplete
	}
	if j.version.Size == s.Size {
		return nil
	}
	j.version.Size = s.Size
	if err := j.file.part.Update(func(r *store.Record) { r.Size = s.Size }); err != nil {
		return err
	}
	j.progress.show(j.file.record())
	return nil
}
