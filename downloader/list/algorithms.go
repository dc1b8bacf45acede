package list

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"pawl/chunk"
)

// cryptographic lists the cryptographic hash algorithms, strongest first. An attacker
// cannot easily make another file with the same digest, except for sha1 and md5.
var cryptographic = []string{"sha512", "blake2b", sha512OrBLAKE2b, "sha384", "sha256", "sha224", "sha1", "md5"}

// algorithms lists all algorithms, strongest first. The last two detect only accidents.
var algorithms = append(slices.Clone(cryptographic), "crc32c", "adler32")

// sha512OrBLAKE2b is the algorithm of a digest of 128 hex digits if nothing says which of
// the two it is.
const sha512OrBLAKE2b = "sha512|blake2b"

// algorithmByDigits maps a number of hex digits to the algorithm of an untagged digest.
var algorithmByDigits = map[int]string{32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: sha512OrBLAKE2b}

// errNotDigest reports a text in none of the forms of a digest.
var errNotDigest = errors.New("is not a checksum line")

// An unknownKindError reports a digest of an algorithm that pawl cannot compute. The text
// is the algorithm. It is a warning, because the file can still be downloaded.
type unknownKindError string

func (e unknownKindError) Error() string {
	return fmt.Sprintf("unknown kind of digest %q ignored; the file is not verified", truncate(string(e)))
}

// A kind is an algorithm that lists name.
type kind struct {
	name   string // of package chunk, if that can compute it
	digits int    // hex digits of a digest
}

// isKnown reports whether pawl can compute digests of the kind.
func (k kind) isKnown() bool { return slices.Contains(algorithms, k.name) }

// kinds maps the names of algorithms, as normalizeKind returns them, to the algorithms.
// Algorithms that pawl cannot compute are here, too, because their digests must not be taken for digests
// of a known algorithm with the same length.
var kinds = map[string]kind{
	"md5": {"md5", 32}, "sha1": {"sha1", 40}, "sha160": {"sha1", 40},
	"sha224": {"sha224", 56}, "sha256": {"sha256", 64}, "sha384": {"sha384", 96}, "sha512": {"sha512", 128},
	"sha2224": {"sha224", 56}, "sha2256": {"sha256", 64}, "sha2384": {"sha384", 96}, "sha2512": {"sha512", 128}, // OpenSSL 3: SHA2-256
	"blake2b": {"blake2b", 128}, "blake2b512": {"blake2b", 128}, "b2": {"blake2b", 128}, "blake2": {"blake2b", 128},
	"crc32c": {"crc32c", 8}, "adler32": {"adler32", 8},

	"sha512224": {"sha512/224", 56}, "sha512256": {"sha512/256", 64},
	"sha3224": {"sha3-224", 56}, "sha3256": {"sha3-256", 64}, "sha3384": {"sha3-384", 96}, "sha3512": {"sha3-512", 128},
	"blake2b256": {"blake2b-256", 64}, "blake2b160": {"blake2b-160", 40}, "blake2b384": {"blake2b-384", 96},
	"blake2s": {"blake2s", 64}, "blake2s256": {"blake2s", 64}, "blake2sp": {"blake2sp", 64}, "blake2bp": {"blake2bp", 128},
	"blake3": {"blake3", 64}, "b3": {"blake3", 64}, "k12": {"k12", 64}, "shake128": {"shake128", 64}, "shake256": {"shake256", 128},
	"whirlpool": {"whirlpool", 128}, "ripemd160": {"ripemd160", 40}, "rmd160": {"ripemd160", 40}, "ripemd128": {"ripemd128", 32},
	"md2": {"md2", 32}, "md4": {"md4", 32}, "ed2k": {"ed2k", 32}, "xxh128": {"xxh128", 32}, "xxh64": {"xxh64", 16}, "xxh3": {"xxh3", 16}, "xxh32": {"xxh32", 8},
	"sm3": {"sm3", 64}, "streebog256": {"streebog256", 64}, "streebog512": {"streebog512", 128}, "gost": {"gost", 64}, "gost2012256": {"streebog256", 64}, "gost2012512": {"streebog512", 128},
	"tiger": {"tiger", 48}, "tiger192": {"tiger", 48}, "crc32": {"crc32", 8}, "crc64": {"crc64", 16}, "crc64nvme": {"crc64nvme", 16}, "cksum": {"cksum", 10}, "sfv": {"crc32", 8},
}

// maxKindLength is more letters than any name of an algorithm has.
const maxKindLength = 32

// kindOf returns the algorithm that a word names: "SHA-256", "sha256sum", "B2SUMS".
func kindOf(word string) (kind, bool) {
	if len(word) > maxKindLength {
		return kind{}, false
	}
	plain := make([]byte, 0, maxKindLength) // in lower case, without dashes
	for _, c := range []byte(word) {
		switch {
		case 'A' <= c && c <= 'Z':
			plain = append(plain, c|0x20)
		case c != '-' && c != '_' && c != '/' && c != ' ':
			plain = append(plain, c)
		}
	}
	plain = bytes.TrimPrefix(plain, []byte("checksums")) // Checksums-Sha256, in the files of Debian
	if k, ok := kinds[string(plain)]; ok {
		return k, true
	}
	if k, ok := shortBLAKE2(string(plain)); ok {
		return k, true
	}
	for _, suffix := range kindSuffixes {
		if n := len(plain) - len(suffix); n > 0 && string(plain[n:]) == suffix {
			k, ok := kinds[string(plain[:n])]
			return k, ok
		}
	}
	return kind{}, false
}

// shortBLAKE2 returns the kind of a BLAKE2 digest of fewer bits than usual, as b2sum(1) -l makes: "blake2b256",
// "b2sums256".
func shortBLAKE2(plain string) (kind, bool) {
	name, rest := "blake2b", ""
	switch {
	case strings.HasPrefix(plain, "blake2b"), strings.HasPrefix(plain, "blake2s"):
		name, rest = plain[:len("blake2b")], plain[len("blake2b"):]
	case strings.HasPrefix(plain, "b2"):
		rest = plain[len("b2"):]
	default:
		return kind{}, false
	}
	rest = strings.TrimSuffix(strings.TrimSuffix(rest, "sums"), "sum")
	rest = strings.TrimPrefix(strings.TrimPrefix(rest, "sum"), "s")
	bits := parseDigits(rest)
	if rest == "" || bits < 8 || bits >= 512 || bits%8 != 0 {
		return kind{}, false
	}
	return kind{fmt.Sprintf("%s-%d", name, bits), int(bits / 4)}, true
}

// kindSuffixes may follow an algorithm in a word.
var kindSuffixes = []string{"checksums", "checksum", "sums", "sum", "hashes", "hash", "digests", "digest"}

// kindsIn returns the different algorithms that the words of a text name.
func kindsIn(text string) (found []kind) {
	words := strings.FieldsFunc(text, func(r rune) bool {
		return r != '-' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	for _, w := range words {
		if k, ok := kindOf(w); ok && !slices.Contains(found, k) {
			found = append(found, k)
		}
	}
	return found
}

// onlyKind returns the one of the kinds whose digests have this many digits. It reports
// false if none or several have.
func onlyKind(kinds []kind, digits int) (one kind, ok bool) {
	for _, k := range kinds {
		if k.digits == digits {
			if ok {
				return kind{}, false
			}
			one, ok = k, true
		}
	}
	return one, ok
}

// algorithmIndex returns the index of the algorithm of sum in algorithms; a lower index
// is a stronger algorithm.
func algorithmIndex(sum chunk.Sum) int { return slices.Index(algorithms, sum.Algorithm()) }

// stronger returns whichever of a and b has the stronger algorithm, a if both have the
// same. A zero sum is weaker than any other. Of two sums in algorithms that are not
// cryptographic it returns a.
func stronger(a, b chunk.Sum) chunk.Sum {
	i, j := slices.Index(cryptographic, a.Algorithm()), slices.Index(cryptographic, b.Algorithm())
	if j >= 0 && (i < 0 || j < i) || a.IsZero() {
		return b
	}
	return a
}

// conflict reports whether a and b cannot be digests of the same file. Two digests of which
// nobody knows the algorithm can, because one may be SHA-512 and the other BLAKE2b.
func conflict(a, b chunk.Sum) bool {
	return a.Algorithm() == b.Algorithm() && a != b && a.Algorithm() != sha512OrBLAKE2b
}

// countHexDigits returns the number of hex digits at the start of s.
func countHexDigits(s string) int {
	rest := strings.TrimLeft(s, "0123456789abcdefABCDEF")
	return len(s) - len(rest)
}

func isHex(s string) bool { return s != "" && countHexDigits(s) == len(s) }

// parseNamedSum parses a digest in hex or base64, of the algorithm that a list names.
// Colons between pairs of hex digits are accepted, as openssl-dgst(1) -c writes them.
func parseNamedSum(algorithm, digest string) (chunk.Sum, error) {
	k, ok := kindOf(algorithm)
	if !ok || !k.isKnown() {
		return chunk.Sum{}, unknownKindError(algorithm)
	}
	if len(digest) == k.digits/2*3-1 {
		digest = strings.ReplaceAll(digest, ":", "")
	}
	if len(digest) != k.digits {
		if raw, err := decodeBase64(digest); err == nil && len(raw) == k.digits/2 {
			digest = hex.EncodeToString(raw)
		}
	}
	return chunk.ParseSum(k.name + ":" + digest)
}

func decodeBase64(s string) ([]byte, error) {
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
}

// parseSumValue parses a digest that a list gives beside a URL, without a name for its
// algorithm: hex digits, of which the number decides the algorithm, or ALGO:HEX, ALGO=HEX,
// ALGO-BASE64 (Subresource Integrity), or an MD5 digest in base64. The errors are
// errNotDigest, an unknownKindError, or an error about a malformed digest.
func parseSumValue(text string) (chunk.Sum, error) {
	text = strings.Trim(text, blanks+`"'`)
	if isHex(text) {
		if algorithm, ok := algorithmByDigits[len(text)]; ok {
			return chunk.ParseSum(algorithm + ":" + text)
		}
		return chunk.Sum{}, unknownKindError(fmt.Sprintf("%d hex digits", len(text)))
	}
	if algorithm, digest, ok := strings.Cut(text, "-"); ok && len(digest) >= 24 && isKindName(algorithm) && !strings.ContainsAny(strings.TrimRight(digest, "="), ":=") {
		return parseNamedSum(algorithm, digest)
	}
	if i := strings.IndexAny(text, ":="); i > 0 && len(text) > i+1 {
		digest := strings.Trim(text[i+1:], blanks)
		if k, ok := kindOf(text[:i]); ok {
			return parseNamedSum(k.name, digest)
		}
		if len(digest) >= 16 && isHex(digest) {
			return chunk.Sum{}, unknownKindError(text[:i])
		}
	}
	if raw, err := decodeBase64(text); err == nil && len(raw) == 16 && strings.HasSuffix(text, "==") {
		return parseNamedSum("md5", text)
	}
	return chunk.Sum{}, errNotDigest
}

// addSum adds a digest of the file. The strongest digest is kept.
func (e *Entry) addSum(sum chunk.Sum) error {
	if conflict(e.Sum, sum) {
		return fmt.Errorf("has two different %s digests", sum.Algorithm())
	}
	e.Sum = stronger(e.Sum, sum)
	return nil
}

// takeDigests removes digests from the URLs of e and adds them to e. They are in the fragment,
// such as "#sha256=HEX" (pip) or "#HEX" (conda), or after the URL and blanks. Other fragments
// and other text with blanks stay.
func (c *collector) takeDigests(e *Entry) error {
	for i, u := range e.URLs {
		for {
			rest, digest := cutDigest(u)
			if digest == "" {
				break
			}
			sum, err := parseSumValue(digest)
			if err = c.addSum(e, sum, err); err != nil {
				return err
			}
			u = rest
		}
		at := strings.IndexByte(u, '#')
		if at < 0 {
			e.URLs[i] = u
			continue
		}
		taken, err := c.takeFragment(e, u[at+1:])
		if err != nil {
			return err
		}
		if taken {
			u = u[:at]
		}
		e.URLs[i] = u
	}
	return nil
}

// cutDigest splits a digest, with the name of its algorithm if that is a word of its own, from
// the end of a text. The digest is "" if there is none.
func cutDigest(text string) (rest, digest string) {
	at := strings.LastIndexAny(text, " \t")
	if at < 0 || len(text)-at <= 16 || !isSumValue(text[at+1:]) {
		return text, ""
	}
	rest, digest = strings.TrimRight(text[:at], blanks), strings.TrimPrefix(text[at+1:], "--hash=")
	if at = strings.LastIndexAny(rest, " \t"); at >= 0 {
		if k, ok := kindOf(rest[at+1:]); ok {
			rest, digest = strings.TrimRight(rest[:at], blanks), k.name+":"+digest
		}
	}
	return rest, digest
}

// isSumValue reports whether a text is a digest, of whatever kind.
func isSumValue(text string) bool {
	_, err := parseSumValue(strings.TrimPrefix(text, "--hash="))
	return err != errNotDigest
}

// takeFragment adds the digests of a fragment to e, and reports whether there are any.
func (c *collector) takeFragment(e *Entry, fragment string) (taken bool, err error) {
	for part := range strings.SplitSeq(fragment, "&") {
		if plain, err := url.PathUnescape(part); err == nil {
			part = plain
		}
		if isFragmentDigest(part) {
			sum, err := parseSumValue(part)
			if err = c.addSum(e, sum, err); err != nil {
				return false, err
			}
			taken = true
		}
	}
	return taken, nil
}

// isFragmentDigest reports whether a part of a fragment is a digest, and not the name of a
// section or another parameter such as egg=name.
func isFragmentDigest(part string) bool {
	if algorithm, digest, ok := strings.Cut(part, "-"); ok && len(digest) >= 24 && isKindName(algorithm) { // Subresource Integrity
		return true
	}
	i := strings.IndexAny(part, ":=")
	if i < 0 {
		_, ok := algorithmByDigits[len(part)]
		return ok && isHex(part)
	}
	_, ok := kindOf(part[:i])
	return ok || len(part)-i > 16 && isHex(part[i+1:])
}

// addSum adds a parsed digest to e. A digest of an unknown kind is a warning; any other err
// is returned.
func (c *collector) addSum(e *Entry, sum chunk.Sum, err error) error {
	var unknown unknownKindError
	if errors.As(err, &unknown) {
		if e.Sum.IsZero() {
			c.warnUnverified(e.Line, err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	return e.addSum(sum)
}
