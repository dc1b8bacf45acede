package list

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// readJSONStream reads the entries of an array, objects that extend over lines, or an object
// around an array of entries. An entry that is not valid is a problem of its own, like a line of
// JSON lines.
func (c *collector) readJSONStream(text *bufio.Reader) error {
	entries := jsonReader{c}
	s := &jsonScanner{r: text, line: 1, isEntry: entries.hasSource}
	s.entry = func(value []byte, line int) bool {
		if value == nil {
			c.problem(line, errEntryTooLong)
		} else {
			entries.parseLine(value, line)
		}
		return !c.stopped
	}
	err := s.values(0, 0)
	if err == errStopped {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: reading failed after line %d: %w", c.name, s.line, err)
	}
	c.warnMoreUnverified(s.line)
	return nil
}

// errStopped ends the scan when the consumer wants no more entries.
var errStopped = errors.New("stopped")

// entryLists are the keys of the arrays of entries in an object around them, in lower case.
var entryLists = setOf(`files data items entries assets results urls hits resources distribution records artifacts downloads children objects packages`)

// maxNestedLists limits the objects around entries that are in each other. It is a guess: two
// are in use, as in {"hits":{"hits":[...]}}.
const maxNestedLists = 8

// A jsonScanner splits JSON into its entries: the objects, strings and other values that are
// outside of any object, and the values in an array with one of the keys of entryLists, such as
// {"files":[...]}, if the first of them is an entry. All other values in an object around entries are
// dropped. It skips brackets, commas and white space between entries. It holds a path of at
// most maxNestedLists values, each of at most maxEntry bytes.
type jsonScanner struct {
	r       *bufio.Reader
	line    int                               // number of the line, from 1
	entry   func(value []byte, line int) bool // takes an entry, nil if it is too long, and the line on which it begins; false stops
	isEntry func(value []byte) bool           // reports whether a value has a URL
	value   []byte                            // the open values
	length  int                               // of the open values, with the bytes that are not kept
	limit   int                               // of value
	empty   bool                              // the object has an empty array of entries
}

// values reads entries up to the end of arrays open arrays, or of the text if that is 0. depth
// counts the objects around them.
func (s *jsonScanner) values(arrays, depth int) error {
	for inside := arrays > 0; ; {
		b, err := s.readByte()
		switch {
		case err == io.EOF && arrays > 0:
			return errors.New("the array has no end")
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case b == '[':
			arrays++
		case b == ']':
			if arrays--; arrays < 0 {
				return errors.New(`"]" without "["`)
			}
			if inside && arrays == 0 {
				return nil
			}
		case b != ',' && b != '\n' && !isBlank(b):
			if err := s.readValue(b, depth); err != nil {
				return err
			}
		}
	}
}

// readValue reads the value that begins with first and passes on its entries. It leaves the open values
// as they were.
func (s *jsonScanner) readValue(first byte, depth int) error {
	line, begin, beginLength, limit := s.line, len(s.value), s.length, s.limit
	s.limit, s.empty = begin+maxEntry, false
	s.add(first)
	wrapper, err := s.scan(first, depth)
	if err == nil && !wrapper {
		err = s.passEntry(s.value[begin:], s.length-beginLength, line)
	}
	s.value, s.length, s.limit = s.value[:begin], beginLength, limit
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// passEntry passes on an entry of this length.
func (s *jsonScanner) passEntry(value []byte, length, line int) error {
	if length > maxEntry {
		value = nil
	} else if s.empty && !s.isEntry(value) {
		return nil
	}
	if !s.entry(value, line) {
		return errStopped
	}
	return nil
}

// scan reads the rest of the value that begins with first. It reports whether that was an object
// around entries, which have been passed on.
func (s *jsonScanner) scan(first byte, depth int) (wrapper bool, err error) {
	if first == '{' && depth < maxNestedLists {
		return s.scanObject(depth)
	}
	return false, s.skip(first)
}

// scanObject reads up to the brace that closes an object. It reports whether the object is around
// entries.
func (s *jsonScanner) scanObject(depth int) (wrapper bool, err error) {
	for {
		b, err := s.token()
		switch {
		case err != nil || b == '}':
			return wrapper, err
		case b == ',':
			continue
		case b != '"':
			if err := s.skip(b); err != nil {
				return wrapper, err
			}
			continue
		}
		begin := len(s.value)
		if err := s.skip(b); err != nil {
			return wrapper, err
		}
		key := strings.ToLower(strings.TrimSuffix(string(s.value[begin:]), `"`))
		if b, err = s.token(); err == nil && b == ':' {
			b, err = s.token()
		}
		inner := false
		switch {
		case err != nil:
			return wrapper, err
		case b == '}':
			return wrapper, nil
		case b == '[' && entryLists[key]:
			inner, err = s.scanList(key, depth+1)
		case entryLists[key]:
			inner, err = s.scan(b, depth+1)
		default:
			err = s.skip(b)
		}
		if wrapper = wrapper || inner; err != nil {
			return wrapper, err
		}
	}
}

// scanList reads an array that may be one of entries, and passes them on if the first is an entry.
// The strings of urls are the URLs of one file.
func (s *jsonScanner) scanList(key string, depth int) (wrapper bool, err error) {
	b, err := s.token()
	if err != nil {
		return false, err
	}
	if b == ']' {
		s.empty = true
		return false, nil
	}
	line, begin, beginLength, limit := s.line, len(s.value)-1, s.length-1, s.limit
	if key == "urls" && b == '"' || begin < 0 || s.length > s.limit { // or there was no room for the first byte
		if err = s.skip(b); err == nil {
			err = s.skip('[')
		}
		return false, err
	}
	s.limit = begin + maxEntry
	if wrapper, err = s.scan(b, depth); err != nil {
		return wrapper, err
	}
	if length := s.length - beginLength; !wrapper && length <= maxEntry && s.isEntry(s.value[begin:]) {
		wrapper = true
		err = s.passEntry(s.value[begin:], length, line)
	}
	s.limit = limit
	if err != nil {
		return wrapper, err
	}
	if !wrapper {
		return false, s.skip('[')
	}
	s.value, s.length = s.value[:begin], beginLength
	return true, s.values(1, depth)
}

// skip reads the rest of the value that begins with first: up to the bracket that closes an object or
// an array, to the quotation mark that closes a string, or else to a delimiter.
func (s *jsonScanner) skip(first byte) error {
	switch first {
	case '"':
		return s.scanString()
	case '{', '[':
		return s.skipNested(first)
	}
	for { // a number or a name, which ends before a delimiter or with the text
		next, err := s.r.Peek(1)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if bytes.IndexByte([]byte(",]}[{\n"+blanks), next[0]) >= 0 {
			return nil
		}
		b, _ := s.readByte()
		s.add(b)
	}
}

// skipNested reads up to the bracket that closes open, which has been read. The other kind of brackets
// does not count, so that a fault in an entry ends with it.
func (s *jsonScanner) skipNested(open byte) error {
	for depth := 1; depth > 0; {
		b, err := s.readByte()
		if err != nil {
			return err
		}
		switch s.add(b); b {
		case open:
			depth++
		case open + 2: // the closing bracket in ASCII
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

// token reads and adds the next byte that is no white space.
func (s *jsonScanner) token() (byte, error) {
	for {
		b, err := s.readByte()
		if err != nil {
			return 0, err
		}
		if s.add(b); b != '\n' && !isBlank(b) {
			return b, nil
		}
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

// add adds a byte to the open values, unless they are too long.
func (s *jsonScanner) add(b byte) {
	if s.length++; len(s.value) < s.limit {
		s.value = append(s.value, b)
	}
}
