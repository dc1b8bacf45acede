package list

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
)

// maxLine limits in bytes a line of a list, and a token of a Metalink: the unit of text
// that must be in memory as a whole. It is a guess; an entry is limited to the same size.
// With half of it, a line of 1000 mirrors of 1 KiB no longer fits.
const maxLine = 1 << 20

// errLineTooLong is the problem of a line of more than maxLine bytes.
var errLineTooLong = fmt.Errorf("line is longer than %d bytes", maxLine)

// A lineScanner splits a stream into numbered lines. It holds one line at a time.
// bufio.Scanner would not do, because it cannot continue after a line that is too long.
type lineScanner struct {
	r        *bufio.Reader
	longLine []byte // reused for lines that do not fit into the buffer of r
	n        int    // number of the line last returned by next, from 1
}

// next returns the next line without its line end (LF or CR LF). The line is valid
// until the following call. The errors are:
//
//   - errLineTooLong: the line was skipped; its beginning is returned
//   - io.EOF: there are no more lines
//   - any other error of r: an unfinished line is dropped, because its end may be missing
func (l *lineScanner) next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		line, err = l.readLongLine(line)
	}
	switch {
	case err == io.EOF && len(line) == 0:
		return nil, io.EOF
	case err != nil && err != io.EOF && err != errLineTooLong:
		return nil, err
	}
	l.n++
	if err == errLineTooLong {
		return line, errLineTooLong
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), nil
}

// readLongLine reads the rest of a line whose beginning has filled the buffer. If the
// line is too long, it consumes the rest and returns the beginning with errLineTooLong.
func (l *lineScanner) readLongLine(begin []byte) (line []byte, err error) {
	l.longLine = append(l.longLine[:0], begin...)
	size := len(begin)
	for err = bufio.ErrBufferFull; err == bufio.ErrBufferFull; {
		var more []byte
		more, err = l.r.ReadSlice('\n')
		if size += len(more); size <= maxLine+len("\r\n") {
			l.longLine = append(l.longLine, more...)
		}
	}
	tooLong := size > len(l.longLine) || len(bytes.TrimRight(l.longLine, "\r\n")) > maxLine
	if tooLong && (err == nil || err == io.EOF) {
		err = errLineTooLong
	}
	return l.longLine, err
}

// A lineReader parses the lines of one format and passes entries and problems to its
// collector.
type lineReader interface {
	// parseLine handles a line that is neither blank nor a comment. The text is valid
	// only during the call.
	parseLine(text []byte, n int)
	// skipLongLine handles a line that is too long to be read. It gets the beginning of
	// the line; the problem has been reported already.
	skipLongLine(begin []byte)
	// end is called after the last line, but not if reading has failed: an unfinished
	// entry must then be dropped. It returns the error of the list as a whole, if any.
	end() error
}

// A commentReader is a lineReader to which the comments say something.
type commentReader interface {
	// parseComment handles a line that begins with '#', after blanks.
	parseComment(text []byte, n int)
}

// eachLine passes the lines to reader until the list ends, reading fails or the
// consumer stops.
func (c *collector) eachLine(l *lineScanner, reader lineReader) error {
	comments, _ := reader.(commentReader)
	for !c.stopped {
		text, err := l.next()
		switch {
		case err == io.EOF:
			return reader.end()
		case err != nil && err != errLineTooLong:
			return fmt.Errorf("%s: reading failed after line %d: %w", c.name, l.n, err)
		case isBlankOrComment(text):
			if err != nil {
				c.problem(l.n, err)
			} else if comments != nil && len(text) > 0 {
				comments.parseComment(text, l.n)
			}
		case err != nil:
			c.problem(l.n, err)
			reader.skipLongLine(text)
		default:
			reader.parseLine(text, l.n)
		}
	}
	return nil
}

// isBlankOrComment reports whether a line has no content. A comment is a line whose
// first character that is not blank is '#'; aria2 does not allow blanks before it.
func isBlankOrComment(text []byte) bool {
	if len(text) == 0 || text[0] == '#' {
		return true
	}
	if !isBlank(text[0]) {
		return false
	}
	text = bytes.TrimLeft(text, blanks)
	return len(text) == 0 || text[0] == '#'
}

// newLineReader returns the parser of a format that is made of lines. Checksum files have readSums.
func (c *collector) newLineReader(f Format) lineReader {
	switch f {
	case JSON:
		return &jsonReader{c}
	case Table:
		return &tableReader{c: c}
	case Curl:
		return &curlReader{c: c}
	}
	return &aria2Reader{c: c}
}
