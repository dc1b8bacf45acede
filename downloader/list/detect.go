package list

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"pawl/downloader/weburl"
)

// readBufferSize is the size in bytes of the buffer in front of a list. It is a guess; a
// smaller buffer costs more reads. If more white space than this precedes the first tag,
// an HTML page or a Metalink is not recognised.
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

// read reads a list of any format to its end. It returns the error that makes the rest
// of the list unreadable; problems of single lines are yielded.
func (c *collector) read(r io.Reader) error {
	if err := c.checkOptions(); err != nil {
		return err
	}
	text, err := openText(r, c.options.MaxBytes)
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	first := firstNonBlank(text)
	if c.options.Format == Metalink || c.options.Format == "" && first == '<' {
		return c.readMetalink(text)
	}
	return c.readLines(&lineScanner{r: text})
}

// checkOptions rejects an unknown format or an invalid base URL, and parses the base.
func (c *collector) checkOptions() error {
	switch c.options.Format {
	case "", Aria2, Checksum, Metalink, JSON:
	default:
		return fmt.Errorf("list format %q is not one of %s, %s, %s, %s", c.options.Format, Aria2, Checksum, Metalink, JSON)
	}
	if c.options.Base == "" {
		return nil
	}
	if err := weburl.Check(c.options.Base); err != nil {
		return fmt.Errorf("base URL of %s: %w", c.name, err)
	}
	c.base, _ = url.Parse(c.options.Base)
	return nil
}

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

// openText returns the text of r: it undoes gzip and skips a UTF-8 byte order mark. It
// returns an error if the content cannot be a list (UTF-16, a web page, a binary file).
// The returned reader fails after maxBytes bytes of text; 0 means no limit.
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
	if hasPrefix(text, bomUTF16LE) || hasPrefix(text, bomUTF16BE) {
		return nil, errors.New("is encoded in UTF-16; only UTF-8 is supported")
	}
	if hasPrefix(text, bomUTF8) {
		text.Discard(len(bomUTF8))
	}
	if firstNonBlank(text) == '<' && isHTML(text) {
		return nil, errWebPage
	}
	if b, _ := text.Peek(text.Buffered()); isBinary(b) {
		return nil, errBinary
	}
	return text, nil
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

// isHTML reports whether r begins with a tag of an HTML page. The first byte of r that
// is not blank must be '<'. It consumes nothing.
func isHTML(r *bufio.Reader) bool {
	for _, tag := range []string{"<html", "<head", "<!doctype html"} {
		b, _ := r.Peek(r.Buffered())
		blank := len(b) - len(bytes.TrimLeft(b, blanks+"\n"))
		b, _ = r.Peek(blank + len(tag))
		if strings.EqualFold(string(b[blank:]), tag) {
			return true
		}
	}
	return false
}

// detectFormat returns the format of a list from its first line that is neither blank
// nor a comment. A Metalink does not come here, because read recognises it by its '<'.
func detectFormat(text []byte) Format {
	text = bytes.Trim(text, blanks)
	if rest, ok := bytes.CutPrefix(text, []byte("{")); ok {
		// A lone "{" is not enough: in a list with a base URL, a line may be the
		// pattern "{a,b}/x.iso".
		if rest = bytes.TrimLeft(rest, blanks); len(rest) > 0 && (rest[0] == '"' || rest[0] == '}') {
			return JSON
		}
	}
	if bytes.HasPrefix(text, []byte(pgpMessage)) || bytes.HasPrefix(text, []byte(signifyComment)) {
		return Checksum
	}
	if _, _, err := parseDigest(string(text), ""); !errors.Is(err, errNotDigest) {
		return Checksum // including lines with an unknown or malformed digest
	}
	return Aria2
}
