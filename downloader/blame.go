package downloader

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/weburl"
)

// A blamer finds the sources of wrong bytes. A download with a wrong digest remembers which source
// sent which bytes, with checksums of the pieces. When a later download has the right digest, the
// checksums are compared with its part file.
type blamer struct{ *download }

// mismatched discards the bytes of the complete download, which has the wrong digest got, or of
// which a piece has it, and returns the mismatch. It returns nil if the file is kept all the same:
// the digest is a hint of a server that has sent the same bytes twice.
func (b blamer) mismatched(want promise, got chunk.Sum) error {
	m := &mismatch{want: want, got: got, coded: b.version.Coding != "", decoded: b.version.gzip, sources: b.contributions()}
	m.admitted = got == b.version.denied && len(b.mirrors) == 0 && len(b.wrong) == 0
	if m.want.hint && b.wrong.confirm(m) {
		b.warn("it should have %v, and two complete downloads have %v; pawl keeps the file, because that field is often wrong", m.want, got)
		b.version.digest = promise{}
		return nil
	}
	if b.file.part == nil {
		return m
	}
	if kept := b.keep(m); kept.Len() > 0 {
		m.kept = b.origin.recorded
		b.progress.setHeld(kept.Len())
		if err := b.discardAllBut(kept); err != nil {
			return errors.Join(m, err)
		}
		return m
	}
	b.progress.setHeld(0)
	size := b.version.Size
	if m.coded {
		size = -1 // the next download may have another form
	}
	if err := b.forget(size); err != nil {
		return errors.Join(m, failure.Permanent(err))
	}
	return m
}

// keep returns the bytes that are not suspect after the mismatch m, so that they stay held:
//
//   - After the first mismatch, if several sources have sent bytes, and the next download is from
//     the origin alone: the origin's. Most likely a mirror is wrong.
//   - After the second one, if the first one has kept bytes: the bytes that the origin has sent in
//     place of a mirror's, and that are the same. Two sources agree about them.
//   - After a further one: none. The sources that agreed may have the same damage.
func (b blamer) keep(m *mismatch) (kept chunk.Set) {
	last := len(m.sources) - 1
	if m.coded || m.decoded || last < 0 {
		return kept
	}
	switch {
	case len(b.wrong) == 0:
		sources := append([]string{b.req.URL}, b.req.Mirrors...)
		if last > 0 && m.sources[last].source == b.origin.recorded && (mismatches{m}).next(sources) == b.req.URL {
			kept = m.sources[last].bytes.Clone()
		}
	case len(b.wrong) == 1 && b.wrong[0].kept == b.origin.recorded:
		for _, c := range b.wrong[0].sources {
			if c.source == b.origin.recorded || c.source == anEarlierRun {
				continue
			}
			same, _ := b.matchingBytes(c) // after an error, less is kept
			for r := range same.All() {
				kept.Add(r)
			}
		}
	}
	return kept
}

// discardAllBut discards the held bytes that are not in kept.
func (b blamer) discardAllBut(kept chunk.Set) error {
	lost := chunk.NewSet(chunk.Range{End: chunk.Unbounded})
	for r := range kept.All() {
		lost.Remove(r)
	}
	if err := b.file.part.Discard(lost); err != nil {
		return failure.Permanent(err)
	}
	return nil
}

// contributions returns the bytes of the file that each source has sent. The origin has sent the
// bytes that no mirror and no earlier run has sent. Piece checksums are linear (chunk.Pieces), so
// its checksums are the checksums of the file minus the checksums of the others.
func (b blamer) contributions() []contribution {
	rest := contribution{b.origin.recorded, chunk.NewSet(chunk.Range{End: max(0, b.version.Size)}), nil}
	if b.file.part != nil {
		rest.sums = b.file.part.PieceSums()
	}
	var all []contribution
	take := func(c contribution) {
		if c.bytes.Len() == 0 {
			return
		}
		for r := range c.bytes.All() {
			rest.bytes.Remove(r)
		}
		for i := range c.sums.Len() {
			rest.sums.AddSum(i, c.sums.Sum(i))
		}
		all = append(all, c)
	}
	for _, m := range b.mirrors {
		m.mu.Lock()
		take(contribution{weburl.WithoutUser(m.url.String()), m.written.Clone(), m.sums})
		m.mu.Unlock()
	}
	take(b.file.earlierRun())
	if rest.bytes.Len() > 0 {
		all = append(all, rest)
	}
	return all
}

// blame reports the sources that sent wrong bytes to earlier downloads. This download must have the
// right digest, and must still have its part file.
func (b blamer) blame() error {
	for _, m := range b.wrong {
		if m.coded && !m.decoded && b.version.gzip { // only the content coding was wrong
			continue
		}
		var guilty []string
		for _, c := range m.sources {
			wrong, err := b.differs(c)
			if err != nil {
				return err
			}
			if wrong && !slices.Contains(guilty, weburl.Redact(c.source)) {
				guilty = append(guilty, weburl.Redact(c.source))
			}
		}
		if len(guilty) > 0 {
			b.emit(Event{Kind: Warning, Err: fmt.Errorf("wrong bytes came from %s; they are replaced", strings.Join(guilty, " and "))})
		}
	}
	return nil
}

// differs reports whether bytes of c differ from the part file, which is right. A small file has no
// part file, and one source only.
func (b blamer) differs(c contribution) (bool, error) {
	if b.file.part == nil || c.sums == nil {
		return c.bytes.Len() > 0, nil
	}
	same, err := b.matchingBytes(c)
	return same.Len() < c.bytes.Len(), err
}

// matchingBytes returns the bytes of c that are in the part file, too, in whole pieces of c.
func (b blamer) matchingBytes(c contribution) (same chunk.Set, err error) {
	for i := range c.sums.Len() {
		in := c.bytes.Clone()
		piece := c.sums.Range(i)
		in.Remove(chunk.Range{End: piece.Off})
		in.Remove(chunk.Range{Off: piece.End, End: chunk.Unbounded})
		sum, err := b.file.part.SumOf(in, c.sums.Length())
		if err != nil {
			return same, failure.Permanent(err)
		}
		if sum == c.sums.Sum(i) {
			for r := range in.All() {
				same.Add(r)
			}
		}
	}
	return same, nil
}
