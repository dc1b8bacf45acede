package downloader

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"sync"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/response"
	"pawl/store"
)

// A file is the destination of the bytes of a download: a part file, or a stream. It is neither before
// the name of the file is known.
type file struct {
	part   *store.Part // nil for none
	stream *streamSink // nil for none
	sink   io.WriterAt // part or stream

	moved     bool   // the record has another URL, which this download continues
	brokenOff bool   // a small file broke off; the next attempt uses a part file
	damages   int    // how often held bytes proved to be damaged
	crc       uint32 // of a finished small file

	mu      sync.Mutex
	earlier contribution // held bytes of an earlier run, while all of them are held; guarded by mu
}

// setPart makes part the place of the bytes.
func (f *file) setPart(part *store.Part) { f.part, f.sink = part, part }

// setStream makes s the place of the bytes.
func (f *file) setStream(s *streamSink) { f.stream, f.sink = s, s }

// record returns the record of the part file, the zero Record if there is none.
func (f *file) record() store.Record {
	if f.part == nil {
		return store.Record{}
	}
	return f.part.Record()
}

// held returns the written bytes: of a part file the committed ones, of a stream all, because a
// stream cannot be resumed by a later run.
func (f *file) held() chunk.Set {
	if f.stream != nil {
		return chunk.NewSet(chunk.Range{End: f.stream.off})
	}
	return f.record().Held
}

// reserve lets the part file reserve disk space in step with the arriving bytes.
func (f *file) reserve() error {
	if f.part == nil {
		return nil
	}
	return f.part.Reserve()
}

// commit makes the written bytes durable. rate is in bytes per second, for the record.
func (f *file) commit(rate int64) error {
	if f.part == nil {
		return nil
	}
	return f.part.Commit(rate)
}

// earlierRun returns the held bytes of an earlier run.
func (f *file) earlierRun() contribution {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.earlier
	c.bytes = c.bytes.Clone()
	return c
}

// setEarlierRun notes the held bytes of an earlier run; the zero contribution if it is no longer
// known which of them are held.
func (f *file) setEarlierRun(c contribution) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.earlier = c
}

// forgetEarlier forgets the bytes b at off of an earlier run, which are replaced in the file.
func (f *file) forgetEarlier(off int64, b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.earlier.bytes.Remove(chunk.Range{Off: off, End: off + int64(len(b))})
	f.earlier.sums.Add(off, b) // adding bytes a second time removes them
}

// isResumed reports whether an earlier run has held some bytes of the file.
func (f *file) isResumed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.earlier.bytes.Len() > 0
}

// verifyDirty reads the pieces of the part file that may have changed since the last commit,
// for example during a power cut. It returns how many bytes are no longer as recorded; these
// are not held any more.
func (f *file) verifyDirty(ctx context.Context) (lost int64, err error) {
	if f.part == nil || !f.part.Dirty() {
		return 0, nil
	}
	return f.verifyAll(ctx)
}

// verifyAll is verifyDirty for all pieces of a part file.
func (f *file) verifyAll(ctx context.Context) (lost int64, err error) {
	for i, more := 0, true; more; i++ {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		var n int64
		if n, more, err = f.part.VerifyNext(i); err != nil {
			return 0, failure.Permanent(err)
		}
		lost += n
	}
	if lost > 0 {
		f.setEarlierRun(contribution{}) // some of its bytes are lost
	}
	return lost, nil
}

// reread compares the whole part file with the checksums of the received bytes. Bytes that differ
// are no longer held; reread returns the pieces that they are in.
func (f *file) reread(ctx context.Context) (damaged chunk.Set, err error) {
	pieces := f.part.PieceSums()
	for i, more := 0, true; more; i++ {
		if ctx.Err() != nil {
			return damaged, context.Cause(ctx)
		}
		var lost int64
		if lost, more, err = f.part.VerifyNext(i); err != nil {
			return damaged, failure.Permanent(err)
		}
		if lost > 0 {
			damaged.Add(pieces.Range(i))
		}
	}
	if damaged.Len() > 0 {
		f.setEarlierRun(contribution{}) // some of its bytes are lost
	}
	return damaged, nil
}

// composedCRC returns the CRC-32C of the received bytes of a complete part file, without reading it.
func (f *file) composedCRC(size int64) chunk.Sum {
	digest := binary.BigEndian.AppendUint32(nil, f.part.PieceSums().CRC32C(size))
	sum, _ := chunk.NewSum("crc32c", digest)
	return sum
}

// maxNamedRanges is how many ranges a message names: about a line of a terminal.
const maxNamedRanges = 3

// formatRanges returns the ranges of a file of size bytes in words, for example "bytes 0-1048575".
func formatRanges(s chunk.Set, size int64) string {
	var words []string
	more := 0
	for r := range s.All() {
		if r.End = min(r.End, size); len(words) < maxNamedRanges {
			words = append(words, response.FormatRange(r))
		} else {
			more++
		}
	}
	text := strings.Join(words, ", ")
	if more > 0 {
		text += fmt.Sprintf(" and %d more ranges", more)
	}
	return text
}
