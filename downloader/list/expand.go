package list

import (
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
)

// mostExpanded is how many URLs one pattern may stand for.
const mostExpanded = 1_000_000_000

// Expand returns what a URL with patterns stands for, the last pattern varying
// fastest; a URL without any stands for itself. Nothing is held but one URL.
// Patterns are those of aria2(1) and curl(1):
//
//	{a,b,c}       each of the words
//	[1-20]        numbers
//	[001-100:2]   numbers as wide as the first, which begins with 0, by steps of 2
//	[a-z]         letters
//
// An IPv6 address in the place of the host is none. Other braces and brackets
// are written %7B, %7D, %5B and %5D.
func Expand(url string) (iter.Seq[string], error) {
	p, err := parsePattern(url)
	if err != nil {
		return nil, err
	}
	return func(yield func(string) bool) {
		for i := int64(0); i < p.count && yield(p.at(i)); i++ {
		}
	}, nil
}

// Count returns how many URLs Expand returns, 1 at least.
func Count(url string) (int64, error) {
	p, err := parsePattern(url)
	if err != nil {
		return 0, err
	}
	return p.count, nil
}

// A pattern is a URL with its patterns.
type pattern struct {
	parts []part
	tail  string // after the last part
	count int64  // product of the parts' counts
}

// A part is one pattern and what is before it: words, or a range.
type part struct {
	before string
	words  []string // nil for a range
	count  int64

	first, step int64 // of the range
	width       int   // of its numbers at least; -1 if it is of letters
}

// at returns the i-th URL, from 0.
func (p *pattern) at(i int64) string {
	stride := p.count
	var b []byte
	for _, part := range p.parts {
		stride /= part.count
		b = append(b, part.before...)
		b = part.append(b, i/stride%part.count)
	}
	return string(append(b, p.tail...))
}

// append appends the i-th value of the part.
func (p *part) append(b []byte, i int64) []byte {
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

// parsePattern finds the patterns of a URL.
func parsePattern(url string) (*pattern, error) {
	p := &pattern{count: 1}
	address := addressEnd(url)
	before, rest := url[:address], url[address:]
	for {
		i := strings.IndexAny(rest, "{}[]")
		if i < 0 {
			p.tail = before + rest
			return p, nil
		}
		next, end, err := parsePart(rest[i:])
		if err == nil && next.count > mostExpanded/p.count {
			err = fmt.Errorf("more than %d URLs", mostExpanded)
		}
		if err != nil {
			return nil, fmt.Errorf("pattern in %q: %w", shownURL(url), err)
		}
		next.before = before + rest[:i]
		p.parts = append(p.parts, next)
		p.count *= next.count
		before, rest = "", rest[i+end:]
	}
}

// addressEnd returns where the IPv6 address ends that is the host, 0 if it is
// none (RFC 3986 §3.2.2).
func addressEnd(url string) int {
	begin := strings.Index(url, "://") + len("://")
	if begin < len("://") {
		return 0
	}
	host, _, _ := strings.Cut(url[begin:], "/")
	begin += strings.LastIndexByte(host, '@') + 1
	if !strings.HasPrefix(url[begin:], "[") {
		return 0
	}
	end := strings.IndexByte(url[begin:], ']')
	if end < 0 || strings.Count(url[begin:begin+end], ":") < 2 {
		return 0
	}
	return begin + end + 1
}

// parsePart reads the pattern that s begins with, and says where it ends.
func parsePart(s string) (p part, end int, err error) {
	closing := map[byte]string{'{': "}", '[': "]"}[s[0]]
	if closing == "" {
		return part{}, 0, fmt.Errorf("%q closes nothing", s[:1])
	}
	inner, _, ok := strings.Cut(s[1:], closing)
	switch {
	case !ok:
		return part{}, 0, fmt.Errorf("%q is not closed", s[:1])
	case strings.ContainsAny(inner, "{}[]"):
		return part{}, 0, errors.New("one pattern is in another")
	case inner == "":
		return part{}, 0, errors.New("it is empty")
	case s[0] == '{':
		words := strings.Split(inner, ",")
		p = part{words: words, count: int64(len(words))}
	default:
		p, err = parseRange(inner)
	}
	return p, len(inner) + 2, err
}

// parseRange reads FIRST-LAST or FIRST-LAST:STEP.
func parseRange(s string) (part, error) {
	wrong := fmt.Errorf("%q is not a range such as 1-20, 001-100:2 or a-z", short(s))
	span, by, stepped := strings.Cut(s, ":")
	first, last, ok := strings.Cut(span, "-")
	p := part{step: 1}
	if stepped {
		p.step = number(by)
	}
	end := int64(-1)
	switch {
	case !ok || p.step < 1:
		return part{}, wrong
	case len(first) == 1 && len(last) == 1 && isLetter(first[0]) && isLetter(last[0]) && first[0]&0x20 == last[0]&0x20:
		p.first, end, p.width = int64(first[0]), int64(last[0]), -1
	default:
		p.first, end = number(first), number(last)
		if len(first) > 1 && first[0] == '0' {
			p.width = len(first)
		}
	}
	if p.first < 0 || end < p.first {
		return part{}, wrong
	}
	p.count = (end-p.first)/p.step + 1
	return p, nil
}

// number reads up to 18 digits, and returns -1 for anything else.
func number(s string) int64 {
	if len(s) > 18 || strings.Trim(s, "0123456789") != "" {
		return -1
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return -1
	}
	return n
}
