package downloader

import (
	"context"
	"errors"
	"hash"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"pawl/chunk"
	"pawl/store"
)

const (
	// checkBytes is how many bytes of a file are read at a time. Measured on a cached file: with
	// 128 KiB, as cat has, reading takes a tenth longer; 4 MiB are no faster and do not fit into
	// the cache of a core.
	checkBytes = 1 << 20
	// checkAhead is how many of these are read before they are compared. With one, reading waits
	// for each comparison.
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
	Proof   string    // what the bytes were compared with: the algorithm of a digest, ProofPieces or ProofCRC32C
}

// OK reports whether the file is there and right.
func (c Checked) OK() bool { return !c.Missing && c.Wrong.Len() == 0 }

// A Checker reads files again and compares them with their records and digests. It is safe for
// concurrent use.
type Checker struct {
	Store *store.Store
	read  atomic.Int64
}

// Read returns how many bytes have been read, of all files.
func (c *Checker) Read() int64 { return c.read.Load() }

// buffers are the buffers of all Checkers, of checkBytes each.
var buffers = sync.Pool{New: func() any { return new([checkBytes]byte) }}

// Check reads the file of rec, finished or not, and compares it with sum or, if that is zero, with
// the recorded checksums, or else with the recorded digest. If sum shows that the file is wrong, the
// recorded checksums say where. A rec without an ID is a file that is not on record. If there is
// nothing to compare with, the error is store.ErrNoSums. Bytes that cannot be read are wrong.
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
	if !ok {
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
	k := comparison{file: f, pieces: pieces, sum: sum, ranges: chunk.NewSet(chunk.Range{End: seen.Size}), read: &c.read}
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
	read   *atomic.Int64

	compared   int64
	unreadable bool // a part of the file could not be read, so hash is worth nothing
}

// A block is a part of a file that was read.
type block struct {
	off int64
	buf *[checkBytes]byte
	n   int
}

// run reads the ranges of a file of size bytes. A large file is read and compared side by side,
// because neither alone must be slower than the disk.
func (k *comparison) run(ctx context.Context, size int64) error {
	if size <= checkBytes {
		return k.eachBlock(ctx, k.compare)
	}
	ahead := make(chan block, checkAhead)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(ahead)
		return k.eachBlock(ctx, func(b block) { ahead <- b })
	})
	group.Go(func() error {
		for b := range ahead { // to the end, or the reader would wait for ever
			k.compare(b)
		}
		return nil
	})
	return group.Wait()
}

// eachBlock calls use with the blocks of the ranges, in order. use must return the buffer.
func (k *comparison) eachBlock(ctx context.Context, use func(block)) error {
	for r := range k.ranges.All() {
		for r.Off < r.End {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			b := block{off: r.Off, buf: buffers.Get().(*[checkBytes]byte)}
			want := int(min(checkBytes, r.Len()))
			var err error
			b.n, err = k.file.ReadAt(b.buf[:want], b.off)
			k.read.Add(int64(b.n))
			use(b)
			switch {
			case errors.Is(err, io.EOF) && int64(b.n) < r.Len():
				k.unreadable = true
				return nil // the ranges are in order, so nothing more is there
			case err != nil && b.n < want: // a bad sector: the rest of the block is wrong
				k.unreadable = true
			}
			r.Off += int64(want)
		}
	}
	return nil
}

// compare adds a block to the checksums and to the digest.
func (k *comparison) compare(b block) {
	if k.hash != nil {
		k.hash.Write(b.buf[:b.n])
	}
	if k.pieces != nil {
		for r := range intersect(k.pieces.Held(), chunk.Range{Off: b.off, End: b.off + int64(b.n)}) {
			k.pieces.Add(r.Off, b.buf[r.Off-b.off:r.End-b.off])
		}
	}
	k.compared += int64(b.n)
	buffers.Put(b.buf)
}

// intersect yields the parts of s in r.
func intersect(s chunk.Set, r chunk.Range) func(yield func(chunk.Range) bool) {
	return func(yield func(chunk.Range) bool) {
		for x := range s.All() {
			if in := x.Intersect(r); !in.Empty() && !yield(in) {
				return
			}
		}
	}
}

// verdict returns the wrong ranges of a file of size bytes, and what has shown them.
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
