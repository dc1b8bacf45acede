package list

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
)

// maxLine is the most bytes that a line, or another unit of a list, may have.
const maxLine = 1 << 20

// errLong is the problem of a line that was skipped for its length.
var errLong = fmt.Errorf("longer than %d bytes", maxLine)

// lines cuts a stream into lines and counts them. It holds one line.
type lines struct {
	r    *bufio.Reader
	long []byte // a line that does not fit into the buffer of r
	n    int    // number of the line that next returned last, from 1
}

// next returns the next line without its end, LF or CR LF. It is valid until the
// call after. The error is errLong for a line that was skipped but for its
// beginning, io.EOF behind the last line, or what the reader said, and then a
// line that was begun is lost.
func (l *lines) next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		line, err = l.gather(line)
	}
	switch {
	case err == io.EOF && len(line) == 0:
		return nil, io.EOF
	case err != nil && err != io.EOF && err != errLong:
		return nil, err
	}
	l.n++
	if err == errLong {
		return line, errLong
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), nil
}

// gather reads the rest of a line whose beginning filled the buffer. Of one that
// is too long it keeps the beginning.
func (l *lines) gather(begin []byte) (line []byte, err error) {
	l.long = append(l.long[:0], begin...)
	size := len(begin)
	for err = bufio.ErrBufferFull; err == bufio.ErrBufferFull; {
		var more []byte
		more, err = l.r.ReadSlice('\n')
		if size += len(more); size <= maxLine+len("\r\n") {
			l.long = append(l.long, more...)
		}
	}
	tooLong := size > len(l.long) || len(bytes.TrimRight(l.long, "\r\n")) > maxLine
	if tooLong && (err == nil || err == io.EOF) {
		err = errLong
	}
	return l.long, err
}

// A lineReader is a format of lines.
type lineReader interface {
	line(text []byte, n int) // one that is not empty; text is valid for the call
	skip(begin []byte)       // the beginning of one that is too long, which was told
	end() error              // after the last, if the list could be read to there
}

// lineFormat reads a list of lines, in the format that was asked for or else the
// one that the first line is in which says anything.
func (c *collector) lineFormat(l *lines) error {
	if c.o.Format == "" {
		return c.each(l, nil)
	}
	format, err := c.reader(c.o.Format)
	if err != nil {
		return err
	}
	return c.each(l, format)
}

// each hands the lines to a format, nil for what the first one is in.
func (c *collector) each(l *lines, format lineReader) error {
	for !c.stopped {
		text, err := l.next()
		switch {
		case err == io.EOF && format == nil:
			return nil // nothing at all
		case err == io.EOF:
			return format.end()
		case err != nil && err != errLong:
			return fmt.Errorf("%s: after line %d: %w", c.name, l.n, err)
		case isEmpty(text) && err == nil:
			continue
		}
		if format == nil {
			var refused error
			if format, refused = c.reader(formatOf(text)); refused != nil {
				return refused
			}
		}
		if err == nil {
			format.line(text, l.n)
			continue
		}
		c.problem(l.n, err)
		if !isEmpty(text) {
			format.skip(text)
		}
	}
	return nil
}

// isEmpty reports whether a line says nothing: it is blank or a comment.
func isEmpty(text []byte) bool {
	if len(text) == 0 || text[0] == '#' {
		return true
	}
	if !isBlank(text[0]) {
		return false
	}
	text = bytes.TrimLeft(text, blanks)
	return len(text) == 0 || text[0] == '#'
}

// reader returns what reads the lines of a format.
func (c *collector) reader(f Format) (lineReader, error) {
	switch f {
	case JSON:
		return &jsonReader{c}, nil
	case Checksum:
		if c.base == nil {
			return nil, fmt.Errorf("%s: is a checksum file, whose names need a base URL", c.name)
		}
		return &sumsReader{c: c}, nil
	}
	return &aria2Reader{c: c}, nil
}
