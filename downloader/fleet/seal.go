package fleet

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"pawl/downloader/weburl"
)

var (
	// ErrSecrets reports an entry with header fields, a user or a password, which a queue carries only
	// if its processes have a key.
	ErrSecrets = errors.New("the entry has header fields or a password, which a queue carries only with a key")
	// ErrKey reports that the secrets of an entry cannot be read: the key is missing or another one, or
	// somebody has moved the secrets there from another entry.
	ErrKey = errors.New("the secrets of the entry cannot be read with this key")
)

// keyBytes is the length of the key of AES-256.
const keyBytes = 32

// A Sealer encrypts the secrets of entries (AES-256-GCM, NIST SP 800-38D), so that neither the broker
// nor anybody else without the key learns them. The nil *Sealer has no key. A Sealer is safe for
// concurrent use.
type Sealer struct{ aead cipher.AEAD }

// NewSealer returns a Sealer with a key of 32 bytes.
func NewSealer(key []byte) (*Sealer, error) {
	if len(key) != keyBytes {
		return nil, fmt.Errorf("the key has %d bytes, not %d", len(key), keyBytes)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &Sealer{aead}, err
}

// secrets are the parts of an entry that are sealed.
type secrets struct {
	Header http.Header    `json:"h,omitempty"`
	URLs   map[int]string `json:"u,omitempty"` // the URLs with a user, by their index
}

// Seal moves the header fields and the URLs with a user of the entry of an item into Sealed. It changes
// no map or slice that the item may share with others. The error is ErrSecrets if there are any but no
// key.
func (s *Sealer) Seal(run string, it *Item) error {
	e := &it.File.Entry
	sec := secrets{Header: e.Header, URLs: make(map[int]string)}
	public := slices.Clone(e.URLs)
	for i, u := range e.URLs {
		if public[i] = weburl.WithoutUser(u); public[i] != u {
			sec.URLs[i] = u
		}
	}
	if len(sec.Header)+len(sec.URLs) == 0 {
		return nil
	}
	if s == nil {
		return ErrSecrets
	}
	e.Header, e.URLs = nil, public
	it.Sealed = s.aead.Seal(nil, nil, encode(sec), binding(run, it))
	return nil
}

// binding returns the data to which sealed secrets are bound (additional data of the AEAD), so that
// nobody can move them to another run, or to an entry of another host.
func binding(run string, it *Item) []byte { return encode([]any{run, it.ID, it.File.Entry.URLs}) }

// Open undoes Seal. The error is ErrKey if that is not possible.
func (s *Sealer) Open(run string, it *Item) error {
	if len(it.Sealed) == 0 {
		return nil
	}
	if s == nil {
		return ErrKey
	}
	b, err := s.aead.Open(nil, nil, it.Sealed, binding(run, it))
	if err != nil {
		return ErrKey
	}
	var sec secrets
	if err := json.Unmarshal(b, &sec); err != nil {
		return ErrKey
	}
	e := &it.File.Entry
	urls := slices.Clone(e.URLs)
	for i, u := range sec.URLs {
		if i < 0 || i >= len(urls) || weburl.WithoutUser(u) != urls[i] {
			return ErrKey
		}
		urls[i] = u
	}
	e.Header, e.URLs, it.Sealed = sec.Header, urls, nil
	return nil
}
