package list

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"iter"
	"net/url"
	"strings"

	"pawl/downloader/weburl"
)

// read reads a list of any format to its end. It returns the error that makes the rest
// of the list unreadable; problems of single lines are yielded.
func (c *collector) read(r io.Reader) error {
	if err := c.checkOptions(); err != nil {
		return err
	}
	reopen := c.reopener(r)
	text, err := openText(r, c.options.MaxBytes)
	switch {
	case err == errWebPage && c.mayBeIndex():
		return c.readIndex(text)
	case err == nil && c.options.Format == Index:
		err = errNotPage
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	format := c.options.Format
	switch first := firstNonBlank(text); {
	case first == 0 && text.Buffered() < readBufferSize: // the caller decides whether a list may be empty
		return c.eachLine(&lineScanner{r: text}, &aria2Reader{c: c})
	case format == Metalink || format == "" && first == '<':
		return c.readMetalink(text)
	case format == "":
		format = detectFormat(text)
	}
	if format == JSON && c.isJSONStream(text) {
		return c.readJSONStream(text)
	}
	if format == Aria2 {
		c.lineEnd = commonLineEnd(text)
	}
	lines := &lineScanner{r: text}
	if format == Checksum {
		lines, err = c.readSums(lines, reopen)
	} else {
		err = c.eachLine(lines, c.newLineReader(format))
	}
	c.warnMoreUnverified(lines.n)
	return err
}

// checkOptions rejects an unknown format or an invalid base URL, and parses the base.
func (c *collector) checkOptions() error {
	switch c.options.Format {
	case "", Aria2, Checksum, Metalink, JSON, Table, Curl, Index:
	default:
		return fmt.Errorf("list format %q is not one of %s, %s, %s, %s, %s, %s, %s", c.options.Format, Aria2, Checksum, Metalink, JSON, Table, Curl, Index)
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

// peekLines yields the lines within the buffer of r without their line ends, and whether
// each is whole. It consumes nothing. It waits for no byte beyond the line that it yields,
// because r may be a pipe that is written slowly.
func peekLines(r *bufio.Reader) iter.Seq2[[]byte, bool] {
	return func(yield func(line []byte, whole bool) bool) {
		for begin, end := 0, 0; ; {
			b, err := r.Peek(end + 1)
			if err == nil {
				b, _ = r.Peek(r.Buffered())
			}
			if at := bytes.IndexByte(b[end:], '\n'); at >= 0 {
				if end += at + 1; !yield(b[begin:end-1], true) {
					return
				}
				begin = end
				continue
			}
			if end = len(b); err != nil {
				if begin < end {
					yield(b[begin:], err == io.EOF)
				}
				return
			}
		}
	}
}

// commonLineEnd returns the comma or semicolon that ends all lines of URLs, as in a list copied from a program. The
// last may lack it. It returns "" if there are options, or if the first line has no such end, without waiting for
// another line then.
func commonLineEnd(r *bufio.Reader) string {
	end, without := "", false
	for line, whole := range peekLines(r) {
		text := string(bytes.TrimRight(line, blanks))
		switch {
		case isBlankOrComment(line):
			continue
		case end == "":
			end = text[len(text)-1:]
		}
		if !whole || without || end != "," && end != ";" || isBlank(line[0]) && !isIndentedURL(strings.Trim(text, blanks)) {
			return ""
		}
		without = !strings.HasSuffix(text, end)
	}
	return end
}

// detectFormat returns the format of a list from its first lines. A Metalink does not come
// here, because read recognises it by its '<'.
func detectFormat(r *bufio.Reader) Format {
	d := &detector{votes: make(map[Format]int)}
	d.sums.found = func(digestLine) { d.digests++ }
	d.sums.fault = func(int, error) { d.digests++ }
	for line, whole := range peekLines(r) {
		if isBlankOrComment(line) {
			continue
		}
		if f := d.add(strings.Trim(string(line), blanks), whole); f != "" {
			return f
		}
	}
	return d.verdict()
}

// A detector decides on the format of a list. Usually the first line is enough. If that is
// prose, the lines after it that are entries of a format decide together. If it may be a row
// of a table, with a URL and a path, all lines must be such rows, because a URL may contain
// commas.
type detector struct {
	lines int
	rows  bool // all lines so far may be rows
	named bool // one of them has a path
	votes map[Format]int

	sums    checksumParser // finds the digests that need the lines around them
	digests int            // how many it has found
}

// add takes the next line and returns the format if it is certain, "" if not. whole is
// false for a line of which the end is not known.
func (d *detector) add(line string, whole bool) Format {
	d.lines++
	row, named := isRow(line)
	switch {
	case d.lines == 1 && row && !isQuotedURL(line):
		d.rows = true
	case d.rows && !row && whole:
		return Aria2
	}
	if d.named = d.named || named; d.rows {
		return ""
	}
	f := formatOfLine(line)
	if d.lines == 1 && f != "" || f == Curl {
		return f
	}
	if d.votes[f]++; f == "" {
		d.sums.parseLine([]byte(line), d.lines)
	}
	return ""
}

// verdict returns the format after the last line that can be seen.
func (d *detector) verdict() Format {
	if d.rows && d.named {
		return Table
	}
	d.sums.end()
	d.votes[Checksum] += d.digests
	best := Aria2
	for _, f := range []Format{Checksum, JSON, Table} {
		if n := d.votes[f]; n > 0 && n >= d.votes[best] {
			best = f
		}
	}
	return best
}

// formatOfLine returns the format of which a line can only be, "" for other lines. The line
// must have no blanks around it.
func formatOfLine(line string) Format {
	switch {
	case isJSON(line):
		return JSON
	case isURL(line), isExplicitMarker(line), isCommand(line):
		return Aria2
	case strings.HasPrefix(line, pgpMessage), strings.HasPrefix(line, signifyComment), isDigestLine(line):
		return Checksum
	case isQuotedURL(line), isTableHeader(line):
		return Table
	case isCurlURL(line):
		return Curl
	}
	return ""
}

// isURL reports whether a text begins as an absolute URL does.
func isURL(text string) bool {
	i := strings.Index(text, "://")
	return i > 0 && strings.Trim(text[:i], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.") == ""
}

// isJSON reports whether a line begins an object or an array of entries. With a base URL, a
// line may also be a pattern, such as "{a,b}/x.iso" or "[1-3]/x.iso".
func isJSON(line string) bool {
	rest := strings.TrimLeft(line[1:], blanks)
	switch line[0] {
	case '{':
		return rest == "" || rest[0] == '"' || rest[0] == '}'
	case '[':
		return rest == "" || strings.ContainsRune("{[\"]", rune(rest[0]))
	}
	return false
}

// isJSONStream reports whether JSON is not made of one object per line: it is an array, an object
// over several lines, or an object around entries.
func (c *collector) isJSONStream(r *bufio.Reader) bool {
	for line, whole := range peekLines(r) {
		if isBlankOrComment(line) {
			continue
		}
		line = bytes.Trim(line, blanks)
		if line[0] != '{' {
			return line[0] == '['
		}
		rest := bufio.NewReader(bytes.NewReader(line[1:]))
		s := &jsonScanner{r: rest, limit: maxEntry, isEntry: (&jsonReader{c}).hasSource, entry: func([]byte, int) bool { return false }}
		switch _, err := s.scanObject(0); {
		case err == io.EOF || err == io.ErrUnexpectedEOF: // the object is open at the end of the line
			return !whole || bytes.IndexByte([]byte("{[,"), line[len(line)-1]) >= 0
		default:
			return err == errStopped
		}
	}
	return false
}
