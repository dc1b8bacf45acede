package list

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"pawl/chunk"
)

// errNoDigest is of a line that is in none of the forms of checksum files.
var errNoDigest = errors.New("is no line of a checksum file")

// byDigits gives the algorithm of a digest that is not tagged with one by its
// number of hex digits. Of 128 there are two, see untagged.
var byDigits = map[int]string{32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}

// parseDigest reads one line, without blanks before it, in one of the forms
//
//	HEX  name   HEX *name   HEX name     md5sum(1) and its kind
//	HEX                                  a file's companion; name is then ""
//	SHA256 (name) = HEX                  BSD, and cksum(1)
//	SHA256(name)= HEX                    openssl-dgst(1)
//
// where a backslash before all of it says that the name is escaped. The name of
// the list helps to tell the algorithm.
func parseDigest(line, list string) (sum chunk.Sum, name string, err error) {
	line, escaped := strings.CutPrefix(line, `\`)
	if n := hexDigits(line); n >= 32 && (n == len(line) || isBlank(line[n])) {
		sum, err = untagged(line[:n], list)
		name = fileName(line[n:])
	} else {
		sum, name, err = tagged(line)
	}
	if err == nil && escaped {
		name, err = unescape(name)
	}
	if err != nil {
		return chunk.Sum{}, "", err
	}
	return sum, name, nil
}

// hexDigits returns how many hex digits s begins with.
func hexDigits(s string) int {
	rest := strings.TrimLeft(s, "0123456789abcdefABCDEF")
	return len(s) - len(rest)
}

// fileName returns the name of what follows a digest: a blank, perhaps a second
// one or a star, and the name, which may have blanks itself.
func fileName(rest string) string {
	if strings.Trim(rest, blanks) == "" {
		return ""
	}
	rest = rest[1:]
	if rest[0] == ' ' || rest[0] == '*' {
		rest = rest[1:]
	}
	return rest
}

// untagged returns a sum by its number of digits. BLAKE2b has as many as SHA-512,
// which it is only in a list that is named for it.
func untagged(digits, list string) (chunk.Sum, error) {
	algo, ok := byDigits[len(digits)]
	if !ok {
		return chunk.Sum{}, fmt.Errorf("%d hex digits are no known digest", len(digits))
	}
	base := strings.ToLower(listBase(list))
	if algo == "sha512" && (strings.Contains(base, "b2sum") || strings.Contains(base, "blake2") || strings.HasSuffix(base, ".b2")) {
		algo = "blake2b"
	}
	return chunk.ParseSum(algo + ":" + digits)
}

// tagged reads a line that names its algorithm. The name is up to the last
// parenthesis, as no digest has one.
func tagged(line string) (sum chunk.Sum, name string, err error) {
	left, right := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if left < 0 || right < left {
		return sum, "", errNoDigest
	}
	digits, ok := strings.CutPrefix(strings.TrimLeft(line[right+1:], blanks), "=")
	digits = strings.Trim(digits, blanks)
	algo := strings.TrimRight(line[:left], blanks)
	if !ok || algo == "" || strings.ContainsFunc(algo, notAlgorithm) || len(digits) < 8 || hexDigits(digits) != len(digits) {
		return sum, "", errNoDigest
	}
	if rest, ok := strings.CutPrefix(strings.ToLower(algo), "sha2-"); ok { // OpenSSL 3
		algo = "sha" + rest
	}
	sum, err = chunk.ParseSum(algo + ":" + digits)
	return sum, line[left+1 : right], err
}

func notAlgorithm(r rune) bool {
	return !(r < 0x80 && isLetter(byte(r)) || '0' <= r && r <= '9' || r == '-' || r == '/')
}

// unescape undoes what md5sum(1) and its kind do to names with line ends.
func unescape(name string) (string, error) {
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
			return "", errors.New(`a backslash in an escaped name is not before \, n or r`)
		}
		name = rest[1:]
	}
}

// listBase returns the last element of a list's name, which may be a URL.
func listBase(list string) string {
	if strings.Contains(list, "://") {
		list, _, _ = strings.Cut(list, "?")
	}
	return list[strings.LastIndexAny(list, `/\`)+1:]
}

// companion returns the name of the file that a list is the checksum of, by the
// list's own name: that of "x.iso.sha256" is "x.iso".
func companion(list string) (string, error) {
	base := listBase(list)
	ext := strings.ToLower(path.Ext(base))
	switch strings.TrimSuffix(strings.TrimSuffix(ext, "sum"), "sums") {
	case ".md5", ".sha1", ".sha224", ".sha256", ".sha384", ".sha512", ".b2", ".blake2b":
		if name := base[:len(base)-len(ext)]; name != "" {
			return name, nil
		}
	}
	return "", fmt.Errorf("a digest without a name, and the list's own name %q does not tell it", short(base))
}
