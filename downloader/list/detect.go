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
	"unicode/utf8"
)

// bufferSize is how much of a list is read at a time.
const bufferSize = 64 << 10

// marks are what a text may begin with to tell its encoding.
const (
	markUTF8    = "\xef\xbb\xbf"
	markUTF16LE = "\xff\xfe"
	markUTF16BE = "\xfe\xff"
	markGzip    = "\x1f\x8b"
)

// errWebPage is what a server sends that wants a login, or has no such list.
var errWebPage = errors.New("is a web page, no list")

// read reads a list of any format to its end. The error is the one that ends it.
func (c *collector) read(r io.Reader) error {
	if err := c.prepare(); err != nil {
		return err
	}
	text, err := open(r, c.o.Most)
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	first := firstByte(text)
	if c.o.Format == Metalink || c.o.Format == "" && first == '<' {
		return c.metalink(text)
	}
	return c.lineFormat(&lines{r: text})
}

// prepare checks the options.
func (c *collector) prepare() error {
	switch c.o.Format {
	case "", Aria2, Checksum, Metalink, JSON:
	default:
		return fmt.Errorf("list format %q is not one of %s, %s, %s, %s", c.o.Format, Aria2, Checksum, Metalink, JSON)
	}
	if c.o.Base == "" {
		return nil
	}
	if err := checkURL(c.o.Base); err != nil {
		return fmt.Errorf("base of %s: %w", c.name, err)
	}
	c.base, _ = url.Parse(c.o.Base)
	return nil
}

// ErrTooLong says that a list has more text than Options.Most.
var ErrTooLong = errors.New("has too much text")

// A limitedReader fails after left bytes.
type limitedReader struct {
	io.Reader
	left int64
	most int64 // what left was
}

func (r *limitedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if r.left -= int64(n); r.left < 0 {
		return 0, fmt.Errorf("%w: more than %d bytes", ErrTooLong, r.most)
	}
	return n, err
}

// open undoes gzip, if r has its magic, and skips a byte order mark. It refuses what is
// surely no list. The text fails after most bytes, if most is not 0.
func open(r io.Reader, most int64) (*bufio.Reader, error) {
	text := bufio.NewReaderSize(r, bufferSize)
	plain := io.Reader(text)
	if begins(text, markGzip) {
		z, err := gzip.NewReader(text)
		if err != nil {
			return nil, err
		}
		plain = z
	}
	if most > 0 {
		plain = &limitedReader{plain, most, most}
	}
	if plain != io.Reader(text) {
		text = bufio.NewReaderSize(plain, bufferSize)
	}
	if begins(text, markUTF16LE) || begins(text, markUTF16BE) {
		return nil, errors.New("is UTF-16, where UTF-8 is expected")
	}
	if begins(text, markUTF8) {
		text.Discard(len(markUTF8))
	}
	if firstByte(text) == '<' && isWebPage(text) {
		return nil, errWebPage
	}
	if b, _ := text.Peek(text.Buffered()); bytes.IndexByte(b, 0) >= 0 && !utf8.Valid(b) {
		return nil, errors.New("is a binary file, no list")
	}
	return text, nil
}

func begins(r *bufio.Reader, mark string) bool {
	b, _ := r.Peek(len(mark))
	return string(b) == mark
}

// firstByte returns the first byte of r that is not blank, as far as its buffer
// goes, and 0 if there is none. It consumes nothing, and waits for no byte more.
func firstByte(r *bufio.Reader) byte {
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

// isWebPage reports whether r, which begins with a tag, begins as HTML does.
func isWebPage(r *bufio.Reader) bool {
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

// formatOf returns the format that a line is in.
func formatOf(text []byte) Format {
	text = bytes.Trim(text, blanks)
	if rest, ok := bytes.CutPrefix(text, []byte("{")); ok {
		// With a base, {a,b} may begin a pattern.
		if rest = bytes.TrimLeft(rest, blanks); len(rest) > 0 && (rest[0] == '"' || rest[0] == '}') {
			return JSON
		}
	}
	if bytes.HasPrefix(text, []byte(pgpMessage)) || bytes.HasPrefix(text, []byte(signifyComment)) {
		return Checksum
	}
	if _, _, err := parseDigest(string(text), ""); !errors.Is(err, errNoDigest) {
		return Checksum
	}
	return Aria2
}
