package mirror

// This file is about how an item is kept while it waits.

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"unicode/utf8"

	"pawl/store"
)

// stored is the form of an item in a queue: JSON, with the bytes of all its texts
// beside it if they are not all UTF-8, which names of files and headers need not be.
type stored struct {
	Item *item
	Raw  [][]byte `json:",omitempty"` // of texts, in their order

	// What the JSON of a record is without.
	CRC      uint32     `json:",omitempty"`
	Placing  bool       `json:",omitempty"`
	Replaces store.Mark `json:",omitzero"`
}

// texts returns what of it may be any bytes, always in the same order.
func (it *item) texts() []*string {
	e, r := &it.Entry, &it.Record
	all := []*string{&it.Path, &it.List, &it.Failed, &e.Out, &e.Dir, &e.List, &r.Target, &r.URL, &r.ETag, &r.LastModified, &r.Type, &r.Reason}
	for i := range e.URLs {
		all = append(all, &e.URLs[i])
	}
	for i := range r.Mirrors {
		all = append(all, &r.Mirrors[i])
	}
	for _, name := range slices.Sorted(maps.Keys(e.Header)) {
		for i := range e.Header[name] {
			all = append(all, &e.Header[name][i])
		}
	}
	return all
}

// encode returns what decode reads.
func (it *item) encode() ([]byte, error) {
	s := stored{Item: it, CRC: it.Record.CRC, Placing: it.Record.Placing, Replaces: it.Record.Replaces}
	texts := it.texts()
	if slices.ContainsFunc(texts, func(t *string) bool { return !utf8.ValidString(*t) }) {
		for _, t := range texts {
			s.Raw = append(s.Raw, []byte(*t))
		}
	}
	return json.Marshal(s)
}

// errItem says that an item is not of the form that encode writes.
var errItem = errors.New("an entry that waited is damaged")

// decode reads what encode wrote into it, which must be zero.
func (it *item) decode(b []byte) error {
	s := stored{Item: it}
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	it.Record.CRC, it.Record.Placing, it.Record.Replaces = s.CRC, s.Placing, s.Replaces
	if s.Raw == nil {
		return nil
	}
	texts := it.texts()
	if len(texts) != len(s.Raw) {
		return errItem
	}
	for i, t := range texts {
		*t = string(s.Raw[i])
	}
	return nil
}
