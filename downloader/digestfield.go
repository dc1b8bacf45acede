package downloader

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"

	"pawl/chunk"
)

// reprDigest returns the digest of the whole file that a response has in its Repr-Digest
// field, zero if there is none (RFC 9530 §3, a dictionary of RFC 9651 §3.2). Only the
// algorithms that the RFC calls active are used. A field that cannot be parsed is ignored.
func reprDigest(h http.Header) (sum chunk.Sum) {
	for member := range strings.SplitSeq(strings.Join(h.Values("Repr-Digest"), ","), ",") {
		key, value, _ := strings.Cut(member, "=")
		value, _, _ = strings.Cut(value, ";")
		algorithm := map[string]string{"sha-256": "sha256", "sha-512": "sha512"}[strings.Trim(key, " \t")]
		text, ok := strings.CutPrefix(strings.Trim(value, " \t"), ":")
		if text, ok = strings.CutSuffix(text, ":"); algorithm == "" || !ok {
			continue
		}
		digest, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
		if err != nil {
			continue
		}
		if s, err := chunk.ParseSum(algorithm + ":" + hex.EncodeToString(digest)); err == nil {
			sum = s
		}
	}
	return sum
}

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
	if j.id.size < 0 || j.id.size-held.Len() > leastRange {
		j.emit(Event{Kind: Warning, Err: errMayMix})
	}
	return true
}

// errMayMix is a warning.
var errMayMix = errors.New("the server sends neither ETag nor Last-Modified, and no digest is known; one connection is used, as several could mix two versions")
