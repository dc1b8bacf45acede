// Package signature recognises the signatures of files, and verifies those of minisign and of
// signify(1). Signatures of OpenPGP it only recognises, because they are verified by gpgv(1). It is
// pure: it opens no file and starts no program.
//
// Minisign and signify share one format of keys and signatures, with Ed25519 (RFC 8032). A line of
// comment is followed by a line of Base64:
//
//	key        "Ed", 8 bytes that identify the key, 32 bytes of the public key
//	signature  "Ed" or "ED", 8 bytes that identify the key, 64 bytes of the signature
//
// With "ED", the BLAKE2b digest (RFC 7693) of the file is signed, and not the file itself. Minisign
// adds a trusted comment, which has a signature of its own. Signify may put the file itself behind the two
// lines, as OpenBSD does in SHA256.sig.
package signature

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/blake2b"
)

// The kinds of errors of a signature, for errors.Is.
var (
	// ErrWrong means that the signature is not one of this file: one of both was altered.
	ErrWrong = errors.New("the signature does not match")
	// ErrUnknownKey means that no trusted key has made the signature.
	ErrUnknownKey = errors.New("it is signed with a key that is not in the keyring")
)

// A Form is the form of a file that has to do with signatures.
type Form int

// The forms.
const (
	Unsigned    Form = iota // no signature, or nothing that this package knows
	ClearSigned             // text with a signature of OpenPGP around it (RFC 9580 section 7)
	OpenPGP                 // a signature or a key of OpenPGP, in binary or armored
	Ed25519                 // a signature or a key of minisign or signify
	Embedded                // a signature of signify with the signed file behind it
)

const (
	commentPrefix = "untrusted comment:"
	trustedPrefix = "trusted comment: "
	armorPrefix   = "-----BEGIN PGP "
)

// FormOf returns the form of a file.
func FormOf(file []byte) Form {
	file = bytes.TrimLeft(file, "\ufeff \t\r\n")
	switch {
	case bytes.HasPrefix(file, []byte(armorPrefix+"SIGNED MESSAGE-----")):
		return ClearSigned
	case bytes.HasPrefix(file, []byte(armorPrefix)):
		return OpenPGP
	case bytes.HasPrefix(file, []byte(commentPrefix)):
		_, rest, _ := bytes.Cut(file, []byte("\n"))
		_, rest, _ = bytes.Cut(rest, []byte("\n"))
		if rest = bytes.TrimSpace(rest); len(rest) > 0 && !bytes.HasPrefix(rest, []byte(trustedPrefix)) && !bytes.HasPrefix(rest, []byte(commentPrefix)) {
			return Embedded
		}
		return Ed25519
	case len(file) > 0 && file[0]&0x80 != 0: // the first byte of a packet (RFC 9580 section 4.2)
		return OpenPGP
	case isKey(file):
		return Ed25519
	}
	return Unsigned
}

// isKey reports whether file is a key without its comment, as minisign prints it.
func isKey(file []byte) bool {
	line, _, _ := bytes.Cut(file, []byte("\n"))
	b, err := decode(string(line), keySize)
	return err == nil && string(b[:2]) == "Ed"
}

const (
	keySize       = 2 + 8 + ed25519.PublicKeySize
	signatureSize = 2 + 8 + ed25519.SignatureSize
)

// decode decodes a line of Base64 that stands for n bytes.
func decode(line string, n int) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
	if err == nil && len(b) != n {
		err = fmt.Errorf("%d bytes instead of %d", len(b), n)
	}
	return b, err
}

// Keys are public keys, by the bytes that identify them.
type Keys map[string]ed25519.PublicKey

// ParseKeys parses a file of one or more keys.
func ParseKeys(file []byte) (Keys, error) {
	keys := make(Keys)
	for line := range strings.Lines(string(file)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, commentPrefix) {
			continue
		}
		b, err := decode(line, keySize)
		if err != nil || string(b[:2]) != "Ed" {
			return nil, errors.New("it has no public key of minisign or signify")
		}
		keys[string(b[2:10])] = b[10:]
	}
	if len(keys) == 0 {
		return nil, errors.New("it has no key")
	}
	return keys, nil
}

// Verify verifies a signature of a file. The error is ErrWrong, ErrUnknownKey, or about the
// signature, which may be none.
func (k Keys) Verify(signature, file []byte) error {
	s, rest, err := parse(signature)
	if err != nil {
		return err
	}
	key, ok := k[s.key]
	if !ok {
		return ErrUnknownKey
	}
	if s.hashed {
		sum := blake2b.Sum512(file)
		file = sum[:]
	}
	if !ed25519.Verify(key, file, s.signature) {
		return ErrWrong
	}
	return s.verifyComment(key, rest)
}

// VerifyEmbedded verifies a file of the form Embedded, and returns the signed file in it.
func (k Keys) VerifyEmbedded(file []byte) (signed []byte, err error) {
	s, rest, err := parse(file)
	if err != nil {
		return nil, err
	}
	key, ok := k[s.key]
	switch {
	case !ok:
		return nil, ErrUnknownKey
	case s.hashed || !ed25519.Verify(key, rest, s.signature):
		return nil, ErrWrong
	}
	return rest, nil
}

// A parsed is a parsed signature.
type parsed struct {
	hashed    bool   // the digest of the file is signed
	key       string // identifies the key
	signature []byte
}

// parse parses the first two lines of a signature, and returns the rest.
func parse(file []byte) (s parsed, rest []byte, err error) {
	comment, rest, _ := bytes.Cut(file, []byte("\n"))
	line, rest, _ := bytes.Cut(rest, []byte("\n"))
	b, err := decode(string(line), signatureSize)
	if !bytes.HasPrefix(comment, []byte(commentPrefix)) || err != nil || string(b[:2]) != "Ed" && string(b[:2]) != "ED" {
		return s, nil, errors.New("it is no signature of minisign or signify")
	}
	return parsed{hashed: string(b[:2]) == "ED", key: string(b[2:10]), signature: b[10:]}, rest, nil
}

// verifyComment verifies the trusted comment of minisign, if rest, the lines after the signature, has
// one. It covers the signature, too.
func (s *parsed) verifyComment(key ed25519.PublicKey, rest []byte) error {
	line, rest, _ := bytes.Cut(rest, []byte("\n"))
	comment, ok := strings.CutPrefix(strings.TrimRight(string(line), "\r"), trustedPrefix)
	if !ok {
		return nil
	}
	global, _, _ := bytes.Cut(rest, []byte("\n"))
	b, err := decode(string(global), ed25519.SignatureSize)
	if err != nil || !ed25519.Verify(key, append(bytes.Clone(s.signature), comment...), b) {
		return ErrWrong
	}
	return nil
}

// Dearmor returns the bytes of all blocks of armored OpenPGP in text (RFC 9580 section 6.2), because
// gpgv reads keys in binary only. A text that is not armored is returned as it is.
func Dearmor(text []byte) ([]byte, error) {
	if FormOf(text) != OpenPGP || text[0]&0x80 != 0 {
		return text, nil
	}
	var all []byte
	var block strings.Builder
	inBlock, inHead := false, false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, armorPrefix):
			inBlock, inHead = true, true
			block.Reset()
		case strings.HasPrefix(line, "-----END PGP "):
			b, err := base64.StdEncoding.DecodeString(block.String())
			if err != nil {
				return nil, errors.New("its armor is damaged")
			}
			all, inBlock = append(all, b...), false
		case !inBlock:
		case inHead: // the header fields end with a blank line
			inHead = line != ""
		case !strings.HasPrefix(line, "="): // that line is a checksum
			block.WriteString(line)
		}
	}
	if inBlock || len(all) == 0 {
		return nil, errors.New("its armor is not complete")
	}
	return all, nil
}
