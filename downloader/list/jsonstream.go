package list

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// readJSONStream reads the entries of an array, or objects that extend over lines. An entry
// that is not valid is a problem of its own, like a line of JSON lines.
func (c *collector) readJSONStream(text *bufio.Reader) error {
	s := &jsonScanner{r: text, line: 1}
	entries := jsonReader{c}
	for !c.stopped {
		value, line, err := s.next()
		switch {
		case err == io.EOF:
			c.warnMoreUnverified(s.line)
			return nil
		case err == errEntryTooLong:
			c.problem(line, err)
		case err != nil:
			return fmt.Errorf("%s: reading failed after line %d: %w", c.name, s.line, err)
		default:
			entries.parseLine(value, line)
		}
	}
	return nil
}

// A jsonScanner splits JSON into its entries: the objects, strings and other values that are
// outside of any object. It skips brackets, commas and white space between them.
// It holds one entry at a time, of at most maxEntry bytes.
type jsonScanner struct {
	r      *bufio.Reader
	line   int // number of the line, from 1
	arrays int // open arrays around the entries
	value  []byte
	length int // of the value, of which bytes beyond maxEntry are not kept
}

// next returns the next entry and the line on which it begins. The entry is valid until the
// following call. The error is errEntryTooLong for an entry that was skipped, and io.EOF
// after the last one.
func (s *jsonScanner) next() (value []byte, line int, err error) {
	for {
		b, err := s.readByte()
		switch {
		case err == io.EOF && s.arrays > 0:
			return nil, 0, errors.New("the array has no end")
		case err != nil:
			return nil, 0, err
		case b == '[':
			s.arrays++
		case b == ']':
			if s.arrays--; s.arrays < 0 {
				return nil, 0, errors.New(`"]" without "["`)
			}
		case b != ',' && b != '\n' && !isBlank(b):
			line, s.length, s.value = s.line, 0, s.value[:0]
			s.add(b)
			if err = s.scan(b); err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			if err == nil && s.length > maxEntry {
				err = errEntryTooLong
			}
			return s.value, line, err
		}
	}
}

// scan reads the rest of the value that begins with first.
func (s *jsonScanner) scan(first byte) error {
	switch first {
	case '"':
		return s.scanString()
	case '{':
		return s.scanObject()
	}
	for { // a number or a name, which ends before a delimiter or with the text
		b, err := s.readByte()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if b == ',' || b == ']' || b == '[' || b == '{' || b == '\n' || isBlank(b) {
			if b == '\n' {
				s.line--
			}
			return s.r.UnreadByte()
		}
		s.add(b)
	}
}

// scanObject reads up to the brace that closes an object.
func (s *jsonScanner) scanObject() error {
	for depth := 1; depth > 0; {
		b, err := s.readByte()
		if err != nil {
			return err
		}
		switch s.add(b); b {
		case '{':
			depth++
		case '}':
			depth--
		case '"':
			if err := s.scanString(); err != nil {
				return err
			}
		}
	}
	return nil
}

// scanString reads up to the quotation mark that closes a string.
func (s *jsonScanner) scanString() error {
	for escaped := false; ; {
		b, err := s.readByte()
		if err != nil {
			return err
		}
		if s.add(b); b == '"' && !escaped {
			return nil
		}
		escaped = b == '\\' && !escaped
	}
}

// readByte reads a byte and counts the lines.
func (s *jsonScanner) readByte() (byte, error) {
	b, err := s.r.ReadByte()
	if b == '\n' {
		s.line++
	}
	return b, err
}

// add adds a byte to the value, unless that is too long.
func (s *jsonScanner) add(b byte) {
	if s.length++; s.length <= maxEntry {
		s.value = append(s.value, b)
	}
}
