package list

import (
	"fmt"
	"iter"
	"strconv"
	"strings"
)

// maxExpanded limits the URLs of one pattern. It is a guess: more is most likely a typing
// error. It also keeps the product of the groups within an int64.
const maxExpanded = 1_000_000_000

// Expand returns the URLs that a pattern expands to, in order; the last group varies
// fastest. A URL without groups expands to itself. The URLs are computed one at a time,
// so a large pattern takes no memory.
//
// The groups have the syntax of aria2(1) and curl(1):
//
//	{a,b,c}       each of the words
//	[1-20]        numbers
//	[001-100:2]   every second number, padded with zeros to the width of the first
//	[a-z]         letters, all lower or all upper case
//
// All other braces and brackets are literal text, for example in an IPv6 address, in
// ?id={1F2A} or in ?data[0]=["a","b"]. In %7Ba,b%7D they are literal too. A range whose end is
// before its beginning is an error, and so is a pattern for more than a billion URLs.
func Expand(url string) (iter.Seq[string], error) {
	p, err := parsePattern(url)
	if err != nil {
		return nil, err
	}
	return func(yield func(string) bool) {
		for i := int64(0); i < p.count && yield(p.url(i)); i++ {
		}
	}, nil
}

// Count returns the number of URLs that Expand returns, at least 1, without expanding
// them.
func Count(url string) (int64, error) {
	p, err := parsePattern(url)
	if err != nil {
		return 0, err
	}
	return p.count, nil
}

// A pattern is a parsed URL with any number of groups.
type pattern struct {
	groups []group
	suffix string // literal text after the last group
	count  int64  // number of URLs: the product of the groups' counts
}

// A group is one {...} or [...] of a pattern: a list of words or a range.
type group struct {
	prefix string   // literal text between the previous group and this one
	words  []string // nil for a range
	count  int64    // number of values

	// The fields of a range.
	first int64 // the first number, or the first letter as a byte
	step  int64 // distance between values, at least 1
	width int   // minimum number of digits, padded with zeros; -1 for letters
}

// url returns the i-th URL, from 0. i must be less than p.count.
func (p *pattern) url(i int64) string {
	stride := p.count
	var b []byte
	for _, g := range p.groups {
		stride /= g.count
		b = append(b, g.prefix...)
		b = g.appendValue(b, i/stride%g.count)
	}
	return string(append(b, p.suffix...))
}

// appendValue appends the i-th value of the group to b.
func (p *group) appendValue(b []byte, i int64) []byte {
	if p.words != nil {
		return append(b, p.words[i]...)
	}
	n := p.first + i*p.step
	if p.width < 0 {
		return append(b, byte(n))
	}
	digits := strconv.FormatInt(n, 10)
	for range p.width - len(digits) {
		b = append(b, '0')
	}
	return append(b, digits...)
}

// parsePattern splits a URL into its groups and the literal text between them.
func parsePattern(url string) (*pattern, error) {
	p := &pattern{count: 1}
	hostEnd := ipv6HostEnd(url)
	literal, rest := url[:hostEnd], url[hostEnd:]
	for {
		i := strings.IndexAny(rest, "{[")
		if i < 0 {
			p.suffix = literal + rest
			return p, nil
		}
		next, end, err := parseGroup(rest[i:])
		if err == nil && next.count > maxExpanded/p.count {
			err = fmt.Errorf("it expands to more than %d URLs", maxExpanded)
		}
		if err != nil {
			return nil, fmt.Errorf("invalid pattern in %q: %w", redactURL(url), err)
		}
		literal += rest[:i]
		if end == 0 { // the rest may still contain groups
			literal, rest = literal+rest[i:i+1], rest[i+1:]
			continue
		}
		next.prefix = literal
		p.groups = append(p.groups, next)
		p.count *= next.count
		literal, rest = "", rest[i+end:]
	}
}

// ipv6HostEnd returns the offset in url after the closing bracket of an IPv6 address that
// is the host (RFC 3986 section 3.2.2): 16 for "http://[fe80::1]:80/". It returns 0 if the
// host is not an IPv6 address.
func ipv6HostEnd(url string) int {
	begin := strings.Index(url, "://") + len("://")
	if begin < len("://") {
		return 0
	}
	authority, _, _ := strings.Cut(url[begin:], "/")
	begin += strings.LastIndexByte(authority, '@') + 1
	if !strings.HasPrefix(url[begin:], "[") {
		return 0
	}
	end := strings.IndexByte(url[begin:], ']')
	if end < 0 || strings.Count(url[begin:begin+end], ":") < 2 {
		return 0 // a range such as [1-2] or [80-81:1], which has at most one colon
	}
	return begin + end + 1
}

// parseGroup parses the group at the start of s, which must begin with "{" or "[". It returns the
// offset of its end in s, 0 if the text is no group.
func parseGroup(s string) (g group, end int, err error) {
	n := strings.IndexAny(s[1:], `{}[]"`) // a quotation mark is of JSON, for example {"a":1,"b":2}
	if n < 0 || s[:1]+s[1+n:2+n] != "{}" && s[:1]+s[1+n:2+n] != "[]" {
		return group{count: 1}, 0, nil
	}
	inner, ok := s[1:1+n], false
	if s[0] == '{' {
		g.words = strings.Split(inner, ",")
		g.count = int64(len(g.words))
		ok = g.count > 1
	} else {
		g, ok, err = parseRange(inner)
	}
	if err != nil || !ok {
		return group{count: 1}, 0, err
	}
	return g, len(inner) + 2, nil
}

// parseRange parses FIRST-LAST or FIRST-LAST:STEP, without the brackets. ok is false if s has
// another form. A range without values is an error.
func parseRange(s string) (g group, ok bool, err error) {
	span, step, hasStep := strings.Cut(s, ":")
	first, last, ok := strings.Cut(span, "-")
	g.step = 1
	if hasStep {
		g.step = parseDigits(step)
	}
	end := int64(-1)
	if len(first) == 1 && len(last) == 1 && isLetter(first[0]) && isLetter(last[0]) && first[0]&0x20 == last[0]&0x20 { // the same case
		g.first, end, g.width = int64(first[0]), int64(last[0]), -1
	} else {
		g.first, end = parseDigits(first), parseDigits(last)
		if len(first) > 1 && first[0] == '0' {
			g.width = len(first)
		}
	}
	switch {
	case !ok || g.first < 0 || end < 0 || g.step < 0:
		return group{}, false, nil
	case end < g.first || g.step == 0:
		return group{}, false, fmt.Errorf("%q is not a range such as 1-20, 001-100:2 or a-z", truncate(s))
	}
	g.count = (end-g.first)/g.step + 1
	return g, true, nil
}

// parseDigits parses up to 18 decimal digits, which always fit into an int64. It returns
// -1 for anything else.
func parseDigits(s string) int64 {
	if len(s) > 18 || strings.Trim(s, "0123456789") != "" {
		return -1
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return -1
	}
	return n
}
