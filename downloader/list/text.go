package list

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
)

// readBufferSize is the size in bytes of the buffer in front of a list: the format is
// recognised within so many bytes. It is a guess; a smaller buffer costs more reads, and
// some checksum files begin with several KiB of prose.
const readBufferSize = 64 << 10

// Byte sequences at the start of a list that identify its encoding.
const (
	bomUTF8    = "\xef\xbb\xbf"
	bomUTF16LE = "\xff\xfe"
	bomUTF16BE = "\xfe\xff"
	magicGzip  = "\x1f\x8b" // RFC 1952 section 2.3.1
)

// errWebPage is returned for HTML. Servers send it instead of a list to ask for a
// login, or with status 200 for a list that does not exist.
var errWebPage = errors.New("is a web page, not a list")

// ErrTooLong reports that a list has more text than Options.MaxBytes.
var ErrTooLong = errors.New("is too long")

// A limitedReader fails with ErrTooLong after max bytes. Unlike io.LimitedReader it
// does not end with io.EOF, since a list that is cut off must not look complete.
type limitedReader struct {
	io.Reader
	remaining int64
	max       int64 // initial value of remaining, for the message
}

func (r *limitedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if r.remaining -= int64(n); r.remaining < 0 {
		return 0, fmt.Errorf("%w: more than %d bytes", ErrTooLong, r.max)
	}
	return n, err
}

// openText returns the text of r in UTF-8: it undoes gzip, decodes UTF-16 and the encoding
// that an XML declaration names, and skips a byte order mark. It returns an error if the
// content cannot be a list (a web page, a binary file). The error errWebPage comes with the
// text, because the page may be an index. The returned reader fails after maxBytes bytes
// of text; 0 means no limit.
func openText(r io.Reader, maxBytes int64) (*bufio.Reader, error) {
	text := bufio.NewReaderSize(r, readBufferSize)
	plain := io.Reader(text)
	if hasPrefix(text, magicGzip) {
		z, err := gzip.NewReader(text)
		if err != nil {
			return nil, err
		}
		plain = z
	}
	if maxBytes > 0 {
		plain = &limitedReader{plain, maxBytes, maxBytes}
	}
	if plain != io.Reader(text) {
		text = bufio.NewReaderSize(plain, readBufferSize)
	}
	text, err := decodeText(text)
	if err != nil {
		return nil, err
	}
	if hasPrefix(text, bomUTF8) {
		text.Discard(len(bomUTF8))
	}
	if firstNonBlank(text) == '<' && isHTML(text) {
		return text, errWebPage
	}
	b, _ := text.Peek(text.Buffered())
	if isBinary(b) {
		return nil, errBinary
	}
	if at := bytes.IndexByte(b, '\r'); at >= 0 && bytes.IndexByte(b, '\n') < 0 && len(bytes.Trim(b[at:], "\r")) > 0 {
		text = bufio.NewReaderSize(crReader{text}, readBufferSize)
	}
	return text, nil
}

// A crReader replaces CR, which ends the lines of old Macs, by LF.
type crReader struct{ io.Reader }

func (r crReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	for i, b := range p[:n] {
		if b == '\r' {
			p[i] = '\n'
		}
	}
	return n, err
}

// decodeText returns text in UTF-8, or unchanged if nothing says that it has another encoding.
func decodeText(text *bufio.Reader) (*bufio.Reader, error) {
	code, err := textEncoding(text)
	if code == nil || err != nil {
		return text, err
	}
	return bufio.NewReaderSize(code.NewDecoder().Reader(text), readBufferSize), nil
}

// textEncoding returns the encoding of text, nil for UTF-8 and whatever contains ASCII.
func textEncoding(text *bufio.Reader) (encoding.Encoding, error) {
	order, mark := unicode.LittleEndian, unicode.ExpectBOM
	switch {
	case hasPrefix(text, bomUTF16LE), hasPrefix(text, bomUTF16BE):
	case isUTF16(text, 1):
		mark = unicode.IgnoreBOM
	case isUTF16(text, 0):
		order, mark = unicode.BigEndian, unicode.IgnoreBOM
	case firstNonBlank(text) == '<':
		return declaredEncoding(text)
	default:
		return nil, nil
	}
	return unicode.UTF16(order, mark), nil
}

// isUTF16 reports whether text begins with two ASCII characters in UTF-16 without a byte
// order mark. zero is the place of the zero byte in each of them: 0 for big endian, 1 for
// little endian.
func isUTF16(text *bufio.Reader, zero int) bool {
	isText := func(c byte) bool { return ' ' <= c && c < 0x7f || c == '\t' || c == '\r' || c == '\n' }
	b, _ := text.Peek(2) // no more before it is known that there may be more
	if len(b) < 2 || b[zero] != 0 || !isText(b[1-zero]) {
		return false
	}
	b, _ = text.Peek(4)
	return len(b) < 4 || b[2+zero] == 0 && isText(b[3-zero])
}

// xmlDeclaration matches the beginning of a document that names its encoding (XML 1.0,
// section 4.3.3).
var xmlDeclaration = regexp.MustCompile(`^\s*<\?xml\s[^>]*?\sencoding\s*=\s*["']([A-Za-z0-9._:-]+)["']`)

// maxXMLDeclaration is how many bytes an XML declaration may have, with blanks before it.
const maxXMLDeclaration = 1 << 10

// declaredEncoding returns the encoding that an XML declaration names, nil if it is UTF-8 or
// a part of it. A document that can be read as ASCII up to here is not in UTF-16, whatever
// it says; programs for Windows write that.
func declaredEncoding(text *bufio.Reader) (encoding.Encoding, error) {
	if !hasXMLDeclaration(text) {
		return nil, nil
	}
	m := xmlDeclaration.FindSubmatch(peekThrough(text, '>', maxXMLDeclaration))
	if m == nil {
		return nil, nil
	}
	name := strings.ToLower(string(m[1]))
	switch plainName(name) {
	case "utf8", "utf16", "utf16le", "utf16be", "ucs2", "iso10646ucs2", "unicode", "usascii", "ascii", "ansix341968", "iso646us":
		return nil, nil
	case "iso88591", "latin1", "l1", "cp819", "ibm819":
		return charmap.Windows1252, nil // the superset that is meant if there are bytes from 0x80 to 0x9f (WHATWG Encoding)
	case "latin9", "l9":
		return charmap.ISO8859_15, nil
	}
	for _, code := range charmap.All {
		if plain := plainName(fmt.Sprint(code)); plain == plainName(name) || strings.Replace(plain, "windows", "cp", 1) == plainName(name) {
			return code, nil
		}
	}
	return nil, fmt.Errorf("is in the encoding %q, which pawl does not know; UTF-8 works", name)
}

// hasXMLDeclaration reports whether text, after blanks, begins with "<?xml".
func hasXMLDeclaration(text *bufio.Reader) bool {
	const tag = "<?xml"
	b, _ := text.Peek(text.Buffered())
	blank := len(b) - len(bytes.TrimLeft(b, blanks+"\n"))
	b, _ = text.Peek(blank + len(tag))
	return string(b[blank:]) == tag
}

// peekThrough returns the text up to and including the byte end, at most max bytes. It
// consumes nothing.
func peekThrough(text *bufio.Reader, end byte, max int) []byte {
	for n := 1; ; n++ {
		b, err := text.Peek(n)
		if err != nil || n == max || b[n-1] == end {
			return b
		}
	}
}

// plainName returns the name of an encoding with only its letters and digits, in lower case:
// "iso88591" for "ISO-8859-1" and "ISO 8859-1".
func plainName(name string) string {
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' || 'a' <= r && r <= 'z' {
			return r
		}
		return -1
	}, strings.ToLower(name))
}

// hasPrefix reports whether the unread part of r begins with prefix. It consumes nothing.
func hasPrefix(r *bufio.Reader, prefix string) bool {
	b, _ := r.Peek(len(prefix))
	return string(b) == prefix
}

// firstNonBlank returns the first byte of r that is neither a blank nor a line feed. It
// returns 0 if r ends, fails or fills its buffer before such a byte. It consumes nothing,
// and waits for no byte beyond that one, because r may be a pipe that is written slowly.
func firstNonBlank(r *bufio.Reader) byte {
	for n := 1; ; n++ {
		b, err := r.Peek(n)
		if err != nil {
			return 0
		}
		if c := b[n-1]; !isBlank(c) && c != '\n' {
			return c
		}
	}
}
