package downloader

import (
	"errors"
	"fmt"
	"slices"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/weburl"
)

const (
	// maxSameMismatch is how many complete downloads with the same wrong digest mean that the
	// source has another file. One may be damaged on its way, and a second one may come from a
	// cache that keeps the damage. At double, a wrong checksum costs six downloads.
	maxSameMismatch = 3
	// maxSameAgainstServer is maxSameMismatch for a digest that only the server names. Two equal
	// downloads are as much evidence as one field, and each further one costs the whole file. One
	// would fail for damage on the way.
	maxSameAgainstServer = 2
	// maxMismatches limits the complete downloads whose digests all differ, for example because
	// a connection damages each of them. A guess.
	maxMismatches = 6
)

// A mismatch is a complete download whose bytes did not have the wanted digest. It is a
// failure.ErrChecksum.
type mismatch struct {
	want     promise
	got      chunk.Sum
	coded    bool   // the bytes are in a content coding that belongs to the file
	decoded  bool   // such a coding was removed
	admitted bool   // the only source says itself that its file has the digest got
	kept     string // source of the bytes that are still held, because they are not suspect; "" if none are
	sources  []contribution
}

// A contribution is the bytes that one source sent.
type contribution struct {
	source string // URL without credentials, or anEarlierRun
	bytes  chunk.Set
	sums   *chunk.Pieces // of these bytes; nil if they are not known
}

// anEarlierRun is the source of bytes of which nobody knows the source.
const anEarlierRun = "an earlier run"

func (m *mismatch) Error() string {
	return fmt.Sprintf("%v: it should be %s and is %s", failure.ErrChecksum, m.want, m.got)
}

// Is is for errors.Is.
func (m *mismatch) Is(kind error) bool {
	return kind == failure.ErrChecksum || kind == failure.ErrServerDigest && m.want.by == ProofServer
}

// mismatches are the mismatches of one request, in order.
type mismatches []*mismatch

// decode reports whether the next download must remove a content coding: the last download kept
// it and had the wrong digest, and no download has removed it yet.
func (all mismatches) decode() bool {
	return len(all) > 0 && all[len(all)-1].coded && !slices.ContainsFunc(all, func(m *mismatch) bool { return m.decoded })
}

// same returns how many mismatches have the digest of the last one.
func (all mismatches) same() (n int) {
	for _, m := range all {
		if m.got == all[len(all)-1].got && m.coded == all[len(all)-1].coded {
			n++
		}
	}
	return n
}

// confirm reports whether the last download had the same wrong digest as m.
func (all mismatches) confirm(m *mismatch) bool {
	if len(all) == 0 {
		return false
	}
	last := all[len(all)-1]
	return last.want.Sum == m.want.Sum && last.got == m.got && last.coded == m.coded
}

// promise returns the digest of a server that the last download did not have, zero for none.
func (all mismatches) promise() promise {
	if len(all) == 0 || all[len(all)-1].want.by != ProofServer {
		return promise{}
	}
	return all[len(all)-1].want
}

// forgetKept notes that no bytes are kept for the next download. It reports whether some were.
func (all mismatches) forgetKept() bool {
	if len(all) == 0 || all[len(all)-1].kept == "" {
		return false
	}
	all[len(all)-1].kept = ""
	return true
}

// suspects returns in words which bytes the next download fetches.
func (all mismatches) suspects() string {
	if len(all) > 0 && all[len(all)-1].kept != "" {
		return "the suspect bytes"
	}
	return "the whole file"
}

// heldFrom returns the source of the bytes that are held at the beginning of a download.
func (all mismatches) heldFrom() string {
	if len(all) > 0 && all[len(all)-1].kept != "" {
		return all[len(all)-1].kept
	}
	return anEarlierRun
}

// with returns the error of a download that ended with err after these mismatches: err itself, or
// the final error of the request. again reports whether the download is repeated.
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

// final returns the error of the request if no source has the right file, nil if another download
// is worth a try.
func (all mismatches) final() error {
	last := all[len(all)-1]
	switch {
	case all.decode():
		return nil
	case last.admitted:
		return failure.Wrap(failure.ErrOtherFile, fmt.Errorf("%w, as the server says, too: the server has another file", last))
	case last.want.by == ProofServer && all.same() >= maxSameAgainstServer:
		return failure.Wrap(failure.ErrOtherFile, fmt.Errorf("%w in %d complete downloads: the server contradicts itself", last, all.same()))
	case all.same() >= maxSameMismatch:
		return failure.Wrap(failure.ErrOtherFile, fmt.Errorf("%w in %d complete downloads: the server has another file", last, maxSameMismatch))
	case len(all) >= maxMismatches:
		return failure.Wrap(failure.ErrOtherFile, fmt.Errorf("%w; each of %d complete downloads had another digest", last, len(all)))
	}
	return nil
}

// next chooses the source of the next download: the source that has sent bytes in the fewest
// mismatches, and the first of several.
func (all mismatches) next(sources []string) string {
	best, least := sources[0], len(all)+1
	for _, source := range sources {
		n := 0 // mismatches that it may have caused
		for _, m := range all {
			if slices.ContainsFunc(m.sources, func(c contribution) bool { return c.source == weburl.Canonical(source) }) {
				n++
			}
		}
		if n < least {
			best, least = source, n
		}
	}
	return best
}
