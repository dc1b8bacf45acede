package downloader

import (
	"fmt"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/response"
)

// A Proof says how the bytes of a file were proved. The values are an interface for programs that
// read reports.
type Proof string

const (
	ProofSignature Proof = "signature"     // the digest of a list whose signature was verified
	ProofYours     Proof = "digest:you"    // the digest of the user
	ProofList      Proof = "digest:list"   // the digest of a list, or of a checksum file
	ProofServer    Proof = "digest:server" // the digest that the server names; it proves the transport, not the server
	ProofChecksums Proof = "checksums"     // no digest is known; pawl's own checksums are of the bytes that were received
	ProofNone      Proof = "none"          // nothing: no digest is known, and the bytes went to a stream
)

// ProofOf returns how a file was proved that has no digest but sum, the digest of its record, zero for
// none. A record does not say whether the digest was the user's or a list's; listed does.
func ProofOf(sum chunk.Sum, listed bool) Proof {
	switch {
	case sum.IsZero():
		return ProofChecksums
	case listed:
		return ProofList
	}
	return ProofYours
}

// A promise is a digest that the file must have, and whose word that is.
type promise struct {
	chunk.Sum
	by    Proof  // "" if that does not matter
	field string // header field of the server, "" for others
	hint  bool   // the field is often wrong, so that two equal downloads outweigh it
	from  string // recorded URL of the server, "" for others
}

// String returns the digest, and in parentheses whose it is.
func (p promise) String() string {
	switch p.by {
	case ProofYours:
		return fmt.Sprintf("%v (your digest)", p.Sum)
	case ProofList:
		return fmt.Sprintf("%v (the list's digest)", p.Sum)
	case ProofSignature:
		return fmt.Sprintf("%v (the signed list's digest)", p.Sum)
	case ProofServer:
		return fmt.Sprintf("%v (the server's %s)", p.Sum, p.field)
	}
	return p.Sum.String()
}

// isWeak reports whether somebody could make another file with the same digest. MD5 and SHA-1 of
// the user or of a list are not weak: two files with one such digest must come from one author.
// RFC 9530 §7.2 allows MD5 and SHA-1 of a server for accidents only.
func (p promise) isWeak() bool {
	switch p.Algorithm() {
	case "crc32c", "crc32", "crc64nvme", "adler32":
		return true
	case "md5", "sha1":
		return p.by == ProofServer
	}
	return p.hint
}

// isComposed reports whether the digest is compared with the checksums of the pieces, which are CRC-32C,
// too, and not with the file. The digest of a user is compared with the file, because the user may want
// the disk to be read.
func (p promise) isComposed() bool { return p.by == ProofServer && p.Algorithm() == "crc32c" }

// recorded returns the digest that a record keeps as the server's, so that a later run verifies it
// even if its own responses do not name it, zero for none.
func (p promise) recorded() chunk.Sum {
	if p.by != ProofServer || p.hint {
		return chunk.Sum{}
	}
	return p.Sum
}

// promise returns the digest of the goal.
func (g *goal) promise() promise {
	if g.sum.IsZero() {
		return promise{}
	}
	return promise{Sum: g.sum, by: g.sumBy}
}

// useServerDigest takes the digests of the file from the header of rep. The goal's digest
// stands; if the server contradicts it, that is a warning. Without one, the server's strongest digest
// counts. After a mismatch with the digest of another server, that one still counts, because a
// mirror must not outweigh the server that was asked first. A digest that an earlier response named
// counts as long as nothing shows another version.
func (j *job) useServerDigest(rep *reply) {
	if j.engine.opts.IgnoreServerDigest {
		return
	}
	all, contradicting := response.Digests(rep.Header, rep.Content)
	if len(contradicting) > 0 {
		j.warn("the server contradicts itself about the digest of the file (%s and %s); pawl ignores both", contradicting[0], contradicting[1])
	}
	if !j.goal.sum.IsZero() {
		j.contradicted(all)
		return
	}
	own := promise{}
	if len(all) > 0 {
		own = promise{Sum: all[0].Sum, by: ProofServer, field: all[0].Field, hint: all[0].Hint, from: j.origin.recorded}
	}
	if earlier := j.wrong.promise(); own.IsZero() || !earlier.IsZero() && earlier.from != own.from {
		own = earlier
	}
	if was := j.version.digest; own.IsZero() && !was.recorded().IsZero() && j.version.Differs(rep.Version) == "" {
		own = was
	}
	j.version.digest = own
	if s := j.file.stream; s != nil {
		s.expect(own)
	}
}

// contradicted notes the digest of the server that contradicts the goal's, and reports it once.
func (j *job) contradicted(all []response.Digest) {
	for _, d := range all {
		if d.Hint || d.Algorithm() != j.goal.sum.Algorithm() || d.Sum == j.goal.sum || d.Sum == j.version.denied {
			continue
		}
		j.version.denied = d.Sum
		j.warn("the server says that the file has %v (%s), and it should have %v; pawl verifies the latter", d.Sum, d.Field, j.goal.promise())
	}
}

// denies returns an error if a mirror, of which rep is a response, names another digest than the
// wanted one.
func (d *download) denies(rep *reply) error {
	want := d.version.digest
	if d.engine.opts.IgnoreServerDigest || want.IsZero() {
		return nil
	}
	all, _ := response.Digests(rep.Header, rep.Content)
	for _, o := range all {
		if !o.Hint && o.Algorithm() == want.Algorithm() && o.Sum != want.Sum {
			return fmt.Errorf("%w: it names %v (%s), and the file should have %v", failure.ErrChanged, o.Sum, o.Field, want)
		}
	}
	return nil
}

// warn reports a warning.
func (d *download) warn(format string, args ...any) {
	d.emit(Event{Kind: Warning, Err: fmt.Errorf(format, args...)})
}

// proof returns how the file of a download that has succeeded was proved.
func (d *download) proof() Proof {
	switch {
	case !d.version.digest.IsZero():
		return d.version.digest.by
	case d.file.stream != nil:
		return ProofNone
	}
	return ProofChecksums
}
