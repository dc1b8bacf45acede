package downloader

// This file is about what vouches for the bytes of a download: a digest, a validator, and
// a marked end.

import (
	"errors"
	"slices"

	"pawl/chunk"
	"pawl/downloader/response"
)

// expect takes over what rep says of the whole file, beside its version: the digest,
// unless one was asked for, whether its end is marked, and its coding.
func (j *job) expect(rep *reply) {
	j.version.gzip, j.version.unframed = rep.Gzip, rep.unframed
	if j.goal.sum.IsZero() && !j.version.gzip {
		j.version.digest = response.ReprDigest(rep.Header)
		if s, ok := j.sink.(*streamSink); ok {
			s.expect(j.version.digest)
		}
	}
	if rep.Note != "" {
		j.emit(Event{Kind: Warning, Err: errors.New(rep.Note)})
	}
	if j.version.unframed {
		j.emit(Event{Kind: Warning, Err: errUnframed})
	}
}

// errUnframed is a warning.
var errUnframed = errors.New("the server does not say where the file ends; if its connection breaks, a part passes for the whole")

// proves reports whether the digest that is verified at the end shows every alteration
// of the file, and not only accidents.
func (j *job) proves() bool {
	return !j.version.digest.IsZero() && !slices.Contains([]string{"crc32c", "adler32"}, j.version.digest.Algorithm())
}

// mayMix reports whether bytes of two versions could be mixed without notice, as
// neither a validator nor a digest tells them apart. Then one connection fetches
// everything. The user is told if that costs much.
func (j *job) mayMix(held chunk.Set) bool {
	if j.version.ETag != "" || j.version.LastModified != "" || !j.version.digest.IsZero() || j.req.Stream != nil || j.d.opts.SplitUnverified {
		return false
	}
	if j.version.Size < 0 || j.version.Size-held.Len() > leastRange {
		j.emit(Event{Kind: Warning, Err: errMayMix})
	}
	return true
}

// errMayMix is a warning.
var errMayMix = errors.New("the server sends neither ETag nor Last-Modified, and no digest is known; one connection is used, as several could mix two versions")
