package list

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"pawl/chunk"
)

// strength lists the algorithms that prove something, the strongest first.
var strength = []string{"sha512", "blake2b", "sha384", "sha256", "sha224", "sha1", "md5"}

// stronger returns the sum of the stronger algorithm, a if they are as strong.
// Any is stronger than zero.
func stronger(a, b chunk.Sum) chunk.Sum {
	i, j := slices.Index(strength, a.Algorithm()), slices.Index(strength, b.Algorithm())
	if j >= 0 && (i < 0 || j < i) || a.IsZero() {
		return b
	}
	return a
}

// Sums is the content of a checksum file, which proves the files of another
// list. It is held in memory whole, and may be asked concurrently.
type Sums struct {
	name   string
	sums   map[string]proof    // by path, without ./ before it
	byBase map[string][]string // paths by their last element
}

// A proof is what a checksum file has on one path.
type proof struct {
	sum   chunk.Sum // the strongest
	clash bool      // it has two of one algorithm, which differ
}

// ReadSums reads a checksum file. Problems are of single lines, in order; the
// error is of the whole: it cannot be read, or has no valid line.
func ReadSums(name string, r io.Reader) (*Sums, []error, error) {
	var problems []error
	c := &collector{name: name, o: Options{Format: Checksum}, yield: func(_ Entry, err error) bool {
		problems = append(problems, err)
		return true
	}}
	text, err := open(r)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	t := &tableReader{c: c, to: &Sums{name, make(map[string]proof), make(map[string][]string)}}
	if err := c.each(&lines{r: text}, t); err != nil {
		return nil, problems, err
	}
	return t.to, problems, nil
}

// tableReader reads a checksum file into a table.
type tableReader struct {
	c    *collector
	text clearText
	to   *Sums
}

func (r *tableReader) line(text []byte, n int) {
	sum, name, ok := r.c.digest(&r.text, text, n)
	if !ok {
		return
	}
	r.to.add(name, sum)
}

func (r *tableReader) skip([]byte) {}

func (r *tableReader) end() error { return noneGood(r.c.name, len(r.to.sums)) }

func (s *Sums) add(name string, sum chunk.Sum) {
	name = withoutDot(name)
	p, known := s.sums[name]
	if !known {
		base := lastElement(name)
		s.byBase[base] = append(s.byBase[base], name)
	}
	p.clash = p.clash || known && p.sum.Algorithm() == sum.Algorithm() && p.sum != sum
	p.sum = stronger(p.sum, sum)
	s.sums[name] = p
}

// Find returns the sum of a file: that of its path as the checksum file has it,
// with or without ./ before it, or else that of its last element, in whatever
// directory. Two sums that differ are an error. The sum is zero if there is none.
func (s *Sums) Find(path string) (chunk.Sum, error) {
	path = withoutDot(path)
	base := lastElement(path)
	p, ok := s.sums[path]
	if !ok {
		for i, other := range s.byBase[base] {
			q := s.sums[other]
			if i == 0 {
				p = q
			}
			p.clash = p.clash || q.clash || q.sum != p.sum
		}
	}
	if p.clash {
		return chunk.Sum{}, fmt.Errorf("%s: has different checksums for %q", s.name, short(base))
	}
	return p.sum, nil
}

func withoutDot(path string) string {
	for strings.HasPrefix(path, "./") {
		path = strings.TrimLeft(path[1:], "/")
	}
	return path
}

// lastElement returns what follows the last slash of any kind.
func lastElement(path string) string { return path[strings.LastIndexAny(path, `/\`)+1:] }
