package downloader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/response"
	"pawl/downloader/weburl"
	"pawl/store"
)

// A ClaimedError means that the target belongs to a download of another URL. It is a
// failure.ErrClaimed.
type ClaimedError struct {
	Record store.Record // the download that the target belongs to
}

func (e *ClaimedError) Error() string {
	return fmt.Sprintf("%q %v, %s", e.Record.Target, failure.ErrClaimed, weburl.Redact(e.Record.URL))
}

// Is is for errors.Is.
func (e *ClaimedError) Is(kind error) bool { return kind == failure.ErrClaimed }

// A begunError means that the target has a download of the same URL, or of a URL with another
// signature. It was not found before, because the name of the file was not known.
type begunError struct{ rec store.Record }

func (e begunError) Error() string { return "the download has begun already" }

// errOtherNow means that the remote file has changed since it was downloaded.
var errOtherNow = failure.New(failure.ErrChanged, "the remote file has changed since it was downloaded")

// claimed returns the error for a target that belongs to a download of another URL.
func claimed(rec store.Record) error {
	if rec.State == store.Done {
		return failure.Wrap(store.ErrForeign, fmt.Errorf("%q: file exists and was downloaded from %s", rec.Target, weburl.Redact(rec.URL)))
	}
	return &ClaimedError{rec}
}

// A lookup finds the record of the file of a download, unfinished or finished, and decides whether
// the download resumes it, replaces it, or has nothing to do:
//
//	no record                     download; the target must be free, or have the wanted file (present.go)
//	unfinished, same URL          resume
//	unfinished, other URL         ClaimedError, unless Replace or Restart discards it, or the
//	                              new file may get another name (create.go)
//	finished, unchanged, intact   nothing to do
//	finished, changed remotely    download again, and replace at the end
//	finished, from another URL    nothing to do if it is the same file (present.go), else ClaimedError
//	finished, altered locally     ErrForeign, unless Replace; a file of a list is replaced
type lookup struct{ asker }

// continueRecord resumes the download on record, if there is one. It reports whether the file
// is finished and current.
func (l lookup) continueRecord(ctx context.Context) (current bool, err error) {
	rec, err := l.find()
	if l.goal.wrong != nil && err == nil {
		return l.repair(ctx, rec)
	}
	isUnknown := l.goal.record == "" && errors.Is(err, store.ErrNotFound)
	if (isUnknown || errors.Is(err, store.ErrForeign)) && !l.req.Existing.Restart {
		if current, err := l.present(ctx); current || err != nil {
			return current, err
		}
		if moved, err := l.continueMoved(); moved || err != nil {
			return false, err
		}
		if taken, err := l.takeOver(ctx); taken || err != nil {
			return false, err
		}
		if l.req.Existing.Taking == TakePartial { // an empty file may be gone
			rec, err = l.find()
			isUnknown = l.goal.record == "" && errors.Is(err, store.ErrNotFound)
		}
	}
	switch {
	case err == nil:
		return l.open(ctx, rec)
	case isUnknown:
		return false, nil
	}
	return false, l.explainForeign(ctx, err)
}

// find returns the record that the request is about, or store.ErrNotFound. If there is none,
// it checks the target, so that no request is sent for a file that could not be stored.
func (l lookup) find() (store.Record, error) {
	st := l.engine.store
	switch {
	case l.goal.record != "":
		return st.Get(l.goal.record)
	case l.goal.listed != nil && l.goal.listed.Record.ID != "":
		return l.goal.listed.Record, nil
	case l.goal.output == "":
		dir, err := filepath.Abs(l.goal.dir)
		if err != nil {
			return store.Record{}, err
		}
		rec, err := st.ByURL(dir, l.origin.recorded)
		if err == nil && rec.URL != l.origin.recorded { // a download of another URL has got the name since
			err = store.ErrNotFound
		}
		return rec, err
	}
	if !l.goal.named { // the server names the file
		return store.Record{}, store.ErrNotFound
	}
	target, err := absTarget(l.goal.dir, l.goal.output)
	if err != nil {
		return store.Record{}, err
	}
	rec, err := store.Record{}, error(store.ErrNotFound)
	if l.goal.listed == nil {
		rec, err = st.ByTarget(target)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		if err := st.CheckTarget(target, l.goal.replace); err != nil && !l.req.Existing.mayAvoid(err) {
			return rec, err
		}
	case err != nil || rec.URL == l.origin.recorded || l.req.Existing.Restart || l.goal.replace:
	case l.req.Existing.InTheWay == Rename:
		return rec, store.ErrNotFound
	case rec.State != store.Done:
		return rec, claimed(rec)
	}
	return rec, err
}

// open resumes a recorded download. It reports whether the file is finished and current. A crash
// may have left a download between its last commit and its rename; store.Resume then finishes it.
func (l lookup) open(ctx context.Context, rec store.Record) (current bool, err error) {
	l.progress.show(rec)
	l.version.unframed = rec.Unframed
	l.version.page = rec.State == store.Done && !l.req.wantsType() && IsUnexpectedPage(rec)
	if rec.State == store.Done {
		current, err := l.reopen(ctx, rec)
		if current && l.goal.sum.IsZero() { // it was verified when it was downloaded
			l.version.digest = promise{Sum: rec.Sum, by: ProofOf(rec.Sum, l.goal.listed != nil)}
		}
		return current, err
	}
	if rec.URL != l.origin.recorded && l.goal.record == "" {
		if !l.req.Existing.Restart && !l.goal.replace {
			return false, claimed(rec)
		}
		l.goal.output = rec.Target
		return false, l.engine.store.Remove(rec.ID, true)
	}
	if l.goal.replace {
		if err := l.engine.store.AllowReplace(rec.ID); err != nil {
			return false, err
		}
	}
	part, err := l.engine.store.Resume(rec.ID)
	if errors.Is(err, store.ErrNoDirectory) && l.goal.record == "" { // the user asks for the file again
		l.emit(Event{Kind: Lost, Held: rec.Held.Len()})
		return false, l.engine.store.Remove(rec.ID, false)
	}
	if err != nil {
		return false, err
	}
	rec = part.Record()
	l.progress.show(rec)
	if rec.State == store.Done { // only the rename was missing, after a crash
		l.progress.setHeld(rec.Size)
		return true, errors.Join(part.Close(), l.verifySum(ctx, rec))
	}
	return false, l.resume(part)
}

// resume makes the download continue an unfinished part file. The digest and the mirrors of the
// record count if the request has none. After a wrong digest (wrong is not empty), the record's
// mirrors are left out, because each further download uses a single source.
func (l lookup) resume(part *store.Part) error {
	rec := part.Record()
	l.file.setPart(part)
	if n := part.Lost(); n > 0 {
		l.emit(Event{Kind: Lost, Held: n})
	}
	if l.req.Existing.Restart {
		return l.forget(-1)
	}
	if l.goal.sum.IsZero() {
		l.goal.sum = rec.Sum
		l.version.digest = l.goal.promise()
	}
	if l.goal.sum.IsZero() && !rec.ServerSum.IsZero() && !l.engine.opts.IgnoreServerDigest {
		l.version.digest = promise{Sum: rec.ServerSum, by: ProofServer, field: "digest", from: rec.URL}
	}
	l.version.Version = versionOf(rec)
	l.file.setEarlierRun(contribution{l.wrong.heldFrom(), rec.Held.Clone(), part.PieceSums()})
	if rec.URL != l.origin.recorded { // the new URL has validators of its own
		l.version.ETag, l.version.LastModified = "", ""
		l.file.moved = rec.Held.Len() > 0
	}
	if err := l.resumeHashes(rec.ID); err != nil {
		return err
	}
	if len(l.wrong) == 0 {
		l.addMirrors(namer{given: true, public: rec.Public}, rec.Mirrors...)
	}
	return part.Update(func(r *store.Record) {
		r.Sum, r.Replace = l.goal.sum, r.Replace || l.goal.replace
		if len(l.wrong) == 0 {
			r.Mirrors = l.givenMirrors()
		}
	})
}

// resumeHashes records the digests of the pieces of the request. If it has none, those on record count.
func (l lookup) resumeHashes(id store.ID) error {
	kept, err := l.engine.store.Hashes(id)
	switch {
	case err != nil || l.pieces.hashes == kept:
		return err
	case l.pieces.hashes.IsZero():
		l.pieces.hashes = kept
		return nil
	}
	return l.engine.store.KeepHashes(id, l.pieces.hashes)
}

// reopen checks whether a finished file is still the one on the server. If it is not, the
// download fetches it again and replaces it at the end.
func (l lookup) reopen(ctx context.Context, rec store.Record) (current bool, err error) {
	l.goal.output, l.goal.named = rec.Target, rec.Named
	if l.goal.listed != nil {
		return l.reopenListed(ctx, rec)
	}
	intact := l.engine.store.Intact(rec)
	if !intact && !l.req.Existing.Restart {
		if rec, intact, err = l.reprove(ctx, rec); err != nil {
			return false, err
		}
	}
	if !intact {
		if err := l.engine.store.CheckTarget(rec.Target, true); err != nil {
			return false, err
		}
		if l.engine.store.Exists(rec) && !l.goal.replace {
			if taken, err := l.takeOver(ctx); taken || err != nil {
				return false, err
			}
			return false, alteredError(rec)
		}
		return false, nil
	}
	if rec.URL != l.origin.recorded && !l.goal.replace {
		if same, err := l.isSameFile(ctx, rec); same || err != nil {
			return same, err
		}
		return false, claimed(rec)
	}
	if !l.req.Existing.Restart && rec.URL == l.origin.recorded && l.fitsType(rec) {
		why, err := l.reasonToDownload(ctx, rec)
		if err != nil {
			return false, err
		}
		if why == nil {
			l.progress.setHeld(rec.Size)
			return true, nil
		}
		l.emit(Event{Kind: Restarted, Err: why})
	}
	l.goal.replace = true // the file is pawl's
	return false, nil
}

// reasonToDownload returns why an intact file must be downloaded again, nil if it must not. The wanted
// digest decides without a request. Otherwise the server is asked.
func (l lookup) reasonToDownload(ctx context.Context, rec store.Record) (why, err error) {
	if !l.goal.sum.IsZero() {
		if err := l.verifySum(ctx, rec); errors.Is(err, failure.ErrChecksum) {
			return err, nil
		} else {
			return nil, err
		}
	}
	same, err := l.unchanged(ctx, rec)
	switch {
	case err != nil || same:
		return nil, err
	case l.req.Existing.FailOnChange:
		return nil, errOtherNow
	}
	return errOtherNow, nil
}

// alteredError returns the error for a finished file that somebody has changed.
func alteredError(rec store.Record) error {
	return failure.Wrap(store.ErrForeign, fmt.Errorf("%q has been changed since it was downloaded", rec.Target))
}

// reopenListed checks whether a finished file is the file that the list wants. If it is not,
// the download fetches it again and replaces it at the end, even if somebody has altered it: a
// file of a list belongs to pawl.
func (l lookup) reopenListed(ctx context.Context, rec store.Record) (current bool, err error) {
	l.goal.named = true
	intact, err := l.engine.store.Reconcile(rec)
	if err == nil && !intact && !l.req.Existing.Restart && l.engine.store.OwnFile(rec) {
		rec, intact, err = l.reprove(ctx, rec)
	}
	if err == nil && intact && rec.URL != l.origin.recorded && !l.req.Existing.Restart && l.fits(versionOf(rec)) == nil {
		if same, err := l.isSameFile(ctx, rec); same || err != nil {
			return same, err
		}
	}
	switch {
	case err != nil:
		return false, err
	case !intact && !l.engine.store.OwnFile(rec) && !l.goal.replace:
		return false, fmt.Errorf("%q: %w", rec.Target, store.ErrForeign)
	case intact && rec.URL != l.origin.recorded && len(rec.Lists) == 0 && !l.goal.replace:
		return false, claimed(rec)
	case !intact && len(rec.Lists) == 0 && !l.goal.replace && l.engine.store.Exists(rec): // no list made it
		return false, alteredError(rec)
	}
	if intact && rec.URL == l.origin.recorded && !l.req.Existing.Restart && l.fits(versionOf(rec)) == nil {
		if current, err := l.stillWanted(ctx, rec); current || err != nil {
			return current, err
		}
	}
	l.goal.replace = true
	return false, l.engine.store.CheckTarget(rec.Target, true)
}

// fitsType reports whether a finished file may have the media type that the request expects.
func (l lookup) fitsType(rec store.Record) bool {
	return rec.Type == "" || l.req.Expects(rec.Type)
}

// stillWanted compares an intact file with the digest of the list, if it has one, or else with
// the file on the server, if the entry asks for that.
func (l lookup) stillWanted(ctx context.Context, rec store.Record) (bool, error) {
	if !l.fitsType(rec) {
		return false, nil
	}
	if !l.goal.sum.IsZero() || l.goal.listed.Update {
		if why, err := l.reasonToDownload(ctx, rec); why != nil || err != nil {
			return false, err
		}
	}
	if !l.goal.sum.IsZero() && l.goal.sum != rec.Sum {
		rec.Sum = l.goal.sum
		if err := l.engine.store.Amend(rec); err != nil {
			return false, err
		}
	}
	l.progress.setHeld(rec.Size)
	return true, nil
}

// maxStateRequests is how often the server is asked for the version of a finished file while each
// response has another one. A guess: behind a load balancer of two machines that disagree, seven of
// eight runs meet the right one. Double delays each real change by three more round trips.
const maxStateRequests = 3

// unchanged asks the server with one small conditional request whether it still has the version of
// rec (RFC 9110 §13.1). A 304 says so. A server that ignores the condition sends the first byte, whose
// header is compared with rec. Machines that share a load may disagree about validators, lack them, or
// have an older version, so the server is asked again if the version is not the same. If no response
// has a validator to compare, all bytes are compared; if the responses contradict each other, samples.
func (l lookup) unchanged(ctx context.Context, rec store.Record) (bool, error) {
	if err := l.acquireFirst(ctx, l.engine.host(l.origin.url)); err != nil {
		return false, err
	}
	defer l.first.release()
	was := versionOf(rec)
	var others []response.Version
	for {
		now, c, err := l.currency(ctx, rec)
		if err != nil || c == current || c == outdated {
			return c == current, err
		}
		others = append(others, now)
		if len(others) == maxStateRequests || rec.ETag == "" && rec.LastModified == "" && was.Differs(now) == "" {
			break
		}
		if err := sleep(ctx, conflictDelay); err != nil {
			return false, err
		}
	}
	differ := func(v response.Version) bool { return was.Differs(v) != "" }
	switch {
	case !slices.ContainsFunc(others, differ): // they lack fields to compare
		same, err := l.sameBytes(ctx, rec)
		if err == nil && !same && was.IsSubstitute(others[0]) {
			err = errSubstitute
		}
		return same, err
	case !slices.ContainsFunc(others, func(v response.Version) bool { return !differ(v) || v.Differs(others[0]) != "" }):
		return false, nil // all agree
	}
	return l.hasSamples(ctx, rec)
}

// hasSamples reports whether samples of a finished file equal the same ranges on the server. They show
// no small change, so they count only if the machines of the server contradict each other anyway.
func (l lookup) hasSamples(ctx context.Context, rec store.Record) (bool, error) {
	f, err := l.engine.store.OpenDone(rec)
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = sampler(l).proveFile(ctx, chunk.NewSet(chunk.Range{End: rec.Size}), f)
	var again restartError
	if errors.As(err, &again) { // other bytes, or no samples
		return false, nil
	}
	return err == nil, err
}

// A currency says whether the server still has the version of a finished file.
type currency int

const (
	doubtful currency = iota // validators or sizes differ, or are missing, which may be because of the machine that responded
	current
	outdated
)

// currencyOf returns current or outdated.
func currencyOf(isCurrent bool) currency {
	if isCurrent {
		return current
	}
	return outdated
}

// condition returns the fields that make a request for the file of rec conditional.
func condition(rec store.Record) http.Header {
	h := make(http.Header)
	if rec.ETag != "" {
		h.Set("If-None-Match", rec.ETag)
	} else if rec.LastModified != "" {
		h.Set("If-Modified-Since", rec.LastModified)
	}
	return h
}

// isNotModified reports whether err says that the server has the version of the condition.
func isNotModified(err error) bool {
	var status *failure.StatusError
	return errors.As(err, &status) && status.Code == http.StatusNotModified
}

// currency asks the server once, and compares the response with rec. If that is doubtful, it also
// returns the version that the server has now.
func (l lookup) currency(ctx context.Context, rec store.Record) (now response.Version, c currency, err error) {
	first := condition(rec)
	first.Set("Want-Repr-Digest", response.WantReprDigest)
	rep, err := l.askFirstByte(ctx, first)
	switch {
	case isNotModified(err):
		return now, current, nil
	case errors.Is(err, errUnsatisfiable):
		return now, currencyOf(rep.Version.Size == rec.Size || rep.Version.Size < 0 && rec.Size == 0), nil
	case err != nil:
		return now, doubtful, err
	}
	rep.close()
	was, now := versionOf(rec), rep.Version
	if err := decided(was.Unexpected(now), ""); err != nil {
		return now, doubtful, err
	}
	if was.Differs(now) == "" {
		if was.SharesValidator(now) {
			return now, current, nil
		}
		return now, doubtful, nil
	}
	if was.SizeDiffers(now) && was.IsOlder(now) {
		return now, outdated, nil
	}
	if sum := l.serverDigest(rep); !sum.IsZero() && !was.SizeDiffers(now) {
		same, err := l.hasDigest(ctx, rec, sum)
		return now, currencyOf(same), err
	}
	return now, doubtful, nil
}

// askFirstByte requests the first byte, for the header of the response, with these further header
// fields. From a server that does not serve ranges, it requests the whole file.
func (a asker) askFirstByte(ctx context.Context, extra http.Header) (*reply, error) {
	rep, err := a.askWith(ctx, extra, nil, chunk.Range{End: 1})
	var again restartError
	if errors.As(err, &again) {
		a.origin.oneStream = true
		rep, err = a.askWith(ctx, extra, nil, chunk.Range{})
	}
	return rep, err
}

// serverDigest returns the strongest digest of the file that rep names, zero for none.
func (l lookup) serverDigest(rep *reply) chunk.Sum {
	all, _ := response.Digests(rep.Header, rep.Content)
	if len(all) == 0 || all[0].Hint || l.engine.opts.IgnoreServerDigest {
		return chunk.Sum{}
	}
	return all[0].Sum
}

// hasDigest reports whether the finished file has this digest.
func (l lookup) hasDigest(ctx context.Context, rec store.Record, sum chunk.Sum) (bool, error) {
	if sum == rec.Sum {
		return true, nil
	}
	f, err := l.engine.store.OpenDone(rec)
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = newVerifier(sum, f).verdict(ctx, rec.Size)
	if errors.Is(err, failure.ErrChecksum) {
		return false, nil
	}
	return err == nil, err
}

// sameBytes fetches the whole file and compares it with the finished one. It is used if no
// validator shows whether the file has changed, because missing evidence proves nothing. The condition
// is sent again: a server that sends a validator only now and then may save the transfer.
func (l lookup) sameBytes(ctx context.Context, rec store.Record) (same bool, err error) {
	f, err := l.engine.store.OpenDone(rec)
	if err != nil {
		return false, err
	}
	defer f.Close()
	l.emit(Event{Kind: Warning, Err: errors.New("the server does not say whether the file has changed; pawl fetches all bytes and compares them")})
	for {
		rep, err := l.askWith(ctx, condition(rec), nil, chunk.Range{})
		if isNotModified(err) {
			return true, nil
		} else if err != nil {
			return false, err
		}
		same, err := equalBytes(l.paced(ctx, rep), io.NewSectionReader(f, 0, rec.Size))
		rep.close()
		if err == nil {
			return same, nil
		}
		wait, again := l.setback(failure.ExplainBody(err))
		if !again {
			return false, failure.ExplainBody(err)
		}
		if err := sleep(ctx, wait); err != nil {
			return false, err
		}
	}
}

// equalBytes reports whether body and file have the same bytes and the same length. An error
// of file is permanent, an error of body is returned as it is.
func equalBytes(body, file io.Reader) (bool, error) {
	a, b := make([]byte, compareBytes), make([]byte, compareBytes)
	for {
		n, bodyErr := readFull(body, a)
		if bodyErr != nil && bodyErr != io.EOF {
			return false, bodyErr
		}
		m, err := readFull(file, b)
		if err != nil && err != io.EOF {
			return false, failure.Permanent(err)
		}
		if n != m || !bytes.Equal(a[:n], b[:m]) {
			return false, nil
		}
		if bodyErr == io.EOF {
			return true, nil
		}
	}
}

// verifySum compares a finished file with the wanted digest, unless it was verified against
// this digest when it was downloaded.
func (l lookup) verifySum(ctx context.Context, rec store.Record) error {
	if l.goal.sum.IsZero() || l.goal.sum == rec.Sum {
		return nil
	}
	f, err := l.engine.store.OpenDone(rec)
	if err != nil {
		return err
	}
	defer f.Close()
	return newVerifier(l.goal.sum, f).verdict(ctx, rec.Size)
}
