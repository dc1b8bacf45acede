package chunk

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/adler32"
	"hash/crc32"
	"strings"

	"golang.org/x/crypto/blake2b"
)

// A Sum is the digest that a file should have. The zero value is no sum.
type Sum struct {
	algo   string // a key of algorithms; "" in the zero value
	digest string // raw bytes, as a string so that Sums compare with ==
}

// algorithms maps each known name to its hash. The last two find accidents and
// prove nothing.
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
}

// algorithmNames is what an error tells of the keys of algorithms.
const algorithmNames = "md5, sha1, sha224, sha256, sha384, sha512, blake2b, crc32c, adler32"

// aliases maps other names of algorithms to their key.
var aliases = map[string]string{
	"b2":          "blake2b", // b2sum(1), its files' extension
	"blake2b-512": "blake2b", // the tag of OpenSSL
}

// newBLAKE2b returns a BLAKE2b hash (RFC 7693) of 512 bits without a key.
func newBLAKE2b() hash.Hash {
	h, err := blake2b.New512(nil)
	if err != nil {
		panic(err) // only a key can be wrong
	}
	return h
}

// ParseSum reads "ALGO:HEX" or "ALGO=HEX". Names are in any case, those of the
// SHA families with or without a dash ("sha-256"); BLAKE2b is of 512 bits.
func ParseSum(text string) (Sum, error) {
	i := strings.IndexAny(text, ":=")
	if i < 0 {
		return Sum{}, fmt.Errorf("checksum %q is not ALGO:HEX", text)
	}
	algo := strings.ToLower(text[:i])
	if rest, ok := strings.CutPrefix(algo, "sha-"); ok {
		algo = "sha" + rest
	} else if key, ok := aliases[algo]; ok {
		algo = key
	}
	newHash, ok := algorithms[algo]
	if !ok {
		return Sum{}, fmt.Errorf("checksum algorithm %q is not one of %s", text[:i], algorithmNames)
	}
	digest, err := hex.DecodeString(text[i+1:])
	if want := newHash().Size(); err != nil || len(digest) != want {
		return Sum{}, fmt.Errorf("checksum %q does not have the %d hex digits of %s", text, 2*want, algo)
	}
	return Sum{algo, string(digest)}, nil
}

// NewSum returns the sum of an algorithm, as Algorithm returns it, whose bytes digest begins
// with. It reports false for an unknown algorithm and for too few bytes.
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

// Digest returns the bytes of the sum.
func (s Sum) Digest() string { return s.digest }

// IsZero reports whether s is no sum.
func (s Sum) IsZero() bool { return s.algo == "" }

// Algorithm returns the key of the sum's algorithm, "" for the zero value.
func (s Sum) Algorithm() string { return s.algo }

// NewHash returns a fresh hash of the sum's algorithm. s must not be zero.
func (s Sum) NewHash() hash.Hash { return algorithms[s.algo]() }

// Matches reports whether h, which NewHash made, has come to this sum.
func (s Sum) Matches(h hash.Hash) bool { return bytes.Equal(h.Sum(nil), []byte(s.digest)) }

// Of returns the sum that h, which s.NewHash made, has come to.
func (s Sum) Of(h hash.Hash) Sum { return Sum{s.algo, string(h.Sum(nil))} }

// String returns "algo:hex" in lower case, or "" for the zero value.
func (s Sum) String() string {
	if s.IsZero() {
		return ""
	}
	return s.algo + ":" + hex.EncodeToString([]byte(s.digest))
}

// MarshalText writes the form that String returns.
func (s Sum) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what ParseSum reads, and empty text as the zero value.
func (s *Sum) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*s = Sum{}
		return nil
	}
	*s, err = ParseSum(string(text))
	return err
}
