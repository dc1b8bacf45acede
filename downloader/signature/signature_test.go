package signature

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/blake2b"
)

// A signer makes keys and signatures in the format of the package.
type signer struct {
	id  string
	key ed25519.PrivateKey
}

func newSigner(id byte) signer {
	return signer{strings.Repeat(string('a'+id), 8), ed25519.NewKeyFromSeed(bytes.Repeat([]byte{id}, ed25519.SeedSize))}
}

func (s signer) line(algorithm string, b []byte) string {
	return base64.StdEncoding.EncodeToString([]byte(algorithm+s.id+string(b))) + "\n"
}

func (s signer) public() string {
	return "untrusted comment: a key\n" + s.line("Ed", s.key.Public().(ed25519.PublicKey))
}

// signify returns a signature of signify, and of old minisign without its trusted comment.
func (s signer) signify(file string) string {
	return "untrusted comment: verify with key.pub\n" + s.line("Ed", ed25519.Sign(s.key, []byte(file)))
}

// minisign returns a signature of minisign with a trusted comment.
func (s signer) minisign(file, comment string) string {
	sum := blake2b.Sum512([]byte(file))
	sig := ed25519.Sign(s.key, sum[:])
	global := ed25519.Sign(s.key, append(bytes.Clone(sig), comment...))
	return "untrusted comment: signature\n" + s.line("ED", sig) + "trusted comment: " + comment + "\n" + base64.StdEncoding.EncodeToString(global) + "\n"
}

func TestVerify(t *testing.T) {
	a, b := newSigner(0), newSigner(1)
	const file = "SHA256 (x) = 00\n"
	bare := strings.SplitAfter(a.public(), "\n")[1]
	tests := []struct {
		name, keys, signature string
		want                  error
	}{
		{"signify", a.public(), a.signify(file), nil},
		{"minisign", a.public(), a.minisign(file, "timestamp:1"), nil},
		{"minisign with CRLF", a.public(), strings.ReplaceAll(a.minisign(file, "timestamp:1"), "\n", "\r\n"), nil},
		{"a bare key", bare, a.signify(file), nil},
		{"two keys", b.public() + a.public(), a.signify(file), nil},
		{"another key", b.public(), a.signify(file), ErrUnknownKey},
		{"another key, minisign", b.public(), a.minisign(file, "c"), ErrUnknownKey},
		{"another file", a.public(), a.signify(file + "x"), ErrWrong},
		{"another file, minisign", a.public(), a.minisign(file+"x", "c"), ErrWrong},
		{"another comment", a.public(), strings.Replace(a.minisign(file, "old"), ": old", ": new", 1), ErrWrong},
		{"a key with the id of another one", signer{a.id, b.key}.public(), a.signify(file), ErrWrong},
	}
	for _, tt := range tests {
		keys, err := ParseKeys([]byte(tt.keys))
		if err != nil {
			t.Fatal(err)
		}
		if err := keys.Verify([]byte(tt.signature), []byte(file)); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestVerifyEmbedded(t *testing.T) {
	a := newSigner(0)
	keys, _ := ParseKeys([]byte(a.public()))
	const file = "SHA256 (x) = 00\n"
	if got, err := keys.VerifyEmbedded([]byte(a.signify(file) + file)); string(got) != file || err != nil {
		t.Errorf("got %q, %v, want the file", got, err)
	}
	for _, altered := range []string{a.signify(file) + file + "x", a.signify(file), strings.Split(a.minisign(file, "c"), "trusted")[0] + file} {
		if got, err := keys.VerifyEmbedded([]byte(altered)); err == nil {
			t.Errorf("got %q of %q, want an error", got, altered)
		}
	}
}

func TestParseInvalid(t *testing.T) {
	a := newSigner(0)
	for _, s := range []string{"", "x", "untrusted comment: c\n", a.signify("f"), "untrusted comment: c\nRWQ=\n"} {
		if keys, err := ParseKeys([]byte(s)); err == nil {
			t.Errorf("ParseKeys(%q): got %v, want an error", s, keys)
		}
	}
	keys, _ := ParseKeys([]byte(a.public()))
	for _, s := range []string{"", "x", a.public(), "untrusted comment: c\n!\n", strings.Split(a.signify("f"), "\n")[1]} {
		if err := keys.Verify([]byte(s), nil); err == nil || errors.Is(err, ErrWrong) {
			t.Errorf("Verify(%q): got %v, want an error about the format", s, err)
		}
	}
}

func TestFormOf(t *testing.T) {
	a := newSigner(0)
	for text, want := range map[string]Form{
		"": Unsigned, "00  x\n": Unsigned, "http://h/x": Unsigned,
		"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n": ClearSigned,
		"\n-----BEGIN PGP SIGNATURE-----\n":                  OpenPGP,
		"-----BEGIN PGP PUBLIC KEY BLOCK-----\n":             OpenPGP,
		"\x89\x01":                                           OpenPGP,
		a.public():                                           Ed25519,
		a.signify("x"):                                       Ed25519,
		a.minisign("x", "c"):                                 Ed25519,
		a.signify("x") + "x":                                 Embedded,
		a.public() + a.public():                              Ed25519,
		a.public()[25:]:                                      Ed25519,
	} {
		if got := FormOf([]byte(text)); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

func TestDearmor(t *testing.T) {
	block := "-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: 1\n\nmQEN\nBA==\n=AAAA\n-----END PGP PUBLIC KEY BLOCK-----\n"
	for text, want := range map[string]string{block: "\x99\x01\x0d\x04", "prose\n": "prose\n", "\x99\x01": "\x99\x01", block + block: "\x99\x01\x0d\x04\x99\x01\x0d\x04"} {
		if got, err := Dearmor([]byte(text)); string(got) != want || err != nil {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{block[:60], strings.Replace(block, "mQEN", "!", 1)} {
		if got, err := Dearmor([]byte(text)); err == nil {
			t.Errorf("%q: got %q, want an error", text, got)
		}
	}
}

func FuzzVerify(f *testing.F) {
	a := newSigner(0)
	keys, _ := ParseKeys([]byte(a.public()))
	f.Add([]byte(a.signify("x")), []byte("x"))
	f.Add([]byte(a.minisign("x", "c")), []byte("y"))
	f.Fuzz(func(t *testing.T, signature, file []byte) {
		FormOf(signature)
		Dearmor(signature)
		ParseKeys(signature)
		if keys.Verify(signature, file) == nil && string(file) != "x" {
			t.Errorf("%q is accepted as a signature of %q", signature, file)
		}
	})
}
