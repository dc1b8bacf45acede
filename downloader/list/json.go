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

// A jsonReader parses JSON lines: one object per line, for example
//
//	{"url": "http://h/x.iso", "checksum": "sha256:1ed1d1...", "size": 4096}
//
// Unknown keys are ignored, so that lists written by other programs can be used.
type jsonReader struct{ c *collector }

// A jsonEntry is the object of one line. Each key is optional, but there must be a URL.
type jsonEntry struct {
	URL      string                `json:"url"`
	URLs     []string              `json:"urls"`
	Mirrors  []string              `json:"mirrors"` // tried after url and urls
	Out      string                `json:"out"`
	Dir      string                `json:"dir"`
	Checksum chunk.Sum             `json:"checksum"` // such as "sha256:HEX"
	Size     *int64                `json:"size"`     // in bytes; nil if unknown
	Headers  map[string]stringList `json:"headers"`
}

// A stringList is the value of a header field: a JSON string, or an array of strings.
type stringList []string

func (v *stringList) UnmarshalJSON(text []byte) error {
	var one string
	if err := json.Unmarshal(text, &one); err == nil {
		*v = stringList{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(v))
}

// encoding/json replaces invalid UTF-8 and lone surrogates by U+FFFD. Two different file
// names or URLs would so become the same, which must not happen: such lines are errors.
var (
	errNotUTF8       = errors.New("is not UTF-8, which JSON requires (RFC 8259 section 8.1)")
	errLoneSurrogate = errors.New(`contains a \u escape that is half of a surrogate pair`)
)

func (r *jsonReader) parseLine(text []byte, n int) {
	var j jsonEntry
	var e Entry
	err := checkUnicode(text)
	if err == nil {
		err = json.Unmarshal(text, &j)
	}
	if typeErr := (*json.UnmarshalTypeError)(nil); errors.As(err, &typeErr) {
		err = fmt.Errorf("key %q cannot be a %s", typeErr.Field, typeErr.Value)
	}
	if err == nil {
		e, err = j.entry(n)
	}
	if err != nil {
		r.c.problem(n, err)
		return
	}
	r.c.addExpanded(e)
}

// checkUnicode returns an error if encoding/json would replace characters of text. It
// must run before json.Unmarshal, which does not report them.
func checkUnicode(text []byte) error {
	if !utf8.Valid(text) {
		return errNotUTF8
	}
	for {
		at := bytes.IndexByte(text, '\\')
		if at < 0 || at+2 > len(text) {
			return nil
		}
		first, second := escapedUnit(text[at:]), rune(-1)
		text = text[at+2:] // skips the escaped character: the second of \\ starts no escape
		if !utf16.IsSurrogate(first) {
			continue
		}
		if second = escapedUnit(text[4:]); utf16.DecodeRune(first, second) == utf8.RuneError {
			return errLoneSurrogate
		}
		text = text[4+6:] // the digits of the first escape, and the second escape
	}
}

// escapedUnit returns the UTF-16 code unit of an escape \uXXXX at the start of text, -1 if
// there is none.
func escapedUnit(text []byte) rune {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}

func (r *jsonReader) skipLongLine([]byte) {}

func (r *jsonReader) end() error { return nil }

// entry converts the object of line n to an Entry, and checks its values.
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

// header returns the header fields, nil if there are none. The names are sorted, so that
// the same object always gives the same error.
func (j *jsonEntry) header() (http.Header, error) {
	var h http.Header
	for _, name := range slices.Sorted(maps.Keys(j.Headers)) {
		for _, value := range j.Headers[name] {
			value = strings.Trim(value, blanks)
			if err := checkHeaderField(name, value); err != nil {
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
