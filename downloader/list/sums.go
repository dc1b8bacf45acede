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

// maxSums limits the lines of a checksum file. A line takes 28 bytes and its digest, so
// this many lines take 240 MB with SHA-256 and 370 MB with SHA-512. Double the number
// would be too much for small machines; half is still more than any known file has.
const maxSums = 4_000_000

// Sums is a checksum file as a lookup table, to verify the files of another list.
//
// It is held in memory as a whole, except for the paths, of which it keeps only 64-bit
// hashes. For n lines, a path that is not in the file is mistaken for one of them with a
// probability of n/2⁶⁴. That download then fails, because its digest differs.
//
// Find may be called concurrently; nothing changes once ReadSums has returned.
type Sums struct {
	name string       // of the checksum file, for messages
	seed maphash.Seed // random, so that nobody can choose names whose hashes collide

	// lines are in file order until index is called; then they are sorted by path and
	// there is one line per path.
	lines []sumLine
	// byBase holds indexes into lines, sorted by base. It is set by index.
	byBase []uint32

	signed bool // the file has a signature

	// digests are the raw digests, in blocks of up to digestBlock bytes.
	digests [][]byte
}

// digestBlock is the number of bytes allocated for digests at a time. Because the blocks
// do not grow, digests are never copied, as in one large slice. A digest must not extend
// over two blocks. The size is a power of two, so that sumLine.digest is simple to divide.
const digestBlock = 1 << 20

// A sumLine is the checksum of one path.
type sumLine struct {
	path uint64 // hash of the path without a leading "./"
	base uint64 // hash of the last element of the path
	// digest is the position of the digest: index of the block * digestBlock + offset in
	// the block. It also orders lines: later lines of the file have larger values.
	digest    uint32
	algorithm uint8 // index in algorithms
	conflict  bool  // the file has different digests of one algorithm for this path
}

// ReadSums reads a checksum file of at most maxBytes bytes of text after gzip is undone;
// 0 means no limit. The name appears in messages and may imply a file name, as in Read.
//
// It returns the problems of single lines, in order, and stops reading after a thousand of
// them. The error is about the file as a whole: it cannot be read, is too long, or has no
// valid line.
func ReadSums(name string, r io.Reader, maxBytes int64) (*Sums, []error, error) {
	return readSums(name, r, maxBytes, maxSums)
}

// Signed reports whether the file has a signature, which ReadSums has not verified.
func (s *Sums) Signed() bool { return s.signed }

// readSums is ReadSums with another limit of valid lines.
func readSums(name string, r io.Reader, maxBytes int64, maxLines int) (*Sums, []error, error) {
	var problems []error
	c := &collector{name: name, options: Options{Format: Checksum}, yield: func(_ Entry, err error) bool {
		problems = append(problems, err)
		return len(problems) < maxProblems
	}}
	text, err := openText(r, maxBytes)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	b := newSumsBuilder(c, maxLines)
	if err := c.eachLine(&lineScanner{r: text}, b); err != nil {
		return nil, problems, err
	}
	if b.tooMany {
		return nil, problems, fmt.Errorf("%s: has more than %d lines", name, maxLines)
	}
	b.sums.index()
	return b.sums, problems, nil
}

// A sumsBuilder is the lineReader that fills a Sums.
type sumsBuilder struct {
	c       *collector
	parser  checksumParser
	sums    *Sums
	max     int  // most valid lines
	tooMany bool // the file has more than max valid lines
	first   digestLine
}

func newSumsBuilder(c *collector, maxLines int) *sumsBuilder {
	r := &sumsBuilder{c: c, parser: newChecksumParser(c.name), max: maxLines, sums: &Sums{name: c.name, seed: maphash.MakeSeed()}}
	r.parser.found, r.parser.fault = r.add, c.problem
	return r
}

func (r *sumsBuilder) parseLine(text []byte, n int) { r.parser.parseLine(text, n) }

func (r *sumsBuilder) parseComment(text []byte, _ int) { r.parser.parseComment(text) }

func (r *sumsBuilder) skipLongLine([]byte) {}

// end adds the digest of a single file to the file after which the checksum file is named.
func (r *sumsBuilder) end() error {
	r.parser.end()
	r.sums.signed = r.parser.filter.signed
	if target, err := sidecarTarget(r.c.name); err == nil && len(r.sums.lines) == 1 {
		r.sums.add(target, r.first.sum)
	}
	return requireDigests(r.c.name, len(r.sums.lines))
}

// add adds the digest of a line. A line without a known algorithm is ignored.
func (r *sumsBuilder) add(d digestLine) {
	if d.name == "" {
		var err error
		if d.name, err = sidecarTarget(r.c.name); err != nil {
			r.c.problem(d.line, err)
			return
		}
	}
	switch {
	case d.sum.IsZero():
	case len(r.sums.lines) == r.max:
		r.tooMany, r.c.stopped = true, true
	default:
		r.first = d
		r.sums.add(d.name, d.sum)
	}
}

// add appends a line. It must not be called after index.
func (s *Sums) add(name string, sum chunk.Sum) {
	name = trimDotSlash(name)
	l := sumLine{path: s.hash(name), base: s.hash(baseName(name)), algorithm: uint8(algorithmIndex(sum))}
	digest := sum.Digest()
	last := len(s.digests) - 1
	if last < 0 || len(s.digests[last])+len(digest) > digestBlock {
		s.digests = append(s.digests, make([]byte, 0, digestBlock))
		last++
	}
	l.digest = uint32(last*digestBlock + len(s.digests[last]))
	s.digests[last] = append(s.digests[last], digest...)
	s.lines = append(s.lines, l)
}

func (s *Sums) hash(text string) uint64 { return maphash.String(s.seed, text) }

// index prepares the table for Find: it merges the lines of each path into one and builds
// byBase. It must be called once, after the last add.
func (s *Sums) index() {
	slices.SortFunc(s.lines, func(a, b sumLine) int { return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.digest, b.digest)) })
	kept := s.lines[:0]
	for _, l := range s.lines {
		if last := len(kept) - 1; last >= 0 && kept[last].path == l.path {
			kept[last] = s.strongest(kept[last], l)
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

// strongest merges two lines of the same path: it keeps the stronger digest, and records
// a conflict if both have the same algorithm but different digests.
func (s *Sums) strongest(a, b sumLine) sumLine {
	differ := a.conflict || b.conflict || conflict(s.sum(a), s.sum(b))
	if b.algorithm < a.algorithm {
		a = b
	}
	a.conflict = differ
	return a
}

// sum returns the checksum of a line.
func (s *Sums) sum(l sumLine) chunk.Sum {
	sum, _ := chunk.NewSum(algorithms[l.algorithm], s.digests[l.digest/digestBlock][l.digest%digestBlock:])
	return sum
}

// Find returns the checksum of a file, zero if there is none. It looks for the whole path
// first, with or without a leading "./". If the checksum file does not have the path, it
// looks for the last path element in any directory, because checksum files often name
// only the file. It returns an error if it finds different checksums.
func (s *Sums) Find(path string) (chunk.Sum, error) {
	path = trimDotSlash(path)
	base := baseName(path)
	hash := s.hash(path)
	sum, conflict := chunk.Sum{}, false
	if i, ok := slices.BinarySearchFunc(s.lines, hash, func(l sumLine, h uint64) int { return cmp.Compare(l.path, h) }); ok {
		sum, conflict = s.sum(s.lines[i]), s.lines[i].conflict
	} else {
		sum, conflict = s.findBase(base)
	}
	if conflict {
		return chunk.Sum{}, fmt.Errorf("%s: has conflicting checksums for %q", s.name, truncate(base))
	}
	return sum, nil
}

// findBase returns the checksum of all paths that end in the element base, zero if there
// are none, and whether their checksums differ.
func (s *Sums) findBase(base string) (sum chunk.Sum, conflict bool) {
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
		if conflict = l.conflict || s.sum(l) != sum; conflict {
			break
		}
	}
	return sum, conflict
}

// trimDotSlash removes leading "./" elements: ".//./a" becomes "a".
func trimDotSlash(path string) string {
	for strings.HasPrefix(path, "./") {
		path = strings.TrimLeft(path[1:], "/")
	}
	return path
}

// baseName returns the text after the last slash or backslash. Checksum files that were
// written on Windows have backslashes.
func baseName(path string) string { return path[strings.LastIndexAny(path, `/\`)+1:] }
