package downloader

// This file is about files that are larger than they may be.

import (
	"errors"
	"fmt"
	"io"

	"pawl/downloader/failure"
	"pawl/store"
)

const (
	// freeDecoded is how many bytes a gzip coding may unfold to, however few they are coded.
	// Half of it refuses some web pages of logs; double is what a bomb may write to the disk.
	freeDecoded = 1 << 30
	// maxRatio is how many times as many bytes as arrive gzip may unfold to beyond
	// freeDecoded. Its own limit is 1032, which only repetitions of one byte reach; logs and
	// databases have 10 to 50. Half of it refuses some of these, double writes as much more.
	maxRatio = 100
)

// A tooLargeError is an failure.ErrTooLarge.
type tooLargeError struct {
	what    string
	arrived bool // the bytes beyond the limit are in the part file, and not only announced
}

func (e tooLargeError) Error() string { return e.what }

// Is is for errors.Is.
func (e tooLargeError) Is(kind error) bool {
	return kind == failure.ErrTooLarge || kind == failure.ErrProtocol
}

// checkSize returns an error if a file of size bytes, -1 if unknown, is larger than it may be.
func (j *job) checkSize(size int64) error {
	if most := j.req.MaxSize; most > 0 && size > most {
		return failure.Permanent(tooLargeError{what: fmt.Sprintf("it has %d bytes, and %d are allowed", size, most)})
	}
	return nil
}

// checkArrived returns an error if more of a file of unknown size is there than there may be.
// A known size is checked before; of such a file some bytes may arrive twice.
func (j *job) checkArrived() error {
	if most := j.req.MaxSize; most > 0 && j.id.size < 0 && j.have.Load() > most {
		return failure.Permanent(tooLargeError{what: fmt.Sprintf("it has more than the %d bytes that are allowed", most), arrived: true})
	}
	return nil
}

// dropTooLarge forgets the download rec, which must be closed, with its part file if err says
// that too much is in it.
func (j *job) dropTooLarge(rec store.Record, err error) error {
	var large tooLargeError
	if !errors.As(err, &large) || !large.arrived || rec.ID == "" {
		return err
	}
	j.have.Store(0)
	return errors.Join(err, j.d.store.Remove(rec.ID, true))
}

// A ratioReader is the decoded body of received. It fails with an failure.ErrTooLarge when that has
// unfolded too far.
type ratioReader struct {
	plain    io.Reader
	received *countingReader
	n        int64 // bytes read
}

func (r *ratioReader) Read(p []byte) (int, error) {
	n, err := r.plain.Read(p)
	if r.n += int64(n); r.n > freeDecoded && r.n/maxRatio > r.received.n {
		return n, failure.Permanent(tooLargeError{what: fmt.Sprintf("its gzip coding unfolds to more than %d times what arrives", maxRatio), arrived: true})
	}
	return n, err
}

// A countingReader counts what is read.
type countingReader struct {
	io.Reader
	n int64 // bytes
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.n += int64(n)
	return n, err
}
