package downloader

import (
	"errors"

	"pawl/chunk"
	"pawl/downloader/response"
	"pawl/downloader/sched"
	"pawl/store"
)

// A version is the version of the file whose bytes are held, with the evidence about it. Its size is
// -1 before there is a response.
type version struct {
	response.Version
	evidence response.Evidence
	digest   promise     // to verify at the end: the goal's, or the server's; zero for none
	denied   chunk.Sum   // digest of the server that contradicts the goal's; zero for none
	pieces   *pieceCheck // digests of pieces; nil for none
	gzip     bool        // a content coding is removed from the body
	page     bool        // it is a web page, although neither its name nor its URL says so
	unframed bool        // the server does not mark the end of the body
}

var (
	// errUnframed is a warning.
	errUnframed = errors.New("the server does not say where the file ends; if its connection breaks, the first part passes for the whole file")
	// errMayMix is a warning.
	errMayMix = errors.New("the server sends neither ETag nor Last-Modified, and no digest is known; pawl uses one connection, because several could mix two versions")
)

// isProvenByDigest reports whether the digest that is verified at the end, or the digests of all
// pieces, show every alteration of the file. A weak one shows accidents only.
func (v *version) isProvenByDigest() bool {
	return v.pieces.use(v.Size) || !v.digest.IsZero() && !v.digest.isWeak()
}

// mayMix reports whether the bytes of two versions could be mixed without notice, because
// neither a validator nor a digest distinguishes them.
func (v *version) mayMix() bool {
	return v.ETag == "" && v.LastModified == "" && v.digest.IsZero() && !v.pieces.use(v.Size)
}

// isLarge reports whether the missing bytes are worth several connections.
func (v *version) isLarge(held int64) bool {
	return v.Size < 0 || v.Size-held > sched.MinRequest
}

// versionOf returns the version whose bytes rec holds.
func versionOf(rec store.Record) response.Version {
	return response.Version{Size: rec.Size, ETag: rec.ETag, LastModified: rec.LastModified, MediaType: rec.Type, Coding: rec.Coding}
}
