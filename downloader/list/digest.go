package list

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"pawl/chunk"
)

// errNotDigest reports a line in none of the forms that checksum files use.
var errNotDigest = errors.New("is not a checksum line")

// algorithmByDigits maps a number of hex digits to the algorithm of an untagged digest.
// 128 digits may be BLAKE2b as well; parseUntagged decides.
var algorithmByDigits = map[int]string{32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}

// parseDigest parses one line of a checksum file. The line must not begin with a blank.
// It has one of these forms:
//
//	HEX  name   HEX *name   HEX name     written by md5sum(1), sha256sum(1) and the like
//	HEX                                  a sidecar file, such as x.iso.sha256; name is ""
//	SHA256 (name) = HEX                  BSD, cksum(1)
//	SHA256(name)= HEX                    openssl-dgst(1)
//
// A backslash before any of these forms means that the name is escaped. The name of the
// list is needed because it may decide the algorithm (see parseUntagged).
//
// It returns errNotDigest for any other line, and another error for a line in one of
// the forms whose algorithm or digest is not valid.
func parseDigest(line, list string) (sum chunk.Sum, name string, err error) {
	line, escaped := strings.CutPrefix(line, `\`)
	if n := countHexDigits(line); n >= 32 && (n == len(line) || isBlank(line[n])) {
		sum, err = parseUntagged(line[:n], list)
		name = nameAfterDigest(line[n:])
	} else {
		sum, name, err = parseTagged(line)
	}
	if err == nil && escaped {
		name, err = unescapeName(name)
	}
	if err != nil {
		return chunk.Sum{}, "", err
	}
	return sum, name, nil
}

// countHexDigits returns the number of hex digits at the start of s.
func countHexDigits(s string) int {
	rest := strings.TrimLeft(s, "0123456789abcdefABCDEF")
	return len(s) - len(rest)
}

// nameAfterDigest returns the file name from the text after a digest: one blank, then
// optionally a space or a star (text or binary mode), then the name. The name may begin
// with further blanks, so they are not trimmed. It returns "" if there is only white space.
func nameAfterDigest(rest string) string {
	if strings.Trim(rest, blanks) == "" {
		return ""
	}
	rest = rest[1:]
	if rest[0] == ' ' || rest[0] == '*' {
		rest = rest[1:]
	}
	return rest
}

// parseUntagged returns the sum of a digest whose algorithm follows from its length.
// SHA-512 and BLAKE2b digests have the same length: BLAKE2b is assumed only if the name
// of the list says so, for example "B2SUMS" or "x.iso.b2".
func parseUntagged(digits, list string) (chunk.Sum, error) {
	algo, ok := algorithmByDigits[len(digits)]
	if !ok {
		return chunk.Sum{}, fmt.Errorf("no known digest has %d hex digits", len(digits))
	}
	base := strings.ToLower(listBaseName(list))
	if algo == "sha512" && (strings.Contains(base, "b2sum") || strings.Contains(base, "blake2") || strings.HasSuffix(base, ".b2")) {
		algo = "blake2b"
	}
	return chunk.ParseSum(algo + ":" + digits)
}

// parseTagged parses a line that names its algorithm. The name of the file ends at the
// last closing parenthesis, because a digest contains none but the name may.
func parseTagged(line string) (sum chunk.Sum, name string, err error) {
	left, right := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if left < 0 || right < left {
		return sum, "", errNotDigest
	}
	digits, ok := strings.CutPrefix(strings.TrimLeft(line[right+1:], blanks), "=")
	digits = strings.Trim(digits, blanks)
	algo := strings.TrimRight(line[:left], blanks)
	if !ok || algo == "" || strings.ContainsFunc(algo, notAlgorithmChar) || len(digits) < 8 || countHexDigits(digits) != len(digits) {
		return sum, "", errNotDigest
	}
	if rest, ok := strings.CutPrefix(strings.ToLower(algo), "sha2-"); ok { // OpenSSL 3 writes SHA2-256
		algo = "sha" + rest
	}
	sum, err = chunk.ParseSum(algo + ":" + digits)
	return sum, line[left+1 : right], err
}

// notAlgorithmChar reports whether r cannot be part of an algorithm's name, such as
// "BLAKE2b-256" or "SHA512/256".
func notAlgorithmChar(r rune) bool {
	return !(r < 0x80 && isLetter(byte(r)) || '0' <= r && r <= '9' || r == '-' || r == '/')
}

// unescapeName undoes the escapes that md5sum(1) and the like write for file names with
// line ends: \\, \n and \r.
func unescapeName(name string) (string, error) {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(name, `\`)
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		switch {
		case strings.HasPrefix(rest, `\`):
			b.WriteByte('\\')
		case strings.HasPrefix(rest, "n"):
			b.WriteByte('\n')
		case strings.HasPrefix(rest, "r"):
			b.WriteByte('\r')
		default:
			return "", errors.New(`escaped name contains a backslash that is not followed by \, n or r`)
		}
		name = rest[1:]
	}
}

// listBaseName returns the last path element of a list's name, which may be a URL.
func listBaseName(list string) string {
	if strings.Contains(list, "://") {
		list, _, _ = strings.Cut(list, "?")
	}
	return list[strings.LastIndexAny(list, `/\`)+1:]
}

// sidecarTarget returns the name of the file that a sidecar checksum file belongs to,
// for example "x.iso" for the list "http://h/x.iso.sha256". It returns an error if the
// name of the list does not end in the name of an algorithm.
func sidecarTarget(list string) (string, error) {
	base := listBaseName(list)
	ext := strings.ToLower(path.Ext(base))
	switch strings.TrimSuffix(strings.TrimSuffix(ext, "sum"), "sums") {
	case ".md5", ".sha1", ".sha224", ".sha256", ".sha384", ".sha512", ".b2", ".blake2b":
		if name := base[:len(base)-len(ext)]; name != "" {
			return name, nil
		}
	}
	return "", fmt.Errorf("digest has no file name, and the list's name %q does not imply one", truncate(base))
}
