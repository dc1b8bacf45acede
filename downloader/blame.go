package downloader

import (
	"errors"
	"fmt"
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
// which a piece has it, and returns the mismatch.
func (b blamer) mismatched(want, got chunk.Sum) error {
	m := &mismatch{want: want, got: got, coded: b.version.Coding != "", decoded: b.version.gzip, sources: b.contributions()}
	if b.file.part == nil {
		return m
	}
	b.progress.held.Store(0)
	size := b.version.Size
	if m.coded {
		size = -1 // the next download may have another form
	}
	if err := b.forget(size); err != nil {
		return errors.Join(m, failure.Permanent(err))
	}
	return m
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
			if wrong {
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
	for i := range c.sums.Len() {
		in := c.bytes.Clone()
		piece := c.sums.Range(i)
		in.Remove(chunk.Range{End: piece.Off})
		in.Remove(chunk.Range{Off: piece.End, End: chunk.Unbounded})
		sum, err := b.file.part.SumOf(in, c.sums.Length())
		if err != nil {
			return false, failure.Permanent(err)
		}
		if sum != c.sums.Sum(i) {
			return true, nil
		}
	}
	return false, nil
}
