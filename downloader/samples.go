package downloader

// This file compares samples: if validators do not show whether the server still has the version
// of the held bytes, some of these are requested again.

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"

	"pawl/chunk"
	"pawl/downloader/failure"
)

const (
	// sampleSize is the length of a sample, in bytes. A guess: it fits into the first round trip
	// of a connection (RFC 6928), so that a sample costs no more than a request.
	sampleSize = 16 << 10
	// randomSamples is how many samples are taken at random, besides the first and the last
	// bytes. A guess. Each finds a change of a tenth of the file with a probability of 10 %.
	randomSamples = 2
	// compareBytes is how many bytes are read at a time for a comparison.
	compareBytes = 256 << 10
)

var (
	// errOtherBytes means that the server has other bytes than are held.
	errOtherBytes = restartError{why: "the server has other bytes: some were compared"}
	// errWhole means that the server sends whole files, which are compared as they arrive.
	errWhole = restartError{why: "the server sends whole files", single: true, keep: true}
)

// samples chooses ranges of held to compare: the first and the last bytes, and some at random.
func samples(held chunk.Set) []chunk.Range {
	n := held.Len()
	starts := []int64{0, max(0, n-sampleSize)}
	for range randomSamples {
		starts = append(starts, rand.Int64N(max(1, n-sampleSize)))
	}
	var all []chunk.Range
	var chosen chunk.Set
	for _, skip := range starts {
		r := rangeAfter(held, skip, sampleSize)
		if !chosen.Contains(r) {
			all = append(all, r)
			chosen.Add(r)
		}
	}
	return all
}

// rangeAfter returns up to n consecutive bytes of s, from the one with skip bytes of s before it.
func rangeAfter(s chunk.Set, skip, n int64) chunk.Range {
	for r := range s.All() {
		if skip < r.Len() {
			return chunk.Range{Off: r.Off + skip, End: min(r.End, r.Off+skip+n)}
		}
		skip -= r.Len()
	}
	return chunk.Range{}
}

// A sampler compares samples with the origin.
type sampler struct{ asker }

// prove compares samples of held, ranges of the part file, with the bytes of the server. It
// returns nil if they are the same, errOtherBytes if they are not, and errWhole if the server sends
// no samples.
func (s sampler) prove(ctx context.Context, held chunk.Set) error {
	return s.proveFile(ctx, held, s.file.part)
}

// proveFile is prove for ranges of file.
func (s sampler) proveFile(ctx context.Context, held chunk.Set, file io.ReaderAt) error {
	for _, r := range samples(held) {
		if err := s.proveSample(ctx, r, file); err != nil {
			return err
		}
	}
	return nil
}

// proveSample compares one sample.
func (s sampler) proveSample(ctx context.Context, r chunk.Range, file io.ReaderAt) error {
	for {
		rep, err := s.ask(ctx, nil, r)
		if err != nil {
			return err
		}
		if rep.Whole {
			rep.close()
			return errWhole
		}
		got := make([]byte, r.Intersect(rep.Range).Len())
		_, err = io.ReadFull(s.paced(ctx, rep), got)
		rep.close()
		if err == nil {
			held := make([]byte, len(got))
			if _, err := file.ReadAt(held, r.Off); err != nil {
				return failure.Permanent(err)
			}
			if !bytes.Equal(got, held) {
				return errOtherBytes
			}
			return nil
		}
		err = failure.ExplainBody(noEOF(err))
		wait, again := s.setback(err)
		if !again {
			return err
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// proveAgain is prove for a complete file, if no validator promises equal bytes: the remote file
// may have changed between two requests. The bytes that were fetched first are always among the
// samples. If the server cannot be asked any more, that proves nothing, and is no error.
func (s sampler) proveAgain(ctx context.Context) error {
	if s.isProven() {
		return nil
	}
	asking, cancel := s.samplesTimeout(ctx, 2+randomSamples)
	defer cancel()
	err := s.acquireFirst(asking, s.first.host)
	if err == nil {
		err = s.prove(asking, chunk.NewSet(chunk.Range{End: s.version.Size}))
		s.first.release()
	}
	var again restartError
	if errors.As(err, &again) && !again.keep || ctx.Err() != nil {
		return err
	}
	return nil
}

// isProven reports whether samples of the complete file would show nothing new: there is a
// strong ETag in all responses, or all bytes came in one response or one stream. If an earlier run
// mixed bytes of mirrors, only a digest proves them, because nobody knows any more which bytes came
// from which source.
func (s sampler) isProven() bool {
	if s.file.part == nil {
		return true
	}
	rec, resumed := s.file.record(), s.file.isResumed()
	strong := s.version.StrongETag() != "" && !s.version.evidence.MissingETag()
	if strong && rec.Mixed && s.version.digest.IsZero() {
		strong = !resumed // samples of mirrors of this run are compared by mirroring.checkSamples
	}
	return strong || s.progress.useful.Load() < 2 && !resumed || s.progress.isTransferring() && rec.NoRanges
}

// samplesTimeout limits the time for n samples. All bytes are here, so pawl need not wait long.
func (s sampler) samplesTimeout(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 2*s.engine.opts.Timeouts.Stall+s.engine.transport.RequestTime(s.origin.url, 2*n))
}
