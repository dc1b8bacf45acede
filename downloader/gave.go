package downloader

// This file is about what mirrors gave, until it is sure that it is right.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"pawl/chunk"
)

// loseMirrored discards the bytes from mirrors that have contradicted themselves. It
// reports whether there were any. No worker may be left.
func (j *job) loseMirrored() (bool, error) {
	var lost chunk.Set
	for _, m := range j.mirrors {
		m.mu.Lock()
		if errors.Is(m.aside, ErrChanged) {
			for r := range m.gave.All() {
				lost.Add(r)
			}
			m.forget()
		}
		m.mu.Unlock()
	}
	if lost.Len() == 0 {
		return false, nil
	}
	j.emit(Event{Kind: Lost, Held: lost.Len()})
	if err := j.part.Discard(lost); err != nil {
		return true, permanentError{err}
	}
	rec := j.part.Record()
	j.have.Store(rec.Held.Len())
	return true, nil
}

// compareMirrored compares some of what each mirror gave with the URL asked, if no
// digest proves it. A mirror that has given other bytes is put aside. That
// the URL asked cannot be asked any more proves nothing.
func (j *job) compareMirrored(ctx context.Context) error {
	if j.proves() { // all of the file is verified at the end
		return nil
	}
	doubtful := make(map[*mirror]chunk.Set)
	for _, m := range j.mirrors {
		m.mu.Lock()
		if m.gave.Len() > 0 {
			doubtful[m] = m.gave.Clone()
		}
		m.mu.Unlock()
	}
	if len(doubtful) == 0 {
		return nil
	}
	asking, cancel := j.soon(ctx, moreSamples*len(doubtful))
	defer cancel()
	if j.enter(asking, j.host) != nil {
		return context.Cause(ctx)
	}
	defer j.leave()
	for m, gave := range doubtful {
		for range moreSamples {
			r := nthBytes(gave, rand.Int64N(max(1, gave.Len()-sampleBytes)), sampleBytes)
			if err := j.proveSample(asking, r); errors.Is(err, errOtherBytes) {
				j.putAside(m, fmt.Errorf("%w: it gave other bytes", ErrChanged))
			} else if err != nil {
				return context.Cause(ctx)
			}
		}
	}
	return context.Cause(ctx)
}

// forget forgets what m gave, with mu held.
func (m *mirror) forget() {
	m.gave = chunk.Set{}
	if m.sums != nil {
		m.sums = chunk.NewPieces(m.sums.Length())
	}
}

// mirrorSink is where the bytes of one worker go, and notes those of mirrors.
type mirrorSink struct {
	io.WriterAt
	pool *pool
	w    *worker
}

func (s mirrorSink) WriteAt(b []byte, off int64) (int, error) {
	n, err := s.WriterAt.WriteAt(b, off)
	if m := s.pool.mirrorOf(s.w); m != nil && n > 0 {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.gave.Add(chunk.Range{Off: off, End: off + int64(n)})
		m.sums.Add(off, b[:n])
	}
	return n, err
}
