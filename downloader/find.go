package downloader

// This file is about what is there already: the record of a target, begun or
// done, and whether it is still what the server has.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/response"
	"pawl/store"
)

// versionOf is the version that rec has bytes of.
func versionOf(rec store.Record) response.Version {
	return response.Version{Size: rec.Size, ETag: rec.ETag, LastModified: rec.LastModified, MediaType: rec.Type, Coding: rec.Coding}
}

// find returns the record of what the request is about, or ErrNotFound.
func (j *job) find() (store.Record, error) {
	if j.req.ID != "" {
		return j.d.store.Get(j.req.ID)
	}
	if j.req.ListEntry != nil {
		return j.findListed()
	}
	if j.req.Output == "" {
		dir, err := filepath.Abs(j.req.Dir)
		if err != nil {
			return store.Record{}, err
		}
		return j.d.store.ByURL(dir, j.recorded)
	}
	target, err := absTarget(j.req.Dir, j.req.Output)
	if err != nil {
		return store.Record{}, err
	}
	rec, err := j.d.store.ByTarget(target)
	if errors.Is(err, store.ErrNotFound) {
		if err := j.d.store.CheckTarget(target, j.req.Overwrite); err != nil { // before anything is asked
			return rec, err
		}
	}
	if err == nil && rec.URL != j.recorded && !j.req.Restart && !j.req.Overwrite {
		return rec, claimed(rec)
	}
	return rec, err
}

// A begunError says that the target has an unfinished download of the same URL,
// which had another name to be found by.
type begunError struct{ rec store.Record }

func (e begunError) Error() string { return "begun already" }

// A ClaimedError means that the target belongs to a download of another URL. It is a
// failure.ErrClaimed.
type ClaimedError struct {
	Record store.Record // the download that the target belongs to
}

func (e *ClaimedError) Error() string {
	return fmt.Sprintf("%q %v, %s", e.Record.Target, failure.ErrClaimed, RedactURL(e.Record.URL))
}

// Is is for errors.Is.
func (e *ClaimedError) Is(kind error) bool { return kind == failure.ErrClaimed }

// claimed is the error for a target that another URL's download has.
func claimed(rec store.Record) error {
	if rec.State == store.Done {
		return fmt.Errorf("%q: %w: it was downloaded from %s", rec.Target, store.ErrForeign, RedactURL(rec.URL))
	}
	return &ClaimedError{rec}
}

// open goes on with a recorded download, or finds that there is nothing to do.
func (j *job) open(ctx context.Context, rec store.Record) (current bool, err error) {
	j.show(rec)
	j.unframed = rec.Unframed
	if rec.State == store.Done {
		return j.reopen(ctx, rec)
	}
	if rec.URL != j.recorded && j.req.ID == "" {
		if !j.req.Restart && !j.req.Overwrite {
			return false, claimed(rec)
		}
		return false, j.discard(rec)
	}
	if j.req.Overwrite {
		if err := j.d.store.AllowReplace(rec.ID); err != nil {
			return false, err
		}
	}
	part, err := j.d.store.Resume(rec.ID)
	if errors.Is(err, store.ErrNoDirectory) && j.req.ID == "" { // which has been asked for again
		j.emit(Event{Kind: Lost, Held: rec.Held.Len()})
		return false, j.d.store.Remove(rec.ID, false)
	}
	if err != nil {
		return false, err
	}
	rec = part.Record()
	j.show(rec)
	if rec.State == store.Done { // a crash had left no more than the rename to do
		j.have.Store(rec.Size)
		return true, errors.Join(part.Close(), j.recheckSum(ctx, rec))
	}
	j.part, j.sink = part, part
	if n := part.Lost(); n > 0 {
		j.emit(Event{Kind: Lost, Held: n})
	}
	if j.req.Restart {
		return false, j.forget(-1)
	}
	if j.req.Sum.IsZero() {
		j.req.Sum, j.sum = rec.Sum, rec.Sum
	}
	j.id = versionOf(rec)
	j.setEarlier(contribution{"an earlier run", rec.Held.Clone(), part.PieceSums()})
	if rec.URL != j.recorded { // a mirror has validators of its own
		j.id.ETag, j.id.LastModified = "", ""
		j.moved = rec.Held.Len() > 0
	}
	if len(j.wrong) == 0 {
		j.addMirrors(namer{given: true, public: rec.Public}, rec.Mirrors...)
	}
	return false, part.Update(func(r *store.Record) {
		r.Sum, r.Replace = j.req.Sum, r.Replace || j.req.Overwrite
		if len(j.wrong) == 0 {
			r.Mirrors = j.givenMirrors()
		}
	})
}

// discard forgets a download of another URL for the target of this one, as was
// asked for.
func (j *job) discard(rec store.Record) error {
	j.req.Output = rec.Target
	return j.d.store.Remove(rec.ID, true)
}

// reopen looks whether a finished download is still what the server has. If
// not, it is fetched anew and replaced at the end.
func (j *job) reopen(ctx context.Context, rec store.Record) (current bool, err error) {
	j.req.Output, j.named = rec.Target, rec.Named
	if j.req.ListEntry != nil {
		return j.reopenListed(ctx, rec)
	}
	if !j.d.store.Intact(rec) {
		if err := j.d.store.CheckTarget(rec.Target, true); err != nil {
			return false, err
		}
		if j.d.store.Exists(rec) && !j.req.Overwrite {
			return false, fmt.Errorf("%q has been changed since it was downloaded: %w", rec.Target, store.ErrForeign)
		}
		return false, nil
	}
	if rec.URL != j.recorded && !j.req.Overwrite {
		return false, claimed(rec)
	}
	if !j.req.Restart && rec.URL == j.recorded {
		same, err := j.unchanged(ctx, rec)
		if err != nil {
			return false, err
		}
		why := error(errOtherNow)
		if same {
			if why = j.recheckSum(ctx, rec); why == nil {
				j.have.Store(rec.Size)
				return true, nil
			}
			if !errors.Is(why, failure.ErrChecksum) {
				return false, why
			}
		} else if j.req.FailOnChange {
			return false, errOtherNow
		}
		j.emit(Event{Kind: Restarted, Err: why})
	}
	j.req.Overwrite = true // the file is ours
	return false, nil
}

// errOtherNow says that the remote file has changed since it was finished here.
var errOtherNow = failure.New(failure.ErrChanged, "the remote file is another one now")

// unchanged asks the server whether it still has the version of rec, in one
// small request (RFC 9110 §13.1).
func (j *job) unchanged(ctx context.Context, rec store.Record) (bool, error) {
	header := j.req.Header
	defer func() { j.req.Header = header }()
	j.req.Header = header.Clone()
	if j.req.Header == nil {
		j.req.Header = make(http.Header)
	}
	if rec.ETag != "" {
		j.req.Header.Set("If-None-Match", rec.ETag)
	} else if rec.LastModified != "" {
		j.req.Header.Set("If-Modified-Since", rec.LastModified)
	}
	if err := j.enter(ctx, j.d.host(j.asked)); err != nil {
		return false, err
	}
	defer j.leave()
	rep, err := j.ask(ctx, nil, chunk.Range{End: 1})
	var again restartError
	if errors.As(err, &again) { // ranges are not to be had
		j.single = true
		rep, err = j.ask(ctx, nil, chunk.Range{})
	}
	var status *failure.StatusError
	switch {
	case errors.As(err, &status) && status.Code == http.StatusNotModified:
		return true, nil
	case errors.Is(err, errUnsatisfiable):
		return rep.Version.Size == rec.Size || rep.Version.Size < 0 && rec.Size == 0, nil
	case err != nil:
		return false, err
	}
	rep.close()
	was := versionOf(rec)
	if err := decided(was.Unexpected(rep.Version), ""); err != nil {
		return false, err
	}
	switch {
	case was.Differs(rep.Version) != "":
		return false, nil
	case was.SharesValidator(rep.Version), !j.req.Sum.IsZero(): // the caller verifies the digest
		return true, nil
	}
	same, err := j.sameBytes(ctx, rec)
	if err == nil && !same && was.IsSubstitute(rep.Version) {
		err = errSubstitute
	}
	return same, err
}

// sameBytes compares a finished file with all bytes that the server has, as no validator
// tells whether it has changed: missing evidence proves nothing.
func (j *job) sameBytes(ctx context.Context, rec store.Record) (same bool, err error) {
	f, err := j.d.store.OpenDone(rec)
	if err != nil {
		return false, err
	}
	defer f.Close()
	j.emit(Event{Kind: Warning, Err: errors.New("the server does not say whether the file has changed; all bytes are fetched and compared")})
	for {
		rep, err := j.ask(ctx, nil, chunk.Range{})
		if err != nil {
			return false, err
		}
		same, err := equalBytes(pacedReader{ctx, j, rep.Body}, io.NewSectionReader(f, 0, rec.Size))
		rep.close()
		if err == nil {
			return same, nil
		}
		wait, again := j.setback(failure.ExplainBody(err))
		if !again {
			return false, failure.ExplainBody(err)
		}
		if err := sleep(ctx, wait); err != nil {
			return false, err
		}
	}
}

// equalBytes reports whether body has the bytes of file, all of them and no others. The
// error is that of body, or a permanentError of file.
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

// recheckSum compares a finished file with a digest that it was not checked
// against when it was fetched.
func (j *job) recheckSum(ctx context.Context, rec store.Record) error {
	if j.req.Sum.IsZero() || j.req.Sum == rec.Sum {
		return nil
	}
	f, err := j.d.store.OpenDone(rec)
	if err != nil {
		return err
	}
	defer f.Close()
	return newVerifier(j.req.Sum, f).verdict(ctx, rec.Size)
}
