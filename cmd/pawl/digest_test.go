package main

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// --checksum accepts digests in the forms in which people find them.
func TestDigest(t *testing.T) {
	text := []byte("abc")
	s256, s512, s384, s1, m5 := sha256.Sum256(text), sha512.Sum512(text), sha512.Sum384(text), sha1.Sum(text), md5.Sum(text)
	h256, h512 := hex.EncodeToString(s256[:]), hex.EncodeToString(s512[:])
	b64 := base64.StdEncoding.EncodeToString
	want256, want512 := "sha256:"+h256, "sha512:"+h512
	var groups []string
	for i := 0; i < len(h256); i += 8 {
		groups = append(groups, strings.ToUpper(h256[i:i+8]))
	}
	for in, want := range map[string]string{
		h256:                                   want256,
		strings.ToUpper(h256):                  want256,
		"  " + h256 + "\n":                     want256,
		`"` + h256 + `"`:                       want256,
		h512:                                   want512,
		hex.EncodeToString(s384[:]):            fmt.Sprintf("sha384:%x", s384),
		hex.EncodeToString(s1[:]):              fmt.Sprintf("sha1:%x", s1),
		hex.EncodeToString(m5[:]):              fmt.Sprintf("md5:%x", m5),
		strings.Join(groups, " "):              want256,
		h256 + "  f.iso":                       want256,
		h256 + " *my file.iso":                 want256,
		h256 + "\tf.iso":                       want256,
		`\` + h256 + `  a\nb`:                  want256,
		h256 + "  dead":                        want256,
		"SHA256 (f (1).iso) = " + h256:         want256,
		"SHA2-256(f.iso)= " + h256:             want256,
		"SHA512(stdin)= " + h512:               want512,
		"SHA256          " + h256 + "   C:\\f": want256,
		"sha256:" + h256:                       want256,
		"sha256=" + strings.ToUpper(h256):      want256,
		"SHA-256: " + h256:                     want256,
		"sha256 = " + h256:                     want256,
		"sha256:" + h256 + "  f.iso":           want256,
		"sha256-" + b64(s256[:]):               want256,
		"SHA256-" + b64(s256[:]):               want256,
		"sha256-" + h256:                       want256,
		"sha512-" + strings.TrimRight(b64(s512[:]), "="):                                    want512,
		"sha512-" + base64.RawURLEncoding.EncodeToString(s512[:]):                           want512,
		"sha256-" + b64(s256[:]) + " sha512-" + b64(s512[:]) + "?x sha1-" + b64(s1[:]):      want512,
		"sha512-" + b64(s512[:]) + "\n  sha512-" + b64(s512[:]) + " sha384-" + b64(s384[:]): want512,
		"sha-256=" + b64(s256[:]):        want256,
		"sha-256=:" + b64(s256[:]) + ":": want256,
		"":                               "",
	} {
		var d digest
		if err := d.UnmarshalText([]byte(in)); err != nil || d.String() != want {
			t.Errorf("%q: got %s, %v, want %s", in, d, err, want)
		}
	}
	for in, want := range map[string]string{
		"SHA256SUMS":                          "--checksums",
		"f.iso":                               "--checksums",
		h256[1:]:                              "63 hex digits",
		h256 + "0":                            "65 hex digits",
		"0x" + h256:                           "not a digest",
		"md5:12":                              "32 hex digits of md5",
		"sha256:" + h512:                      "64 hex digits of sha256",
		"sha256-" + b64(s1[:]):                "64 hex digits of sha256",
		"md4-" + b64(s256[:]):                 "not a digest",
		"whirlpool:" + h512:                   "not one of",
		"sha256-" + b64(s256[:]) + " " + h256: "not one of",
		"sha512-" + b64(s512[:]) + " sha512-" + b64(append(s256[:], s256[:]...)): "two different",
	} {
		var d digest
		if err := d.UnmarshalText([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %s, error %v, want an error with %q", in, d, err, want)
		}
	}
}
