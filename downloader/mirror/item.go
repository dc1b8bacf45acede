package mirror

// This file is about how an item is kept while it waits.

import (
	"encoding/json"
	"maps"
	"slices"

	"pawl/store"
)

// stored is the form of an item in a queue: JSON, with the bytes of all its texts
// beside it if they are not all UTF-8, which names of files and headers need not be.
type stored struct {
	Item *item
	Raw  [][]byte `json:",omitempty"` // store.RawTexts of texts

	// What the JSON of a record is without.
	CRC      uint32          `json:",omitempty"`
	Placing  bool            `json:",omitempty"`
	Replaces store.FileStamp `json:",omitzero"`
}

// texts returns what of it may be any bytes, always in the same order.
func (it *item) texts() []*string {
	e := &it.Entry
	all := append([]*string{&it.Path, &it.List, &it.Failed, &e.Out, &e.Dir, &e.List}, it.Record.Texts()...)
	for i := range e.URLs {
		all = append(all, &e.URLs[i])
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
	r := &it.Record
	return json.Marshal(stored{it, store.RawTexts(it.texts()), r.CRC, r.Publishing, r.Replaces})
}

// decode reads what encode wrote into it, which must be zero.
func (it *item) decode(b []byte) error {
	s := stored{Item: it}
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	it.Record.CRC, it.Record.Publishing, it.Record.Replaces = s.CRC, s.Placing, s.Replaces
	store.RestoreTexts(it.texts(), s.Raw)
	return nil
}
