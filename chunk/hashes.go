package chunk

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// PieceHashes are the digests of the pieces of a file, all of the same length except for the last
// one (RFC 5854 section 4.1.3). Unlike the checksums of Pieces they come from the publisher of the
// file, so that they prove each piece as soon as it is complete. The zero value has none. A
// PieceHashes is immutable, and copies share the digests.
type PieceHashes struct {
	algorithm string // as Sum.Algorithm returns it; "" in the zero value
	length    int64  // of a piece, in bytes
	digests   string // raw bytes of all digests, one after another
}

// NewPieceHashes returns the PieceHashes of pieces of length bytes, whose digests, one after
// another, are digests. It returns an error if the algorithm is unknown, the length is not
// positive, or there is not a whole number of digests.
func NewPieceHashes(algorithm string, length int64, digests []byte) (PieceHashes, error) {
	newHash, ok := algorithms[algorithm]
	switch {
	case !ok:
		return PieceHashes{}, fmt.Errorf("checksum algorithm %q is not one of %s", algorithm, algorithmNames)
	case length <= 0:
		return PieceHashes{}, fmt.Errorf("a piece cannot have %d bytes", length)
	case len(digests) == 0 || len(digests)%newHash().Size() != 0:
		return PieceHashes{}, fmt.Errorf("%d bytes are no digests of %s", len(digests), algorithm)
	}
	return PieceHashes{algorithm, length, string(digests)}, nil
}

// IsZero reports whether there are no digests.
func (p PieceHashes) IsZero() bool { return p.algorithm == "" }

// Algorithm returns the name of the algorithm, for example "sha1", "" for the zero value.
func (p PieceHashes) Algorithm() string { return p.algorithm }

// Length returns the length of a piece in bytes.
func (p PieceHashes) Length() int64 { return p.length }

// Size returns the length of all digests in bytes.
func (p PieceHashes) Size() int { return len(p.digests) }

// Fits reports whether p has the digests of all pieces of a file of size bytes.
func (p PieceHashes) Fits(size int64) bool {
	return !p.IsZero() && size >= 0 && (size+p.length-1)/p.length == int64(p.len())
}

// len returns the number of pieces.
func (p PieceHashes) len() int { return len(p.digests) / p.digestSize() }

func (p PieceHashes) digestSize() int { return algorithms[p.algorithm]().Size() }

// Sum returns the digest of the piece that begins at offset off of the file. p must fit the file.
func (p PieceHashes) Sum(off int64) Sum {
	n := p.digestSize()
	i := int(off/p.length) * n
	return Sum{p.algorithm, p.digests[i : i+n]}
}

// Piece returns the piece of a file of size bytes that contains byte off.
func (p PieceHashes) Piece(off, size int64) Range {
	off -= off % p.length
	return Range{off, min(size, off+p.length)}
}

// MarshalText returns "algorithm:length:base64", "" for the zero value.
func (p PieceHashes) MarshalText() ([]byte, error) {
	if p.IsZero() {
		return nil, nil
	}
	return base64.StdEncoding.AppendEncode(fmt.Appendf(nil, "%s:%d:", p.algorithm, p.length), []byte(p.digests)), nil
}

// UnmarshalText parses the text of MarshalText.
func (p *PieceHashes) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*p = PieceHashes{}
		return nil
	}
	head := bytes.LastIndexByte(text, ':')
	algorithm, length, ok := strings.Cut(string(text[:max(head, 0)]), ":")
	n, err := strconv.ParseInt(length, 10, 64)
	digests, decodeErr := base64.StdEncoding.AppendDecode(nil, text[head+1:])
	if !ok || err != nil || decodeErr != nil {
		return fmt.Errorf("%.40q are no piece hashes", text)
	}
	*p, err = NewPieceHashes(algorithm, n, digests)
	return err
}
