package list

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"strings"

	"pawl/chunk"
)

// strength lists the algorithms that prove something, the strongest first.
var strength = []string{"sha512", "blake2b", "sha384", "sha256", "sha224", "sha1", "md5"}

// algorithms are those of strength, and those that prove nothing.
var algorithms = append(slices.Clone(strength), "crc32c", "adler32")

// rank returns the index of the algorithm of sum in algorithms: the lower, the stronger.
func rank(sum chunk.Sum) int { return slices.Index(algorithms, sum.Algorithm()) }

// stronger returns the sum of the stronger algorithm, a if they are as strong.
// Any is stronger than zero.
func stronger(a, b chunk.Sum) chunk.Sum {
	i, j := slices.Index(strength, a.Algorithm()), slices.Index(strength, b.Algorithm())
	if j >= 0 && (i < 0 || j < i) || a.IsZero() {
		return b
	}
	return a
}

// maxSums is how many lines a checksum file may have. A line takes 28 bytes and its
// digest, so that this many of SHA-256 take 240 MB, and of SHA-512 370 MB. Double is too much
// for small machines. Half of it is more than any known file has.
const maxSums = 4_000_000

// errManySums is the error of a checksum file that has more lines.
var errManySums = fmt.Errorf("more than %d lines", maxSums)

// Sums is the content of a checksum file, which proves the files of another list. It is
// held in memory whole, but for the paths: they are known by 64 bits of their hash. That a
// path which the file does not have is taken for one that it has is unlikely (n/2⁶⁴ for
// each), and makes it fail, because its digest is another. It may be asked concurrently.
type Sums struct {
	name   string
	seed   maphash.Seed // names in a list cannot aim at it
	lines  []sumLine    // after index, in order of path, and one for each path
	byBase []uint32     // after index, numbers of lines in order of base

	digests [][]byte // chunks of digestChunk bytes, filled one after the other
}

// digestChunk is how many bytes of digests are allocated at once, so that growing copies
// none. A digest is never divided. It is a power of two, for sumLine.
const digestChunk = 1 << 20

// A sumLine is what a checksum file has on one path.
type sumLine struct {
	path, base uint64 // hashes of the path, without ./ before it, and of its last element
	digest     uint32 // where it is: number of the chunk * digestChunk + place in it; later lines have larger ones
	algorithm  uint8  // index in algorithms
	clash      bool   // it has two of one algorithm, which differ
}

// ReadSums reads a checksum file, of at most so many bytes of text, 0 for no limit. Problems are of single lines, in order, and reading ends
// after a thousand; the error is of the whole: it cannot be read, is too long, or has no
// valid line.
func ReadSums(name string, r io.Reader, most int64) (*Sums, []error, error) {
	var problems []error
	c := &collector{name: name, o: Options{Format: Checksum}, yield: func(_ Entry, err error) bool {
		problems = append(problems, err)
		return len(problems) < mostWarned
	}}
	text, err := open(r, most)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	t := &tableReader{c: c, to: &Sums{name: name, seed: maphash.MakeSeed()}}
	if err := c.each(&lines{r: text}, t); err != nil {
		return nil, problems, err
	}
	if t.tooMany {
		return nil, problems, fmt.Errorf("%s: %w", name, errManySums)
	}
	t.to.index()
	return t.to, problems, nil
}

// tableReader reads a checksum file into a table.
type tableReader struct {
	c       *collector
	text    clearText
	to      *Sums
	tooMany bool // lines
}

func (r *tableReader) line(text []byte, n int) {
	sum, name, ok := r.c.digest(&r.text, text, n)
	if !ok {
		return
	}
	if r.tooMany = len(r.to.lines) == maxSums; r.tooMany {
		r.c.stopped = true
		return
	}
	r.to.add(name, sum)
}

func (r *tableReader) skip([]byte) {}

func (r *tableReader) end() error { return noneGood(r.c.name, len(r.to.lines)) }

// add notes a line.
func (s *Sums) add(name string, sum chunk.Sum) {
	name = withoutDot(name)
	l := sumLine{path: s.hash(name), base: s.hash(lastElement(name)), algorithm: uint8(rank(sum))}
	digest := sum.Digest()
	last := len(s.digests) - 1
	if last < 0 || len(s.digests[last])+len(digest) > digestChunk {
		s.digests = append(s.digests, make([]byte, 0, digestChunk))
		last++
	}
	l.digest = uint32(last*digestChunk + len(s.digests[last]))
	s.digests[last] = append(s.digests[last], digest...)
	s.lines = append(s.lines, l)
}

func (s *Sums) hash(text string) uint64 { return maphash.String(s.seed, text) }

// index makes the lines ready to be found: one for each path, with the strongest digest.
func (s *Sums) index() {
	slices.SortFunc(s.lines, func(a, b sumLine) int { return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.digest, b.digest)) })
	kept := s.lines[:0]
	for _, l := range s.lines {
		if last := len(kept) - 1; last >= 0 && kept[last].path == l.path {
			kept[last] = s.merge(kept[last], l)
		} else {
			kept = append(kept, l)
		}
	}
	s.lines = kept
	s.byBase = make([]uint32, len(kept))
	for i := range s.byBase {
		s.byBase[i] = uint32(i)
	}
	slices.SortFunc(s.byBase, func(a, b uint32) int { return cmp.Compare(s.lines[a].base, s.lines[b].base) })
}

// merge returns what two lines say of one path: the stronger digest.
func (s *Sums) merge(a, b sumLine) sumLine {
	clash := a.clash || b.clash || a.algorithm == b.algorithm && s.sum(a) != s.sum(b)
	if b.algorithm < a.algorithm {
		a = b
	}
	a.clash = clash
	return a
}

// sum returns the digest of a line.
func (s *Sums) sum(l sumLine) chunk.Sum {
	sum, _ := chunk.NewSum(algorithms[l.algorithm], s.digests[l.digest/digestChunk][l.digest%digestChunk:])
	return sum
}

// Find returns the sum of a file: that of its path as the checksum file has it,
// with or without ./ before it, or else that of its last element, in whatever
// directory. Two sums that differ are an error. The sum is zero if there is none.
func (s *Sums) Find(path string) (chunk.Sum, error) {
	path = withoutDot(path)
	base := lastElement(path)
	hash := s.hash(path)
	sum, clash := chunk.Sum{}, false
	if i, ok := slices.BinarySearchFunc(s.lines, hash, func(l sumLine, h uint64) int { return cmp.Compare(l.path, h) }); ok {
		sum, clash = s.sum(s.lines[i]), s.lines[i].clash
	} else {
		sum, clash = s.ofBase(base)
	}
	if clash {
		return chunk.Sum{}, fmt.Errorf("%s: has different checksums for %q", s.name, short(base))
	}
	return sum, nil
}

// ofBase returns the sum of all paths that end in base, zero if there is none, and whether
// they have different ones.
func (s *Sums) ofBase(base string) (sum chunk.Sum, clash bool) {
	hash := s.hash(base)
	first, _ := slices.BinarySearchFunc(s.byBase, hash, func(n uint32, h uint64) int { return cmp.Compare(s.lines[n].base, h) })
	for _, n := range s.byBase[first:] {
		l := s.lines[n]
		if l.base != hash {
			break
		}
		if sum.IsZero() {
			sum = s.sum(l)
		}
		if clash = l.clash || s.sum(l) != sum; clash {
			break
		}
	}
	return sum, clash
}

func withoutDot(path string) string {
	for strings.HasPrefix(path, "./") {
		path = strings.TrimLeft(path[1:], "/")
	}
	return path
}

// lastElement returns what follows the last slash of any kind.
func lastElement(path string) string { return path[strings.LastIndexAny(path, `/\`)+1:] }
