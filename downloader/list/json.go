package list

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
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

// errDirectory is the warning for an object that describes a directory.
var errDirectory = errors.New("directories in JSON are ignored")

func (r *jsonReader) parseLine(text []byte, n int) {
	e, err := r.parseValue(text, n)
	if err == errDirectory {
		r.c.warnOnce(n, err)
		return
	}
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
	if o.isDirectory() {
		return e, errDirectory
	}
	return e, errors.Join(r.setSources(o, &e), r.setNames(o, &e), r.c.addDigests(o, &e))
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

// urlKeys are the keys of the URL of a file; the first that is there counts. The keys of GitHub come
// first, because GitHub has a page for programs under "url".
var urlKeys = []string{"browser_download_url", "download_url", "downloadurl", "download_link", "file_url", "fileurl", "contenturl", "content_url", "url", "uri", "href", "link"}

// linkKeys are the keys of the URL of a file in an object "links", as Zenodo and OSF have.
var linkKeys = []string{"download", "content", "self"}

// source returns the URL of the file, "" if there is none. fromLinks reports whether it is from "links".
func (o jsonObject) source() (u string, fromLinks bool) {
	for _, key := range urlKeys {
		if u := o.text(key); u != "" {
			return u, false
		}
	}
	if o["links"] == nil {
		return "", false
	}
	links, err := parseObject(o["links"])
	if err != nil {
		return "", false
	}
	for _, key := range linkKeys {
		if u := links.text(key); u != "" {
			return u, true
		}
		if link, err := parseObject(links[key]); err == nil && link.text("href") != "" {
			return link.text("href"), true
		}
	}
	return "", false
}

// isFile reports whether an object describes a file in the directory of the list, as the index of nginx does.
func (o jsonObject) isFile() bool { return o.text("type") == "file" && o.text("name") != "" }

// isDirectory reports whether an object describes a directory.
func (o jsonObject) isDirectory() bool {
	var isDir bool
	kind := o.text("type")
	return kind == "directory" || kind == "dir" || o.get("is_dir", &isDir) == nil && isDir
}

// hasSource reports whether a value is an entry: a URL, or an object with one.
func (r *jsonReader) hasSource(value []byte) bool {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return isURL(text)
	}
	o, err := parseObject(value)
	if err != nil {
		return false
	}
	u, _ := o.source()
	return u != "" || o["urls"] != nil || o["mirrors"] != nil || r.c.base != nil && (o.isFile() || o.isDirectory())
}

// setSources sets the URLs and the header of e.
func (r *jsonReader) setSources(o jsonObject, e *Entry) error {
	var urls, mirrors []string
	one, _ := o.source()
	err := cmp.Or(o.get("urls", &urls), o.get("mirrors", &mirrors))
	if one == "" && err == nil {
		err = o.get("url", &one)
	}
	if err != nil {
		return err
	}
	for _, u := range slices.Concat([]string{one}, urls, mirrors) {
		if u = strings.Trim(u, blanks); u != "" {
			e.URLs = append(e.URLs, u)
		}
	}
	if len(e.URLs) == 0 && r.c.base != nil && o.isFile() {
		e.URLs = []string{r.c.base.ResolveReference(&url.URL{Path: "./" + o.text("name")}).String()}
	}
	var fields map[string]stringList
	if err = o.get("headers", &fields); err == nil {
		e.Header, err = headerOf(fields)
	}
	return err
}

// nameKeys are the keys of the path of a file; the first that is there counts. Other programs
// use the last ones for other values than strings, too, which are ignored.
var nameKeys = []string{"out", "path", "filename", "name"}

// sizeKeys are the keys of the size of a file. Others than size may have other values than numbers.
var sizeKeys = []string{"size", "filesize", "file_size", "bytes", "content_length", "contentlength", "contentsize"}

// setNames sets path, directory and size of e.
func (r *jsonReader) setNames(o jsonObject, e *Entry) (err error) {
	keys := nameKeys
	if _, fromLinks := o.source(); fromLinks { // as in Zenodo, whose links end in "content"
		keys = append(slices.Clip(keys), "key")
	}
	for i, key := range keys {
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
	if err := o.get("dir", &e.Dir); err != nil {
		return err
	}
	if err := r.setSize(o, e); err != nil {
		return err
	}
	e.Dir = strings.Trim(e.Dir, blanks)
	return checkDir(e.Dir)
}

// setSize sets the size of e: a number, or a string of digits. Other strings, such as "4 KB", are no
// size in bytes, and ignored.
func (r *jsonReader) setSize(o jsonObject, e *Entry) error {
	for _, key := range sizeKeys {
		raw, ok := o[key]
		if !ok {
			continue
		}
		text := strings.Trim(string(raw), blanks+"\n\"")
		size, err := parseSize(strings.TrimSuffix(text, ".0"))
		var number float64
		switch {
		case text == "", text == "null":
			continue
		case err == nil:
			e.Size = size
			return nil
		case key == "size" && o.get(key, &number) == nil:
			return fmt.Errorf("size %s is not a number of bytes", truncate(text))
		case key == "size":
			r.c.warnOnce(e.Line, errors.New("sizes that are not numbers of bytes are ignored"))
		}
	}
	return nil
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
