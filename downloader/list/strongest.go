package list

import (
	"hash/maphash"
	"io"
)

// A sumSurvey knows how strong the digests in a checksum file are, before the file is read for its
// entries. Files such as Release of Debian have a section for each algorithm, the weakest first;
// a file must be verified by its strongest digest, wherever that stands.
//
// It holds a hash of each path, and only if the file has digests of several strengths: 64 bits
// among n paths are mistaken for another path with a probability of n²/2⁶⁵. That path would then
// not be downloaded.
type sumSurvey struct {
	seed maphash.Seed
	best map[uint64]int // strength of the strongest digest of each path, by its hash; nil if all are equal
}

// strength returns the index of the algorithm of a line in algorithms. Lower is stronger; a line
// without a digest that pawl can compute is the weakest.
func (d *digestLine) strength() int {
	if d.sum.IsZero() {
		return len(algorithms)
	}
	return algorithmIndex(d.sum)
}

func (s *sumSurvey) hash(name string) uint64 { return maphash.String(s.seed, trimDotSlash(name)) }

// hasStronger reports whether another line has a stronger digest of the file.
func (s *sumSurvey) hasStronger(d digestLine) bool {
	if s == nil || s.best == nil {
		return false
	}
	best, ok := s.best[s.hash(d.name)]
	return ok && best < d.strength()
}

// surveySums reads a checksum file to find out the strongest digest of each path. reopen returns
// its text from the beginning. Errors are left to the reading for the entries.
func (c *collector) surveySums(reopen func() (*lineScanner, error)) *sumSurvey {
	s := &sumSurvey{seed: maphash.MakeSeed()}
	if l, err := reopen(); err != nil || isUniform(l) {
		return s
	}
	first, several := -1, false
	c.eachDigest(reopen, func(d digestLine) (more bool) {
		if first < 0 {
			first = d.strength()
		}
		several = d.strength() != first
		return !several
	})
	if !several {
		return s
	}
	s.best = make(map[uint64]int)
	c.eachDigest(reopen, func(d digestLine) bool {
		hash := s.hash(d.name)
		if best, ok := s.best[hash]; !ok || d.strength() < best {
			s.best[hash] = d.strength()
		}
		return true
	})
	return s
}

// isUniform reports whether all lines begin with digests of the same length, as sha256sum(1)
// writes them. This is much faster than to parse the lines.
func isUniform(l *lineScanner) bool {
	for digits := 0; ; {
		line, err := l.next()
		if err != nil {
			return err == io.EOF
		}
		n := countHexDigits(string(line))
		if digits == 0 {
			digits = n
		}
		if n < 32 || n != digits || n == len(line) || !isBlank(line[n]) {
			return false
		}
	}
}

// eachDigest calls found for the digests of each file until it returns false. Problems are dropped.
func (c *collector) eachDigest(reopen func() (*lineScanner, error), found func(digestLine) bool) {
	lines, err := reopen()
	if err != nil {
		return
	}
	quiet := &collector{name: c.name, options: c.options, base: c.base, yield: func(Entry, error) bool { return true }}
	r := newChecksumListReader(quiet)
	r.take = func(d digestLine) { quiet.stopped = quiet.stopped || !found(d) }
	quiet.eachLine(lines, r)
}

// reopener returns a function that reads the text of r again from its present position, nil if r can
// be read only once.
func (c *collector) reopener(r io.Reader) func() (*lineScanner, error) {
	s, ok := r.(io.Seeker)
	if !ok {
		return nil
	}
	start, err := s.Seek(0, io.SeekCurrent)
	if err != nil { // a pipe
		return nil
	}
	return func() (*lineScanner, error) {
		if _, err := s.Seek(start, io.SeekStart); err != nil {
			return nil, err
		}
		text, err := openText(r, c.options.MaxBytes)
		return &lineScanner{r: text}, err
	}
}

// readSums reads a checksum file as a list. text is its beginning, and the whole if reopen is nil.
func (c *collector) readSums(text *lineScanner, reopen func() (*lineScanner, error)) (*lineScanner, error) {
	r := newChecksumListReader(c)
	if reopen != nil {
		r.survey = c.surveySums(reopen)
		var err error
		if text, err = reopen(); err != nil {
			return text, err
		}
	}
	return text, c.eachLine(text, r)
}
