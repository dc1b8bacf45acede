package downloader

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"iter"
	"path/filepath"
	"sync"
	"sync/atomic"

	"pawl/chunk"
	"pawl/store"
)

const (
	// checkBytes is how many bytes of a file are read at a time. Measured on a cached file: with
	// 128 KiB, as cat has, reading takes a tenth longer; 4 MiB are no faster and do not fit into
	// the cache of a core.
	checkBytes = 1 << 20
	// checkAhead is how many of these are read at once. With one, a disk behind a network waits for
	// each request; with 16, the last reads wait for the first comparison all the same.
	checkAhead = 4
)

// The kinds of proof of a Checked, besides the names of digests.
const (
	ProofPieces = "pieces" // recorded CRC-32C checksums of pieces
	ProofCRC32C = "crc32c" // recorded CRC-32C of the file
)

// A Checked says whether a file has the bytes that it must have.
type Checked struct {
	Path    string    // absolute
	Size    int64     // bytes on the disk; -1 if there is no regular file
	Read    int64     // bytes that were compared
	Wrong   chunk.Set // ranges that are not as they must be; of a missing file all, if the size is on record
	Missing bool      // there is no regular file at the path
	Proof   string    // how the bytes were compared: by the algorithm of a digest, ProofPieces or ProofCRC32C
}

// OK reports whether the file is there and right.
func (c Checked) OK() bool { return !c.Missing && c.Wrong.Len() == 0 }

// A Checker reads files again and compares them with their records and digests. It is safe for
// concurrent use.
type Checker struct {
	Store   *store.Store
	read    atomic.Int64
	buffers sync.Pool // *[checkBytes]byte
}

// Read returns how many bytes have been read, of all files.
func (c *Checker) Read() int64 { return c.read.Load() }

// Check reads the file of rec, finished or not, and compares it with sum or, if that is zero, with
// the recorded checksums, or else with the recorded digest. If sum shows that the file is wrong, the
// recorded checksums locate the wrong ranges. A rec without an ID is a file that is not on record. If
// there is nothing to compare with, the error is store.ErrNoSums. Bytes that cannot be read are wrong. A
// symbolic link is followed.
func (c *Checker) Check(ctx context.Context, rec store.Record, sum chunk.Sum) (Checked, error) {
	v := Checked{Path: rec.Target, Size: -1}
	var pieces *store.Check
	if rec.ID != "" {
		v.Path = c.Store.Place(rec)
		var err error
		if pieces, err = c.Store.NewCheck(rec); err != nil && !errors.Is(err, store.ErrNoSums) {
			return v, err
		}
		if sum.IsZero() && pieces == nil && rec.State == store.Done {
			sum = rec.Sum
		}
	}
	if sum.IsZero() && pieces == nil {
		return v, store.ErrNoSums
	}
	seen, ok := c.Store.Stamp(v.Path)
	if to, err := filepath.EvalSymlinks(v.Path); !ok && err == nil { // to read it is harmless
		v.Path = to
		seen, ok = c.Store.Stamp(to)
	}
	switch {
	case !ok && c.Store.Exists(store.Record{Target: v.Path}):
		return v, fmt.Errorf("%q: %w: it is not a regular file", v.Path, store.ErrIrregular)
	case !ok:
		v.Missing, v.Wrong = true, chunk.NewSet(chunk.Range{End: rec.Size})
		return v, nil
	}
	v.Size = seen.Size
	f, err := c.Store.OpenAt(v.Path)
	if errors.Is(err, fs.ErrNotExist) {
		v.Missing = true
		return v, nil
	}
	if err != nil {
		return v, err
	}
	defer f.Close()
	k := comparison{file: f, pieces: pieces, sum: sum, ranges: chunk.NewSet(chunk.Range{End: seen.Size}), Checker: c}
	if sum.IsZero() {
		k.ranges = pieces.Held()
	} else {
		k.hash = sum.NewHash()
	}
	err = k.run(ctx, seen.Size)
	v.Read = k.compared
	v.Wrong, v.Proof = k.verdict(rec, seen.Size)
	return v, err
}

// A comparison reads one file.
type comparison struct {
	file   io.ReaderAt
	pieces *store.Check // nil for none
	sum    chunk.Sum    // zero for none
	hash   hash.Hash    // of sum
	ranges chunk.Set    // to read
	*Checker

	compared   int64
	unreadable bool // a part of the file could not be read, so hash is worth nothing
}

// A block is a part of a file that was read.
type block struct {
	chunk.Range
	buf *[checkBytes]byte
	n   int // bytes that could be read
}

// blocks yields the blocks of the ranges below size, in order.
func (k *comparison) blocks(size int64) iter.Seq[chunk.Range] {
	return func(yield func(chunk.Range) bool) {
		for r := range intersect(k.ranges, chunk.Range{End: size}) {
			for off := r.Off; off < r.End; off += checkBytes {
				if !yield(chunk.Range{Off: off, End: min(off+checkBytes, r.End)}) {
					return
				}
			}
		}
	}
}

// run reads the ranges of a file of size bytes. Of a large file, some blocks are read side by side,
// ahead of the comparison: a disk is slower with one request at a time.
func (k *comparison) run(ctx context.Context, size int64) error {
	if size <= checkBytes {
		for r := range k.blocks(size) {
			k.compare(k.readBlock(r))
		}
		return nil
	}
	ahead := make(chan chan block, checkAhead)
	var readers sync.WaitGroup
	defer readers.Wait()
	readers.Go(func() {
		defer close(ahead)
		for r := range k.blocks(size) {
			done := make(chan block, 1)
			if ctx.Err() != nil {
				return
			}
			ahead <- done
			readers.Go(func() { done <- k.readBlock(r) })
		}
	})
	for done := range ahead { // to the end, or the readers would wait for ever
		k.compare(<-done)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// readBlock reads a block, as far as it can be read.
func (k *comparison) readBlock(r chunk.Range) block {
	buf, ok := k.buffers.Get().(*[checkBytes]byte)
	if !ok {
		buf = new([checkBytes]byte)
	}
	b := block{Range: r, buf: buf}
	b.n, _ = k.file.ReadAt(b.buf[:r.Len()], r.Off)
	k.read.Add(int64(b.n))
	return b
}

// compare adds a block to the checksums and to the digest.
func (k *comparison) compare(b block) {
	k.unreadable = k.unreadable || int64(b.n) < b.Len()
	if k.hash != nil {
		k.hash.Write(b.buf[:b.n])
	}
	if k.pieces != nil {
		for r := range intersect(k.pieces.Held(), chunk.Range{Off: b.Off, End: b.Off + int64(b.n)}) {
			k.pieces.Add(r.Off, b.buf[r.Off-b.Off:r.End-b.Off])
		}
	}
	k.compared += int64(b.n)
	k.buffers.Put(b.buf)
}

// intersect yields the parts of s in r.
func intersect(s chunk.Set, r chunk.Range) iter.Seq[chunk.Range] {
	return func(yield func(chunk.Range) bool) {
		for x := range s.All() {
			if in := x.Intersect(r); !in.Empty() && !yield(in) {
				return
			}
		}
	}
}

// verdict returns the wrong ranges of a file of size bytes, and the Checked.Proof of the comparison.
func (k *comparison) verdict(rec store.Record, size int64) (wrong chunk.Set, proof string) {
	if k.hash != nil && !k.unreadable && k.sum.Matches(k.hash) {
		return wrong, k.sum.Algorithm()
	}
	whole := chunk.NewSet(chunk.Range{End: max(size, rec.Size, 1)})
	if k.pieces == nil {
		return whole, k.sum.Algorithm()
	}
	wrong, proof = k.pieces.Wrong(), ProofPieces
	if k.pieces.IsWhole() {
		proof = ProofCRC32C
	}
	if rec.State == store.Done && size > rec.Size {
		wrong.Add(chunk.Range{Off: rec.Size, End: size})
	}
	if k.hash != nil && wrong.Len() == 0 { // it is as recorded, but the digest wants another file
		return whole, k.sum.Algorithm()
	}
	return wrong, proof
}
