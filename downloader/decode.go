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
	// freeDecoded is how many bytes a gzip coding may unfold to, however few they are coded.
	// Half of it refuses some web pages of logs; double is what a bomb may write to the disk.
	freeDecoded = 1 << 30
	// maxRatio is how many times as many bytes as arrive gzip may unfold to beyond
	// freeDecoded. Its own limit is 1032, which only repetitions of one byte reach; logs and
	// databases have 10 to 50. Half of it refuses some of these, double writes as much more.
	maxRatio = 100
)

// decoded removes the gzip coding of a body, if there is one: a body without the
// mark of gzip (RFC 1952 §2.3.1) is the file, whatever the header says. It reads
// nothing before it is read.
type decoded struct {
	io.ReadCloser
	free  bool      // it may unfold as far as it does, because the size of the file is limited
	plain io.Reader // nil before the first read
}

func (d *decoded) Read(p []byte) (n int, err error) {
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

// open looks at the beginning of the body.
func (d *decoded) open() error {
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
