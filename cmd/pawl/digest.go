package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"pawl/chunk"
	"pawl/downloader/weburl"
)

// A digest is the argument of --checksum. People paste it from a web page, from a line of a
// checksum file, or from the output of a tool.
type digest struct{ chunk.Sum }

// UnmarshalText accepts, with blanks and quotation marks around it,
//
//	sha256:HEX  sha-256=HEX                  also with a digest in base64
//	sha256-BASE64 sha512-BASE64              Subresource Integrity; the strongest digest counts
//	HEX  HEX  f.iso  HEX *f.iso              sha256sum(1); the length decides the algorithm
//	SHA256 (f.iso) = HEX  SHA256(f.iso)= HEX cksum(1), openssl-dgst(1)
//	SHA256  HEX  f.iso                       Get-FileHash
//	DEAD BEEF …                              groups of hex digits, as gpg(1) prints them
//
// in upper or lower case. 128 digits without the name of an algorithm mean sha512.
func (d *digest) UnmarshalText(text []byte) (err error) {
	s := strings.Trim(string(text), " \t\r\n\"'`")
	if s == "" { // an empty environment variable
		d.Sum = chunk.Sum{}
		return nil
	}
	if isURL(s) {
		return fmt.Errorf("%q is a URL and no digest; did you mean --checksums?", weburl.Redact(s))
	}
	for _, parse := range []func(string) (chunk.Sum, error){parseIntegrity, parseTaggedLine, parseBareDigest, parseNamedDigest} {
		if d.Sum, err = parse(s); err != nil || !d.Sum.IsZero() {
			return err
		}
	}
	return fmt.Errorf("%.100q is not a digest such as sha256:HEX, or a line of a checksum file; for the file itself, did you mean --checksums?", s)
}

// checkChecksumFile returns an error if the argument of --checksums is a digest, which is one of --checksum.
func checkChecksumFile(arg string) error {
	var d digest
	if arg == "" || isURL(arg) || isFile(arg) || d.UnmarshalText([]byte(arg)) != nil || d.IsZero() {
		return nil
	}
	return fmt.Errorf("--checksums: %.100q is a digest and no file; did you mean --checksum?", arg)
}

// integrity matches one digest of Subresource Integrity, with its options.
var integrity = regexp.MustCompile(`^(?i:(md5|sha1|sha224|sha256|sha384|sha512))-([A-Za-z0-9+/_-]+={0,2})(\?.*)?$`)

// strength lists the algorithms of integrity, from the weakest to the strongest.
var strength = []string{"md5", "sha1", "sha224", "sha256", "sha384", "sha512"}

// parseIntegrity parses Subresource Integrity metadata: the strongest of the digests counts.
// It returns the zero Sum for anything else.
func parseIntegrity(s string) (best chunk.Sum, err error) {
	for word := range strings.FieldsSeq(s) {
		m := integrity.FindStringSubmatch(word)
		if m == nil {
			return chunk.Sum{}, nil
		}
		sum, err := namedDigest(m[1], m[2])
		if err != nil {
			return sum, err
		}
		rank := func(sum chunk.Sum) int { return slices.Index(strength, sum.Algorithm()) }
		if best.IsZero() || rank(sum) > rank(best) {
			best = sum
		} else if rank(sum) == rank(best) && sum != best {
			return sum, fmt.Errorf("%.100q has two different %s digests", s, sum.Algorithm())
		}
	}
	return best, nil
}

// taggedLine matches a line with the name of the algorithm in front of the name of the file.
var taggedLine = regexp.MustCompile(`^\\?([A-Za-z][A-Za-z0-9-]*)[ \t]*\(.*\)[ \t]*=[ \t]*([0-9A-Za-z+/=]+)$`)

// parseTaggedLine parses "SHA256 (f.iso) = HEX". It returns the zero Sum for anything else.
func parseTaggedLine(s string) (chunk.Sum, error) {
	if m := taggedLine.FindStringSubmatch(s); m != nil {
		return namedDigest(m[1], m[2])
	}
	return chunk.Sum{}, nil
}

// algorithmOfLength maps a number of hex digits to the algorithm of a digest without a name.
var algorithmOfLength = map[int]string{32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}

// parseBareDigest parses hex digits, perhaps in groups, or with the name of a file behind them. It
// returns the zero Sum for anything else.
func parseBareDigest(s string) (chunk.Sum, error) {
	words := strings.Fields(strings.TrimPrefix(s, `\`))
	if all := strings.Join(words, ""); len(words[0]) <= 8 && isHex(all) { // groups
		words = []string{all}
	}
	if !isHex(words[0]) || len(words) == 1 && len(words[0]) < 8 {
		return chunk.Sum{}, nil
	}
	algorithm, ok := algorithmOfLength[len(words[0])]
	if !ok {
		return chunk.Sum{}, fmt.Errorf("%.100q has %d hex digits, and no known digest has; name the algorithm, as in crc32c:HEX", s, len(words[0]))
	}
	return chunk.ParseSum(algorithm + ":" + words[0])
}

// parseNamedDigest parses the name of an algorithm and a digest, with a colon, an equals sign or a
// blank between them. It returns the zero Sum for anything else.
func parseNamedDigest(s string) (chunk.Sum, error) {
	end := strings.IndexAny(s, ":= \t")
	if end <= 0 {
		return chunk.Sum{}, nil
	}
	rest := strings.TrimLeft(s[end:], " \t")
	tagged := strings.IndexByte(":=", rest[0]) >= 0
	words := strings.Fields(strings.TrimPrefix(strings.TrimPrefix(rest, ":"), "="))
	if len(words) == 0 || !tagged && !isHex(words[0]) {
		return chunk.Sum{}, nil
	}
	return namedDigest(s[:end], words[0])
}

// namedDigest returns the Sum of an algorithm and a digest in hex or base64.
func namedDigest(algorithm, value string) (chunk.Sum, error) {
	algorithm = strings.ToLower(algorithm)
	if rest, ok := strings.CutPrefix(algorithm, "sha2-"); ok { // OpenSSL 3 writes SHA2-256
		algorithm = "sha" + rest
	}
	sum, err := chunk.ParseSum(algorithm + ":" + value)
	if err == nil {
		return sum, nil
	}
	plain := strings.NewReplacer("-", "+", "_", "/").Replace(strings.Trim(value, ":=")) // :BASE64: in RFC 9651
	if raw, decodeErr := base64.RawStdEncoding.DecodeString(plain); decodeErr == nil {
		if sum, ok := sumOf(algorithm, raw); ok {
			return sum, nil
		}
	}
	return chunk.Sum{}, err
}

// sumOf returns the Sum with these bytes, if the algorithm has digests of that length.
func sumOf(algorithm string, raw []byte) (chunk.Sum, bool) {
	sum, err := chunk.ParseSum(algorithm + ":" + hex.EncodeToString(raw))
	return sum, err == nil
}

// isHex reports whether s has only hex digits, at least one.
func isHex(s string) bool { return s != "" && strings.Trim(s, "0123456789abcdefABCDEF") == "" }
