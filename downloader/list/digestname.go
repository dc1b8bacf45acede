package list

import (
	"regexp"
	"strings"
)

// A digestName is what the name of a key or a column says about its values.
type digestName int

const (
	otherName  digestName = iota // they are no digests
	digestOf                     // they are digests of the file
	digestLike                   // they look like digests, but of what is not known, such as commit_sha
)

// digestWords may stand around the name of an algorithm, or form a name together: "file_hash",
// "computed_md5", "sha256Checksum".
var digestWords = strings.Fields(`checksums checksum hashes hash digests digest sums sum integrity
	files file content data download asset archive package object body payload value string hex base64 b64 computed supplied expected original`)

// digestPattern matches names that may be of digests.
var digestPattern = regexp.MustCompile(`md5|sha[-_ ]?[1235]|(^|[-_ ])sha($|[-_ ])|hash|checksum|digest|integrity`)

// digestNameOf returns what a name says about its values, and the algorithm that it names,
// "" for none. The name must be in lower case.
func digestNameOf(name string) (algorithm string, what digestName) {
	if k, ok := kindOf(name); ok {
		return k.name, digestOf
	}
	rest := strings.Map(func(r rune) rune {
		if strings.ContainsRune("-_ ./", r) {
			return -1
		}
		return r
	}, name)
	said := false // that it is a digest
	for rest != "" && len(rest) <= maxKindLength {
		if k, ok := kindOf(rest); ok {
			return k.name, digestOf
		}
		cut := false
		for _, w := range digestWords {
			short, isPrefix := strings.CutPrefix(rest, w)
			if !isPrefix {
				short, cut = strings.CutSuffix(rest, w)
			}
			if cut = cut || isPrefix; cut {
				rest, said = short, said || digestPattern.MatchString(w)
				break
			}
		}
		if !cut {
			break
		}
	}
	switch {
	case rest == "" && said:
		return "", digestOf
	case digestPattern.MatchString(name):
		return "", digestLike
	}
	return "", otherName
}
