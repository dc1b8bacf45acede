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
	"strings"
)

// A Sum is the digest that a file should have. The zero value is no sum.
type Sum struct {
	algo   string // a key of algorithms; "" in the zero value
	digest string // raw bytes, as a string so that Sums compare with ==
}

// algorithms maps each known name to its hash.
var algorithms = map[string]func() hash.Hash{
	"md5":    md5.New,
	"sha1":   sha1.New,
	"sha224": sha256.New224,
	"sha256": sha256.New,
	"sha384": sha512.New384,
	"sha512": sha512.New,
}

// ParseSum reads "ALGO:HEX" or "ALGO=HEX". Names are those of the md5, sha1 and
// SHA-2 families in any case, with or without a dash ("sha-256").
func ParseSum(text string) (Sum, error) {
	i := strings.IndexAny(text, ":=")
	if i < 0 {
		return Sum{}, fmt.Errorf("checksum %q is not ALGO:HEX", text)
	}
	algo := strings.Replace(strings.ToLower(text[:i]), "sha-", "sha", 1)
	newHash, ok := algorithms[algo]
	if !ok {
		return Sum{}, fmt.Errorf("checksum algorithm %q is not one of md5, sha1, sha224, sha256, sha384, sha512", text[:i])
	}
	digest, err := hex.DecodeString(text[i+1:])
	if want := newHash().Size(); err != nil || len(digest) != want {
		return Sum{}, fmt.Errorf("checksum %q does not have the %d hex digits of %s", text, 2*want, algo)
	}
	return Sum{algo, string(digest)}, nil
}

// IsZero reports whether s is no sum.
func (s Sum) IsZero() bool { return s.algo == "" }

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
