package list

import (
	"fmt"
	"regexp"
	"strings"
)

// A PathGlob is a pattern for slash-separated relative paths, as in .gitignore and rsync:
//
//	*.iso      without a slash: the last part of a path, in any directory
//	iso/*.iso  with a slash: the whole path, also if the only slash is the first character
//	old/       with a slash at the end: directories only
//	*  ?       any characters, one character; neither matches a slash
//	**         any characters, with slashes; "a/**/b" matches "a/b", too
//	[a-z]      one character of a set, [!a-z] or [^a-z] one of no set; never a slash
//	\*         the character itself
//
// A pattern that matches a directory matches everything below it. The zero PathGlob matches nothing.
type PathGlob struct {
	text string
	re   *regexp.Regexp // nil in the zero value
	dirs bool           // matches directories only
}

// UnmarshalText accepts any pattern that is not empty and has no open set.
func (g *PathGlob) UnmarshalText(text []byte) error {
	s := string(text)
	pattern := strings.TrimSuffix(s, "/")
	expr := "^"
	if anchored, ok := strings.CutPrefix(pattern, "/"); ok {
		pattern = anchored
	} else if !strings.Contains(pattern, "/") {
		expr = "^(?:.*/)?"
	}
	body, ok := globExpr(pattern)
	re, err := regexp.Compile("(?s)" + expr + body + "$")
	if !ok || err != nil || pattern == "" {
		return fmt.Errorf("%q is not a pattern such as *.iso, iso/** or old/", s)
	}
	*g = PathGlob{s, re, strings.HasSuffix(s, "/")}
	return nil
}

// String returns the text of the pattern.
func (g PathGlob) String() string { return g.text }

// Match reports whether the pattern matches a path, or a directory above it. isDir says that the
// path itself is a directory.
func (g PathGlob) Match(path string, isDir bool) bool {
	if g.re == nil {
		return false
	}
	if (isDir || !g.dirs) && g.re.MatchString(path) {
		return true
	}
	for i := range len(path) {
		if path[i] == '/' && g.re.MatchString(path[:i]) {
			return true
		}
	}
	return false
}

// globExpr returns the regular expression of a pattern, and false if a set is not closed.
func globExpr(pattern string) (expr string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		rest := pattern[i:]
		switch {
		case strings.HasPrefix(rest, "**/"):
			b.WriteString("(?:.*/)?")
			i += len("**/") - 1
		case strings.HasPrefix(rest, "**"):
			b.WriteString(".*")
			i++
		case rest[0] == '*':
			b.WriteString("[^/]*")
		case rest[0] == '?':
			b.WriteString("[^/]")
		case rest[0] == '[':
			set, size := globSet(rest)
			if size == 0 {
				return "", false
			}
			b.WriteString(set)
			i += size - 1
		case rest[0] == '\\' && len(rest) > 1:
			i++
			b.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		default:
			b.WriteString(regexp.QuoteMeta(rest[:1]))
		}
	}
	return b.String(), true
}

// globSet returns the regular expression of the set that begins a pattern, and the length of the set
// in the pattern, 0 if it is not closed. A "]" that is the first character is one of the set.
func globSet(pattern string) (expr string, size int) {
	i := 1
	negated := i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^')
	if negated {
		i++
	}
	end := -1
	if i < len(pattern) {
		end = strings.IndexByte(pattern[i+1:], ']')
	}
	if end < 0 {
		return "", 0
	}
	end += i + 1
	set := strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, "^", `\^`).Replace(pattern[i:end])
	if negated {
		return "[^/" + set + "]", end + 1
	}
	return "[" + set + "]", end + 1
}
