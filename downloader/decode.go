package downloader

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"pawl/downloader/failure"
)

const (
	// freeDecoded is how many bytes a body may decode to, with any ratio. A guess. Half would
	// refuse some logs; double would let a gzip bomb write twice as much to the disk.
	freeDecoded = 1 << 30
	// maxRatio limits the ratio of decoded to received bytes beyond freeDecoded. gzip reaches
	// 1032 for repetitions of one byte; logs and databases have 10 to 50. Half would refuse some
	// of these; double would let a gzip bomb write twice as much.
	maxRatio = 100
)

// A gzipBody removes the gzip coding of a body. A body without the mark of gzip (RFC 1952 §2.3.1)
// is the file itself, whatever the header says. It reads no byte before the first Read.
type gzipBody struct {
	io.ReadCloser
	free  bool      // no limit of the ratio, because the size of the file is limited
	plain io.Reader // nil before the first read
}

func (d *gzipBody) Read(p []byte) (n int, err error) {
	if d.plain == nil {
		if err = d.open(); err != nil {
			return 0, err
		}
	}
	n, err = d.plain.Read(p)
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) {
		err = failure.Wrap(failure.ErrNetwork, err)
	}
	return n, err
}

// open reads the beginning of the body, and chooses how to read the rest.
func (d *gzipBody) open() error {
	received := &countingReader{Reader: d.ReadCloser}
	body := bufio.NewReader(received)
	mark, err := body.Peek(2)
	if err != nil && err != io.EOF {
		return err
	}
	if string(mark) != "\x1f\x8b" {
		d.plain = body
		return nil
	}
	z, err := gzip.NewReader(body)
	if err != nil {
		return err
	}
	if d.plain = z; !d.free {
		d.plain = &ratioReader{plain: z, received: received}
	}
	return nil
}

// A ratioReader reads a decoded body. It fails with a failure.ErrTooLarge if the ratio of decoded to
// received bytes is too large.
type ratioReader struct {
	plain    io.Reader
	received *countingReader
	n        int64 // decoded bytes
}

func (r *ratioReader) Read(p []byte) (int, error) {
	n, err := r.plain.Read(p)
	if r.n += int64(n); r.n > freeDecoded && r.n/maxRatio > r.received.n {
		return n, failure.Permanent(tooLargeError{text: fmt.Sprintf("its gzip coding decodes to more than %d times the received bytes", maxRatio), arrived: true})
	}
	return n, err
}

// A countingReader counts the bytes that it reads.
type countingReader struct {
	io.Reader
	n int64 // bytes
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.n += int64(n)
	return n, err
}
