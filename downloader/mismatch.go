package downloader

// This file is about complete downloads whose bytes do not have the wanted digest:
// they are fetched again, from another source first, and the source of the wrong
// bytes is found by comparing the copies.

import (
	"errors"
	"fmt"
	"slices"

	"pawl/chunk"
	"pawl/downloader/failure"
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
