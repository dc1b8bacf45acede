package downloader

// This file is about what vouches for the bytes of a download: a digest, a validator, and
// a marked end.

import (
	"errors"
	"slices"

	"pawl/chunk"
	"pawl/downloader/sched"
)

// expect takes over what rep says of the whole file, beside its version: the digest,
// unless one was asked for, whether its end is marked, and its coding.
func (j *job) expect(rep *reply) {
	j.decoding, j.unframed = rep.coding != "", rep.unframed
	if j.req.Sum.IsZero() && !j.decoding {
		j.sum = reprDigest(rep.Header)
		if s, ok := j.sink.(*streamSink); ok {
			s.expect(j.sum)
		}
	}
	if rep.note != "" {
		j.emit(Event{Kind: Warning, Err: errors.New(rep.note)})
	}
	if j.unframed {
		j.emit(Event{Kind: Warning, Err: errUnframed})
	}
}

// errUnframed is a warning.
var errUnframed = errors.New("the server does not say where the file ends; if its connection breaks, a part passes for the whole")

// proves reports whether the digest that is verified at the end shows every alteration
// of the file, and not only accidents.
func (j *job) proves() bool {
	return !j.sum.IsZero() && !slices.Contains([]string{"crc32c", "adler32"}, j.sum.Algorithm())
}

// mayMix reports whether bytes of two versions could be mixed without notice, as
// neither a validator nor a digest tells them apart. Then one connection fetches
// everything. The user is told if that costs much.
func (j *job) mayMix(held chunk.Set) bool {
	if j.id.etag != "" || j.id.lastModified != "" || !j.sum.IsZero() || j.req.Stream != nil || j.d.opts.SplitUnverified {
		return false
	}
	if j.id.size < 0 || j.id.size-held.Len() > sched.MinRequest {
		j.emit(Event{Kind: Warning, Err: errMayMix})
	}
	return true
}

// errMayMix is a warning.
var errMayMix = errors.New("the server sends neither ETag nor Last-Modified, and no digest is known; one connection is used, as several could mix two versions")
