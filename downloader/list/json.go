package list

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"pawl/chunk"
)

// jsonReader reads JSON lines: an object a line. Keys that are not known are
// passed over.
type jsonReader struct{ c *collector }

// A jsonEntry is one line.
type jsonEntry struct {
	URL      string            `json:"url"`
	URLs     []string          `json:"urls"`
	Mirrors  []string          `json:"mirrors"` // after the others
	Out      string            `json:"out"`
	Dir      string            `json:"dir"`
	Checksum chunk.Sum         `json:"checksum"`
	Size     *int64            `json:"size"`
	Headers  map[string]values `json:"headers"`
}

// values are those of a header field: a string, or an array of them.
type values []string

func (v *values) UnmarshalJSON(text []byte) error {
	var one string
	if err := json.Unmarshal(text, &one); err == nil {
		*v = values{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(v))
}

// errNotUTF8 and errSurrogate are of lines that encoding/json would read as another text.
var (
	errNotUTF8   = errors.New("is not UTF-8, as JSON must be (RFC 8259 section 8.1)")
	errSurrogate = errors.New(`has a \u escape that is half of a character`)
)

func (r *jsonReader) line(text []byte, n int) {
	var j jsonEntry
	var e Entry
	err := checkText(text)
	if err == nil {
		err = json.Unmarshal(text, &j)
	}
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		err = fmt.Errorf("key %q cannot be a %s", wrong.Field, wrong.Value)
	}
	if err == nil {
		e, err = j.entry(n)
	}
	if err != nil {
		r.c.problem(n, err)
		return
	}
	r.c.entry(e)
}

// checkText refuses JSON that encoding/json would change.
func checkText(text []byte) error {
	if !utf8.Valid(text) {
		return errNotUTF8
	}
	for {
		at := bytes.IndexByte(text, '\\')
		if at < 0 || at+2 > len(text) {
			return nil
		}
		first, second := unit(text[at:]), rune(-1)
		text = text[at+2:] // a second backslash begins no escape
		if !utf16.IsSurrogate(first) {
			continue
		}
		if second = unit(text[4:]); utf16.DecodeRune(first, second) == utf8.RuneError {
			return errSurrogate
		}
		text = text[4+6:]
	}
}

// unit returns the UTF-16 unit of the escape \uXXXX that text begins with, -1 if it
// begins with none.
func unit(text []byte) rune {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}

func (r *jsonReader) skip([]byte) {}

func (r *jsonReader) end() error { return nil }

// entry returns the entry that the object at line n stands for.
func (j *jsonEntry) entry(n int) (Entry, error) {
	e := Entry{Dir: strings.Trim(j.Dir, blanks), Sum: j.Checksum, Size: -1, Line: n}
	for _, u := range slices.Concat([]string{j.URL}, j.URLs, j.Mirrors) {
		if u = strings.Trim(u, blanks); u != "" {
			e.URLs = append(e.URLs, u)
		}
	}
	if j.Size != nil {
		if e.Size = *j.Size; e.Size < 0 {
			return Entry{}, fmt.Errorf("size %d is not a number of bytes", e.Size)
		}
	}
	var err error
	if j.Out != "" {
		if e.Out, err = localPath(j.Out); err != nil {
			return Entry{}, err
		}
	}
	if err := checkDir(e.Dir); err != nil {
		return Entry{}, err
	}
	e.Header, err = j.header()
	return e, err
}

// header returns the header fields, nil for none.
func (j *jsonEntry) header() (http.Header, error) {
	var h http.Header
	for _, name := range slices.Sorted(maps.Keys(j.Headers)) {
		for _, value := range j.Headers[name] {
			value = strings.Trim(value, blanks)
			if err := checkField(name, value); err != nil {
				return nil, err
			}
			if h == nil {
				h = make(http.Header)
			}
			h.Add(name, value)
		}
	}
	return h, nil
}
