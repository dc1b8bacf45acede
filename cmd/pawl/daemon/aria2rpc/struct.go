package aria2rpc

import (
	"strconv"
	"unicode/utf8"
)

// A structure appends a struct of aria2 to a text of JSON, with the keys that a client wants. It costs a tenth of
// package encoding/json with a map, which matters for lists of a thousand downloads. Numbers are texts.
type structure struct {
	b     []byte
	keys  keySet
	first bool // there is no key yet
}

func newStruct(b []byte, keys keySet) *structure {
	return &structure{append(b, '{'), keys, true}
}

// end returns the text with the struct.
func (s *structure) end() []byte { return append(s.b, '}') }

// value appends a value that add appends.
func (s *structure) value(key string, add func([]byte) []byte) {
	if s.begin(key) {
		s.b = add(s.b)
	}
}

func (s *structure) text(key, value string) {
	if s.begin(key) {
		s.b = appendText(s.b, value)
	}
}

func (s *structure) number(key string, n int64) {
	if s.begin(key) {
		s.b = append(strconv.AppendInt(append(s.b, '"'), n, 10), '"')
	}
}

// begin appends a key, and reports whether the client wants it.
func (s *structure) begin(key string) bool {
	if !s.keys.has(key) {
		return false
	}
	if !s.first {
		s.b = append(s.b, ',')
	}
	s.first = false
	s.b = append(appendText(s.b, key), ':')
	return true
}

// appendText appends a text as JSON. Most are plain.
func appendText(b []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf || c == '<' || c == '>' || c == '&' {
			return append(b, quote(text)...)
		}
	}
	return append(append(append(b, '"'), text...), '"')
}
