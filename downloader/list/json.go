package list

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

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

func (r *jsonReader) line(text []byte, n int) {
	var j jsonEntry
	var e Entry
	err := json.Unmarshal(text, &j)
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
