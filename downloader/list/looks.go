package list

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// maxHopeless is how many faulty lines without one entry among them a text may begin with, and
// still be a list. A guess: a user who sees so many errors has understood; with a hundred, the
// errors of a file that is no list at all would fill the terminal.
const maxHopeless = 10

// compressions are the marks of compressed files that Read cannot read, and the commands that
// print their text.
var compressions = []struct{ magic, command string }{
	{"\xfd7zXZ\x00", "xz -dc"},
	{"\x28\xb5\x2f\xfd", "zstd -dc"},
	{"BZh91AY&SY", "bzip2 -dc"},
	{"PK\x03\x04", "unzip -p"},
}

// A CompressedError reports that a list is compressed in a way that Read does not know.
type CompressedError struct {
	Command string // prints the text of the file that follows it, for example "xz -dc"
}

func (e *CompressedError) Error() string { return "is compressed; only gzip can be read" }

// Check reports why a text cannot be a list, by its first bytes, so that nobody downloads or reads
// all of a large file in vain. It returns nil if the text may be a list. whole reports whether
// beginning is the whole text. The name and the options are as for Read.
func Check(name string, beginning []byte, whole bool, o Options) error {
	for _, c := range compressions {
		if bytes.HasPrefix(beginning, []byte(c.magic)) {
			return &CompressedError{c.command}
		}
	}
	r, err := openText(bytes.NewReader(beginning), 0)
	if errors.Is(err, errBinary) {
		return err
	}
	if err != nil { // Read reports it, or can read it after all
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(r, readBufferSize))
	whole = whole && err == nil && len(text) < readBufferSize
	switch first := strings.TrimLeft(string(text), blanks+"\n\v\f"); {
	case isBinary(text):
		return errBinary
	case first == "", first[0] == '{', first[0] == '[': // JSON, whose values may span lines
		return nil
	case first[0] == '<':
		if !whole && !strings.Contains(strings.ToLower(first), "metalink") {
			return errors.New("is a file of tags, but no metalink, and so not a list")
		}
		return nil
	}
	return checkLines(name, text, whole, o)
}

// checkLines reports that no line of a text names a file. A line that is cut off does not count.
func checkLines(name string, text []byte, whole bool, o Options) error {
	if !whole {
		end := bytes.LastIndexByte(text, '\n')
		if end < 0 && !bytes.Contains(text, []byte("://")) {
			return errors.New("does not look like a list: it begins with a long line without a URL")
		}
		text = text[:end+1]
	}
	relative := o.Base != ""
	if !relative {
		o.Base = "http://base.invalid/" // then the names in a checksum file are entries
	}
	var first error
	likely, hopeless := 0, 0 // lines: with a single word, and with several or an error
	lines := bytes.Split(text, []byte("\n"))
	for e, err := range Read(name, bytes.NewReader(text), o) {
		var p *Problem
		if err == nil && namesEntry(e, lines) || errors.As(err, &p) && p.Warning {
			return nil
		}
		if err == nil && relative && !bytes.ContainsAny(bytes.Trim(lines[e.Line-1], blanks), blanks) {
			likely++
			continue
		}
		if hopeless++; first == nil {
			first = cmp.Or(err, error(&Problem{List: name, Line: e.Line, Err: errors.New("this is no URL")}))
		}
	}
	if hopeless <= maxHopeless || likely >= hopeless {
		return nil
	}
	return fmt.Errorf("does not look like a list: none of its first lines names a file (%v)", first) // %v, because the error is about the whole text and not about a line
}

// namesEntry reports whether an entry of these lines is certainly meant as one, because it has a
// digest or an absolute URL. For Read, any words are a relative URL.
func namesEntry(e Entry, lines [][]byte) bool {
	if e.Line < 1 || e.Line > len(lines) || !e.Sum.IsZero() {
		return true
	}
	return bytes.Contains(lines[e.Line-1], []byte("://"))
}

// errBinary is the error for a binary file.
var errBinary = errors.New("is a binary file, not a list")

// isBinary reports whether b is part of a binary file: it has a NUL and is not UTF-8, as any
// random bytes, or it has many control characters, as an image of a disk.
func isBinary(b []byte) bool {
	controls := 0
	for _, c := range b {
		if c < ' ' && !(c >= '\t' && c <= '\r') {
			controls++
		}
	}
	return controls > len(b)/20 || bytes.IndexByte(b, 0) >= 0 && !utf8.Valid(b)
}
