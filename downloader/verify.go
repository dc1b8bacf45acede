package downloader

import (
	"context"
	"errors"
	"hash"
	"io"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/store"
)

// followInterval is the time between two checks whether the finished prefix has grown. At double,
// up to 40 ms of bytes remain to be hashed at the end.
const followInterval = 20 * time.Millisecond

// A verifier hashes the growing finished prefix of a file beside the transfer, so that the digest
// is known soon after the last byte.
type verifier struct {
	sum  chunk.Sum
	hash hash.Hash
	file io.ReaderAt
	off  int64 // bytes hashed
	buf  []byte
}

func newVerifier(sum chunk.Sum, file io.ReaderAt) *verifier {
	return &verifier{sum: sum, hash: sum.NewHash(), file: file, buf: make([]byte, 256<<10)}
}

// loop hashes the prefix as it grows, until ctx ends. prefix returns its length. An error of the file
// ends the transfer; verdict hashes the rest.
func (v *verifier) loop(ctx context.Context, prefix func() int64) error {
	for sleep(ctx, followInterval) == nil {
		if err := v.follow(ctx, prefix()); err != nil && ctx.Err() == nil {
			return failure.Permanent(err)
		}
	}
	return nil
}

// follow hashes the bytes below end that are not hashed yet.
func (v *verifier) follow(ctx context.Context, end int64) error {
	for v.off < end {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := v.file.ReadAt(v.buf[:min(int64(len(v.buf)), end-v.off)], v.off)
		v.hash.Write(v.buf[:n])
		v.off += int64(n)
		switch {
		case errors.Is(err, io.EOF) && v.off < end:
			return store.ErrGone // somebody has truncated the part file
		case err != nil && !errors.Is(err, io.EOF):
			return err
		}
	}
	return nil
}

// verdict hashes the rest of a file of size bytes, and returns a mismatch if the file does not
// have the digest.
func (v *verifier) verdict(ctx context.Context, size int64) error {
	if err := v.follow(ctx, size); err != nil {
		return err
	}
	if got := v.sum.Of(v.hash); got != v.sum {
		return &mismatch{want: promise{Sum: v.sum}, got: got}
	}
	return nil
}
