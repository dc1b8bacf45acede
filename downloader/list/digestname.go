package list

import (
	"regexp"
	"slices"
	"strings"
)

// A digestName is the meaning of the values of a key or a column, by its name.
type digestName int

const (
	otherName  digestName = iota // they are no digests
	digestOf                     // they are digests of the file
	digestLike                   // they look like digests, but of something unknown, such as commit_sha
)

// digestWords may stand around the name of an algorithm, or form a name together: "file_hash",
// "computed_md5", "sha256Checksum".
var digestWords = strings.Fields(`checksums checksum hashes hash digests digest integrity
	sums sum files file content data download asset archive package object body payload value string hex base64 b64 computed supplied expected original`)

// sayingWords is how many of digestWords, from the first, say that the values are digests.
const sayingWords = 7

// digestHints are parts of which a name of digests has at least one. To look for them is fast.
var digestHints = strings.Fields(`md5 sha hash checksum digest integrity crc adler blake b2`)

// digestPattern matches names that may be of digests.
var digestPattern = regexp.MustCompile(`md5|sha[-_ ]?[1235]|(^|[-_ ])sha($|[-_ ])|hash|checksum|digest|integrity`)

// digestNameOf returns the meaning of a name, and the algorithm that it names, "" for none. The name must
// be in lower case.
func digestNameOf(name string) (algorithm string, meaning digestName) {
	if k, ok := kindOf(name); ok {
		return k.name, digestOf
	}
	if !slices.ContainsFunc(digestHints, func(hint string) bool { return strings.Contains(name, hint) }) {
		return "", otherName
	}
	rest := strings.Map(func(r rune) rune {
		if strings.ContainsRune("-_ ./", r) {
			return -1
		}
		return r
	}, name)
	if len(rest) <= maxKindLength {
		if algorithm, ok := stripDigestWords(rest, false); ok {
			return algorithm, digestOf
		}
	}
	if digestPattern.MatchString(name) {
		return "", digestLike
	}
	return "", otherName
}

// stripDigestWords reports whether a name consists of digestWords around at most one algorithm. said
// reports that words that were stripped before say that it is a digest.
func stripDigestWords(name string, said bool) (algorithm string, ok bool) {
	if k, ok := kindOf(name); ok {
		return k.name, true
	}
	for i, w := range digestWords {
		said := said || i < sayingWords
		if name == w {
			return "", said
		}
		if rest, isPrefix := strings.CutPrefix(name, w); isPrefix {
			if algorithm, ok := stripDigestWords(rest, said); ok {
				return algorithm, true
			}
		}
		if rest, isSuffix := strings.CutSuffix(name, w); isSuffix {
			if algorithm, ok := stripDigestWords(rest, said); ok {
				return algorithm, true
			}
		}
	}
	return "", false
}
