package chunk

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/adler32"
	"hash/crc32"
	"hash/crc64"
	"strings"

	"golang.org/x/crypto/blake2b"
)

// A Sum is the expected checksum of a file: an algorithm and a digest. The zero value means
// that there is no checksum. Sums can be compared with ==.
//
// The algorithm "sha512|blake2b" is for a digest that is one of both. Their digests have the
// same length, and some checksum files do not say which one they contain.
type Sum struct {
	algorithm string // a key of algorithms; "" in the zero value
	digest    string // raw bytes; a string and not a slice, so that == works
}

// algorithms maps the name of each algorithm to its constructor. The CRCs and adler32 detect
// accidents, but anybody can make another file with the same checksum.
var algorithms = map[string]func() hash.Hash{
	"md5":     md5.New,
	"sha1":    sha1.New,
	"sha224":  sha256.New224,
	"sha256":  sha256.New,
	"sha384":  sha512.New384,
	"sha512":  sha512.New,
	"blake2b": newBLAKE2b,
	"crc32c":  func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
	"adler32": func() hash.Hash { return adler32.New() },

	// Algorithms that object stores use in header fields.
	"crc32":     func() hash.Hash { return crc32.NewIEEE() },
	"crc64nvme": func() hash.Hash { return crc64.New(crc64.MakeTable(crc64NVME)) },

	// A digest of 128 hex digits of which nobody knows the algorithm.
	"sha512|blake2b": func() hash.Hash { return &eitherHash{sha512.New(), newBLAKE2b()} },
}

// crc64NVME is the polynomial of CRC-64/NVME in reversed form (NVM Express, NVM Command Set
// specification §5.2.1.3.4, "64b CRC").
const crc64NVME = 0x9a6c9329ac4bc9b5

// An eitherHash computes two digests of the same length. Its Sum is the first digest.
type eitherHash struct {
	hash.Hash
	second hash.Hash
}

func (h *eitherHash) Write(b []byte) (int, error) {
	h.second.Write(b)
	return h.Hash.Write(b)
}

func (h *eitherHash) Reset() {
	h.second.Reset()
	h.Hash.Reset()
}

// algorithmNames lists the keys of algorithms for error messages, except for the pair, which
// nobody types. It must be kept in step with them.
const algorithmNames = "md5, sha1, sha224, sha256, sha384, sha512, blake2b, crc32c, crc32, crc64nvme, adler32"

// aliases maps other names of algorithms to keys of algorithms.
var aliases = map[string]string{
	"b2":          "blake2b", // the file extension that b2sum(1) suggests
	"blake2b-512": "blake2b", // the name in the output of OpenSSL
}

// newBLAKE2b returns a BLAKE2b hash (RFC 7693) of 512 bits without a key.
func newBLAKE2b() hash.Hash {
	h, err := blake2b.New512(nil)
	if err != nil {
		panic(err) // impossible: New512 fails only if a key is too long
	}
	return h
}

// ParseSum parses "ALGO:HEX" or "ALGO=HEX", for example "sha-256=1ed1d1…". The algorithm may
// be in any case, and the SHA algorithms may be written with a dash. blake2b means a digest
// of 512 bits.
func ParseSum(text string) (Sum, error) {
	i := strings.IndexAny(text, ":=")
	if i < 0 {
		return Sum{}, fmt.Errorf("checksum %q is not of the form ALGO:HEX", text)
	}
	algorithm := strings.ToLower(text[:i])
	if rest, ok := strings.CutPrefix(algorithm, "sha-"); ok {
		algorithm = "sha" + rest
	} else if key, ok := aliases[algorithm]; ok {
		algorithm = key
	}
	newHash, ok := algorithms[algorithm]
	if !ok {
		return Sum{}, fmt.Errorf("checksum algorithm %q is not one of %s", text[:i], algorithmNames)
	}
	digest, err := hex.DecodeString(text[i+1:])
	if want := newHash().Size(); err != nil || len(digest) != want {
		return Sum{}, fmt.Errorf("checksum %q does not have the %d hex digits of %s", text, 2*want, algorithm)
	}
	return Sum{algorithm, string(digest)}, nil
}

// NewSum returns the Sum of an algorithm, named as Algorithm returns it. The digest is taken
// from the start of digest; further bytes are ignored. It reports false if the algorithm is
// unknown or there are too few bytes.
func NewSum(algorithm string, digest []byte) (Sum, bool) {
	newHash, ok := algorithms[algorithm]
	if !ok {
		return Sum{}, false
	}
	n := newHash().Size()
	if len(digest) < n {
		return Sum{}, false
	}
	return Sum{algorithm, string(digest[:n])}, true
}

// Digest returns the raw bytes of the digest, "" for the zero value.
func (s Sum) Digest() string { return s.digest }

// IsZero reports whether s is the zero value, which means that there is no checksum.
func (s Sum) IsZero() bool { return s.algorithm == "" }

// Algorithm returns the name of the algorithm, for example "sha256", "" for the zero value.
func (s Sum) Algorithm() string { return s.algorithm }

// NewHash returns a new hash of the sum's algorithm. s must not be the zero value.
func (s Sum) NewHash() hash.Hash { return algorithms[s.algorithm]() }

// Matches reports whether the digest of h equals s. h must come from s.NewHash.
func (s Sum) Matches(h hash.Hash) bool { return s.Of(h) == s }

// Of returns the digest of h as a Sum of the same algorithm as s. h must come from
// s.NewHash. If s is of two algorithms, Of returns s if the digest of one of them equals it.
func (s Sum) Of(h hash.Hash) Sum {
	if e, ok := h.(*eitherHash); ok && string(e.second.Sum(nil)) == s.digest {
		return s
	}
	return Sum{s.algorithm, string(h.Sum(nil))}
}

// String returns "algorithm:hex" in lower case, "" for the zero value.
func (s Sum) String() string {
	if s.IsZero() {
		return ""
	}
	return s.algorithm + ":" + hex.EncodeToString([]byte(s.digest))
}

// MarshalText returns the same text as String.
func (s Sum) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText parses text as ParseSum does; empty text gives the zero value.
func (s *Sum) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*s = Sum{}
		return nil
	}
	*s, err = ParseSum(string(text))
	return err
}
