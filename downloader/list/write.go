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
)

// Write writes e as an entry of an aria2 input file, in one call of w.Write. Read
// without Glob reads it back as the same entry, of another list and line, if the
// names in its header are canonical. The option size is pawl's own, to which
// aria2 gives a warning. What would not come back is an error, and nothing is
// written; of what Read returned, that is only an entry longer than 1 MiB.
func Write(w io.Writer, e Entry) error {
	b, err := format(e)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// format returns the text of an entry.
func format(e Entry) ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	b := []byte(strings.Join(e.URLs, "\t") + "\n")
	option := func(name, value string) {
		b = append(b, "  "+name+"="+value+"\n"...)
	}
	if e.Dir != "" {
		option("dir", e.Dir)
	}
	if e.Out != "" {
		option("out", e.Out)
	}
	if !e.Sum.IsZero() {
		option("checksum", aria2Sum(e.Sum.String()))
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
			return nil, errLong
		}
	}
	return b, nil
}

// aria2Sum writes "algo:hex" as aria2 has it: "sha-256=hex".
func aria2Sum(sum string) string {
	sum = strings.Replace(sum, ":", "=", 1)
	if rest, ok := strings.CutPrefix(sum, "sha"); ok {
		return "sha-" + rest
	}
	return sum
}

// check says what of e cannot be written.
func (e *Entry) check() error {
	if len(e.URLs) == 0 {
		return errors.New("an entry without a URL")
	}
	for _, u := range e.URLs {
		if err := checkURL(u); err != nil {
			return err
		}
		if !isTrimmed(u) {
			return fmt.Errorf("URL %q begins or ends with a blank", shownURL(u))
		}
	}
	if e.Out != "" {
		if out, err := localPath(e.Out); err != nil || out != e.Out {
			return fmt.Errorf("file name %q is not one of a list", short(e.Out))
		}
	}
	if err := checkDir(e.Dir); err != nil {
		return err
	}
	if !isTrimmed(e.Dir) {
		return fmt.Errorf("directory %q begins or ends with a blank", short(e.Dir))
	}
	return e.checkHeader()
}

func (e *Entry) checkHeader() error {
	for name, values := range e.Header {
		for _, value := range values {
			if err := checkField(name, value); err != nil {
				return err
			}
			if !isTrimmed(value) || name == "Referer" && value == "*" {
				return fmt.Errorf("header %s has a value that a list does not keep", name)
			}
		}
	}
	return nil
}

func isTrimmed(s string) bool { return s == strings.Trim(s, blanks) }
