package downloader

// This file is about complete downloads whose bytes do not have the wanted digest:
// they are fetched again, from another source first, and the source of the wrong
// bytes is found by comparing the copies.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/store"
)

const (
	// maxSameMismatch is how many complete downloads with the same wrong digest show
	// that the source has another file. One may be damaged on its way, a second one
	// may come from a cache that keeps the damage.
	maxSameMismatch = 3
	// maxMismatches bounds the complete downloads whose digests all differ, as those
	// over a connection that damages every one.
	maxMismatches = 6
)

// A mismatch is a complete download whose bytes did not have the wanted digest. It is
// an failure.ErrChecksum.
type mismatch struct {
	want, got chunk.Sum
	coded     bool // the bytes are in a content coding that belongs to the file
	decoded   bool // such a coding was removed
	sources   []contribution
}

// A contribution is the bytes that one source sent.
type contribution struct {
	source string // URL without credentials, or "an earlier run"
	bytes  chunk.Set
	sums   *chunk.Pieces // of these bytes; nil if they are not known
}

func (m *mismatch) Error() string {
	return fmt.Sprintf("%v: it should be %s and is %s", failure.ErrChecksum, m.want, m.got)
}

// Is is for errors.Is.
func (m *mismatch) Is(kind error) bool { return kind == failure.ErrChecksum }

// mismatches are those of one request, in order.
type mismatches []*mismatch

// decode reports whether the next download has to remove a content coding: the last
// one that kept it had the wrong digest, and none has removed it yet.
func (all mismatches) decode() bool {
	return len(all) > 0 && all[len(all)-1].coded && !slices.ContainsFunc(all, func(m *mismatch) bool { return m.decoded })
}

// same returns how many have the digest of the last one.
func (all mismatches) same() (n int) {
	for _, m := range all {
		if m.got == all[len(all)-1].got && m.coded == all[len(all)-1].coded {
			n++
		}
	}
	return n
}

// with returns the error of a download that ended with err after these: err itself, or
// the final one. again reports whether it is repeated.
func (all mismatches) with(err error) (_ error, again bool) {
	var m *mismatch
	if !errors.As(err, &m) {
		return err, false
	}
	if final := append(slices.Clone(all), m).final(); final != nil {
		return final, false
	}
	return err, true
}

// final returns the error of a request that no source has the right file for, nil if
// another download is worth a try.
func (all mismatches) final() error {
	last := all[len(all)-1]
	switch {
	case all.decode():
		return nil
	case all.same() >= maxSameMismatch:
		return failure.Wrap(failure.ErrOtherFile, fmt.Errorf("%w in %d complete downloads: the server has another file", last, maxSameMismatch))
	case len(all) >= maxMismatches:
		return failure.Wrap(failure.ErrOtherFile, fmt.Errorf("%w; each of %d complete downloads had another digest", last, len(all)))
	}
	return nil
}

// next returns the source to fetch all from, of those that are there: one that has sent
// nothing that was wrong, else the first one, else one after another.
func (all mismatches) next(sources []string) string {
	best, least := sources[0], len(all)+1
	for _, source := range sources {
		n := 0 // downloads that it has spoilt, perhaps
		for _, m := range all {
			if slices.ContainsFunc(m.sources, func(c contribution) bool { return c.source == CanonicalURL(source) }) {
				n++
			}
		}
		if n < least {
			best, least = source, n
		}
	}
	return best
}

// getVerified is getFrom, repeated from single sources while the digest is wrong.
func (d *Downloader) getVerified(ctx context.Context, req Request) (Result, error) {
	sources := append([]string{req.URL}, req.Mirrors...)
	var wrong mismatches
	var all Result
	for {
		res, err := d.getFrom(ctx, req, wrong)
		res.Fetched, res.Retries, res.Elapsed = res.Fetched+all.Fetched, res.Retries+all.Retries, res.Elapsed+all.Elapsed
		all = res
		var m *mismatch
		switch {
		case err == nil || ctx.Err() != nil || req.Stream != nil:
			return all, err
		case errors.Is(err, failure.ErrOtherFile):
			return all, errors.Join(err, d.discard(res.ID))
		case errors.As(err, &m):
			wrong = append(wrong, m)
		case len(wrong) > 0 && slices.ContainsFunc(sources, func(s string) bool { return s != req.URL }) && failure.TryOtherSource(err):
			sources = slices.DeleteFunc(sources, func(s string) bool { return s == req.URL })
		default:
			return all, err
		}
		all.Retries++
		next := wrong.next(sources)
		d.emit(Event{Kind: Restarted, ID: res.ID, URL: WithoutUser(req.URL), Target: res.Target, Held: max(0, res.Size), Err: fmt.Errorf("%w; all of it is fetched again from %s", err, RedactURL(next))})
		req = d.again(req, next, res.ID)
	}
}

// discard forgets the unfinished download id, of which nothing is held, if it is on record.
// A finished file that it was to replace is again what is on record of the target.
func (d *Downloader) discard(id store.ID) error {
	if !d.isUnfinished(id) {
		return nil
	}
	return d.store.Remove(id, true)
}

// isUnfinished reports whether id is on record as a download that is not finished.
func (d *Downloader) isUnfinished(id store.ID) bool {
	rec, err := d.store.Get(id)
	return err == nil && rec.State != store.Done
}

// again is req to fetch all from one source, into the unfinished download id, if that is on
// record.
func (d *Downloader) again(req Request, source string, id store.ID) Request {
	req.URL, req.Mirrors, req.Restart = source, nil, false
	if d.isUnfinished(id) {
		req.ID = id
	}
	return req
}

// mismatched notes that the complete download has the digest got. Its bytes are not
// held any more.
func (j *job) mismatched(got chunk.Sum) error {
	m := &mismatch{want: j.version.digest, got: got, coded: j.version.Coding != "", decoded: j.version.gzip, sources: j.contributions()}
	if j.file.part == nil {
		return m
	}
	j.progress.held.Store(0)
	size := j.version.Size
	if m.coded {
		size = -1 // the next download may have another form
	}
	if err := j.forget(size); err != nil {
		return errors.Join(m, failure.Permanent(err))
	}
	return m
}

// contributions returns who sent which bytes of the file. What no mirror and no earlier run
// has sent came from the URL asked: sums of pieces are linear (chunk.Pieces), so its sums
// are those of the file without those of the others.
func (j *job) contributions() []contribution {
	rest := contribution{j.origin.recorded, chunk.NewSet(chunk.Range{End: max(0, j.version.Size)}), nil}
	if j.file.part != nil {
		rest.sums = j.file.part.PieceSums()
	}
	var all []contribution
	take := func(c contribution) {
		if c.bytes.Len() == 0 {
			return
		}
		for r := range c.bytes.All() {
			rest.bytes.Remove(r)
		}
		for i := range c.sums.Len() {
			rest.sums.AddSum(i, c.sums.Sum(i))
		}
		all = append(all, c)
	}
	for _, m := range j.mirrors {
		m.mu.Lock()
		take(contribution{WithoutUser(m.url.String()), m.written.Clone(), m.sums})
		m.mu.Unlock()
	}
	take(j.file.earlierRun())
	if rest.bytes.Len() > 0 {
		all = append(all, rest)
	}
	return all
}

// blame names the sources of the wrong bytes of earlier downloads, as this one is right.
// The file must still have its part file.
func (j *job) blame() error {
	for _, m := range j.wrong {
		if m.coded && !m.decoded && j.version.gzip { // only the form was wrong
			continue
		}
		var guilty []string
		for _, c := range m.sources {
			wrong, err := j.differs(c)
			if err != nil {
				return err
			}
			if wrong {
				guilty = append(guilty, RedactURL(c.source))
			}
		}
		if len(guilty) > 0 {
			j.emit(Event{Kind: Warning, Err: fmt.Errorf("wrong bytes came from %s; they are replaced", strings.Join(guilty, " and "))})
		}
	}
	return nil
}

// differs reports whether the bytes of c are not those of the part file, which is right. A
// small file has one source, and no part file.
func (j *job) differs(c contribution) (bool, error) {
	if j.file.part == nil || c.sums == nil {
		return c.bytes.Len() > 0, nil
	}
	for i := range c.sums.Len() {
		in := c.bytes.Clone()
		piece := c.sums.Range(i)
		in.Remove(chunk.Range{End: piece.Off})
		in.Remove(chunk.Range{Off: piece.End, End: chunk.Unbounded})
		sum, err := j.file.part.SumOf(in, c.sums.Length())
		if err != nil {
			return false, failure.Permanent(err)
		}
		if sum != c.sums.Sum(i) {
			return true, nil
		}
	}
	return false, nil
}
