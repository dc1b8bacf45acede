package list

import (
	"bytes"
	"cmp"
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
// A line may also be a string, which is the URL. Each key is optional, but there must be a
// URL. Unknown keys are ignored, so that lists written by other programs can be used.
type jsonReader struct{ c *collector }

// A jsonObject is one object, by its keys in lower case.
type jsonObject map[string]json.RawMessage

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
	e, err := r.parseValue(text, n)
	if err != nil {
		r.c.problem(n, err)
		return
	}
	r.c.addExpanded(e)
}

// parseValue returns the entry of an object or a string that begins on line n.
func (r *jsonReader) parseValue(text []byte, n int) (Entry, error) {
	e := Entry{Size: -1, Line: n}
	if err := checkUnicode(text); err != nil {
		return e, err
	}
	if text = bytes.Trim(text, blanks+"\n"); len(text) > 0 && text[0] == '"' {
		var u string
		err := json.Unmarshal(text, &u)
		e.URLs = []string{strings.Trim(u, blanks)}
		return e, err
	}
	o, err := parseObject(text)
	if err != nil {
		return e, err
	}
	return e, errors.Join(o.setSources(&e), o.setNames(&e), r.c.addDigests(o, &e))
}

// parseObject returns the keys and values of an object. A key in
// lower case counts more than others.
func parseObject(text []byte) (jsonObject, error) {
	var o jsonObject
	if err := json.Unmarshal(text, &o); err != nil {
		if typeErr := (*json.UnmarshalTypeError)(nil); errors.As(err, &typeErr) {
			err = fmt.Errorf("is a %s, and neither an object nor a string", typeErr.Value)
		}
		return nil, err
	}
	for key, value := range o {
		lower := strings.ToLower(key)
		if _, ok := o[lower]; !ok {
			o[lower] = value
		}
	}
	return o, nil
}

// get sets v to the value of a key, unless there is none.
func (o jsonObject) get(key string, v any) error {
	raw, ok := o[key]
	if !ok {
		return nil
	}
	err := json.Unmarshal(raw, v)
	if typeErr := (*json.UnmarshalTypeError)(nil); errors.As(err, &typeErr) {
		return fmt.Errorf("key %q cannot be a %s", key, typeErr.Value)
	}
	return err
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

// setSources sets the URLs and the header of e.
func (o jsonObject) setSources(e *Entry) error {
	var one string
	var urls, mirrors []string
	if err := cmp.Or(o.get("url", &one), o.get("urls", &urls), o.get("mirrors", &mirrors)); err != nil {
		return err
	}
	for _, u := range slices.Concat([]string{one}, urls, mirrors) {
		if u = strings.Trim(u, blanks); u != "" {
			e.URLs = append(e.URLs, u)
		}
	}
	var fields map[string]stringList
	err := o.get("headers", &fields)
	if err == nil {
		e.Header, err = headerOf(fields)
	}
	return err
}

// nameKeys are the keys of the path of a file; the first that is there counts. Other programs
// use the last ones for other values than strings, too, which are ignored.
var nameKeys = []string{"out", "path", "filename", "name"}

// setNames sets path, directory and size of e.
func (o jsonObject) setNames(e *Entry) (err error) {
	for i, key := range nameKeys {
		var name string
		if err := o.get(key, &name); err != nil && i == 0 {
			return err
		}
		if name != "" {
			if e.Out, err = localPath(name); err != nil {
				return err
			}
			break
		}
	}
	var size *int64
	if err := cmp.Or(o.get("dir", &e.Dir), o.get("size", &size)); err != nil {
		return err
	}
	if size != nil {
		if e.Size = *size; e.Size < 0 {
			return fmt.Errorf("size %d is not a number of bytes", e.Size)
		}
	}
	e.Dir = strings.Trim(e.Dir, blanks)
	return checkDir(e.Dir)
}

// addDigests adds the digests of an object to e: under the names of algorithms, under
// "checksum", "digest" and "hash", and in objects of them, as PyPI has.
func (c *collector) addDigests(o jsonObject, e *Entry) error {
	for _, key := range slices.Sorted(maps.Keys(o)) {
		var err error
		switch _, isKind := kindOf(key); {
		case key != strings.ToLower(key):
		case isKind, key == "checksum", key == "digest", key == "hash":
			err = c.addDigest(o, key, e)
		case key == "checksums", key == "digests", key == "hashes":
			if inner, innerErr := parseObject(o[key]); innerErr == nil {
				err = c.addDigests(inner, e)
			} else {
				c.warnUnverified(e.Line, unknownKindError(key))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addDigest adds the digest under a key. Under "hash" there may be something else, such as the
// name of a commit.
func (c *collector) addDigest(o jsonObject, key string, e *Entry) error {
	var text string
	if err := o.get(key, &text); err != nil && key == "checksum" {
		return err
	} else if err != nil {
		text = string(o[key])
	}
	if text = strings.Trim(text, blanks); text == "" {
		return nil
	}
	var sum chunk.Sum
	err := errNotDigest
	if _, isKind := kindOf(key); isKind && !strings.ContainsAny(text, ":-") {
		sum, err = parseNamedSum(key, text)
	} else if key != "hash" || len(text) != 40 {
		sum, err = parseSumValue(text)
	}
	if err == errNotDigest {
		err = unknownKindError(key)
	}
	return c.addSum(e, sum, err)
}

// headerOf returns the header fields, nil if there are none. The names are sorted, so that
// the same object always gives the same error.
func headerOf(fields map[string]stringList) (http.Header, error) {
	var h http.Header
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		for _, value := range fields[name] {
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
