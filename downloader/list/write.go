package list

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"pawl/downloader/weburl"
)

// Write writes e as an entry of an aria2 input file, with a single call of w.Write. If the
// text is read back by Read without Options.Glob, the entry is the same, except for its
// List and Line, provided that its header names are in canonical form.
//
// The option size is pawl's own; aria2 warns about it and goes on.
//
// Write returns an error and writes nothing if e would not come back the same. Entries
// that Read has returned can be written, unless a line would be longer than 1 MiB.
func Write(w io.Writer, e Entry) error {
	b, err := formatEntry(e)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// formatEntry returns the text of an entry.
func formatEntry(e Entry) ([]byte, error) {
	if err := e.checkWritable(); err != nil {
		return nil, err
	}
	line := strings.Join(e.URLs, "\t")
	if tabSeparated(line) != line {
		line += "\t" // then its blanks do not separate fields
	}
	b := []byte(line + "\n")
	option := func(name, value string) {
		b = append(b, "  "+name+"="+value+"\n"...)
	}
	if e.Dir != "" {
		option("dir", e.Dir)
	}
	// An empty out makes all URLs mirrors of one file, a line with commas no row of a table, and a
	// semicolon at its end a part of the URL.
	if e.Out != "" || strings.HasSuffix(line, ";") || !sameLastSegment(e.URLs) || strings.Contains(e.URLs[0], ",") {
		out := e.Out
		if !isTrimmed(out) { // it begins with a blank, which must not follow the "="
			out = "./" + out
		}
		option("out", out)
	}
	if !e.Sum.IsZero() {
		option("checksum", aria2Checksum(e.Sum.String()))
	}
	if e.Size >= 0 {
		option("size", strconv.FormatInt(e.Size, 10))
	}
	for _, name := range slices.Sorted(maps.Keys(e.Header)) {
		for _, value := range e.Header[name] {
			option("header", name+": "+value)
		}
	}
	for line := range bytes.Lines(b) {
		if len(line) > maxLine {
			return nil, errLineTooLong
		}
	}
	return b, nil
}

// aria2Checksum converts "sha256:HEX" to the form of aria2, "sha-256=HEX".
func aria2Checksum(sum string) string {
	sum = strings.Replace(sum, ":", "=", 1)
	if rest, ok := strings.CutPrefix(sum, "sha"); ok {
		return "sha-" + rest
	}
	return sum
}

// checkWritable returns an error if e would not come back the same when it is read.
func (e *Entry) checkWritable() error {
	if len(e.URLs) == 0 {
		return errors.New("entry has no URL")
	}
	for _, u := range e.URLs {
		if err := weburl.Check(u); err != nil {
			return err
		}
		if !isTrimmed(u) || strings.ContainsAny(u, "\t\r\n") {
			return fmt.Errorf("URL %q contains a tab or a line break, or begins or ends with white space", redactURL(u))
		}
	}
	if e.Out != "" {
		if out, err := localPath(e.Out); err != nil || out != e.Out {
			return fmt.Errorf("file name %q is not a clean relative path", truncate(e.Out))
		}
	}
	if err := checkDir(e.Dir); err != nil {
		return err
	}
	if !isTrimmed(e.Dir) {
		return fmt.Errorf("directory %q begins or ends with white space", truncate(e.Dir))
	}
	return e.checkWritableHeader()
}

// checkWritableHeader is checkWritable for the header. A referer "*" is an error, because
// Read replaces it by the URL.
func (e *Entry) checkWritableHeader() error {
	for name, values := range e.Header {
		for _, value := range values {
			if err := checkHeaderField(name, value); err != nil {
				return err
			}
			if !isTrimmed(value) || name == "Referer" && value == "*" {
				return fmt.Errorf("value of header %s would be changed by reading it back", name)
			}
		}
	}
	return nil
}

func isTrimmed(s string) bool { return s == strings.Trim(s, blanks) }
