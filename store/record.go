package store

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"
	"time"
	"unicode/utf8"

	"pawl/chunk"
)

// An ID names a download: 16 hex digits.
type ID string

// newID returns a random ID.
func newID() ID {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return ID(hex.EncodeToString(b[:]))
}

// A State says how far a download has come.
type State string

// The states of a download. Whether an Active one still runs is not recorded,
// because a killed process cannot unrecord it: Store.Running tells.
const (
	Active    State = "active"    // begun, and not ended in order
	Paused    State = "paused"    // interrupted; to be resumed
	Failed    State = "failed"    // given up for the recorded reason
	Finishing State = "finishing" // complete and synced; the rename may be done or not
	Done      State = "done"      // there, under its final name
)

// A Record is what is remembered of a download. No password, header or cookie
// is ever in it.
type Record struct {
	ID     ID     `json:"id"`
	URL    string `json:"url"`              // as asked, without user and password
	Target string `json:"target"`           // absolute path of the finished file
	Public bool   `json:"public,omitempty"` // a public list named the URL, so that it must not lead to a private address; of unfinished ones only
	Named  bool   `json:"named,omitempty"`  // the user chose the name, so that the URL alone does not lead to it
	Size   int64  `json:"size"`             // bytes; -1 unknown

	ETag         string   `json:"etag,omitempty"`          // as sent, weak ones with their W/
	LastModified string   `json:"last_modified,omitempty"` // as sent
	Type         string   `json:"type,omitempty"`          // media type, without parameters
	Coding       string   `json:"coding,omitempty"`        // content coding that belongs to the file, for example "gzip"; of unfinished ones only
	Mirrors      []string `json:"mirrors,omitempty"`       // other URLs of it, best first
	Mixed        bool     `json:"mixed,omitempty"`         // some bytes may be of a mirror that only samples have proven
	NoRanges     bool     `json:"no_ranges,omitempty"`     // the server sends whole files only
	Unframed     bool     `json:"unframed,omitempty"`      // the server did not mark the end of the file, so that it may be cut

	Held        chunk.Set `json:"held"`             // durable bytes of the part file
	PieceLength int64     `json:"piece,omitempty"`  // length in bytes of the pieces that have sums
	ChangeTime  time.Time `json:"touched,omitzero"` // when the part file was last changed, at the time that Held was known to be in it

	Root       string `json:"root,omitempty"` // Options.Root of the store that has begun it
	PartNumber int    `json:"part,omitempty"` // in the name of the part file, see Part; 0 for NAME.part

	State  State  `json:"state"`
	Reason string `json:"reason,omitempty"` // why it Failed, in words
	Rate   int64  `json:"rate,omitempty"`   // bytes per second when last committed

	Sum     chunk.Sum `json:"sum,omitzero"`      // the digest asked for, if any
	Replace bool      `json:"replace,omitempty"` // a file at Target may be replaced at the end
	Lists   Lists     `json:"list,omitempty"`    // those that claim it; empty if no list made it

	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`          // of the last transaction
	ModTime time.Time `json:"modtime,omitzero"` // of the finished file, as the file system keeps it

	// Of finished files alone.
	CRC        uint32    `json:"-"` // CRC-32C (RFC 3720 §12.1) of a file that was placed; else its pieces have sums
	Publishing bool      `json:"-"` // the last step of publishAll may not be done, so that another file at Target is not ours
	Replaces   FileStamp `json:"-"` // what publishAll was to replace, if anything
}

// Texts returns the fields that may hold any bytes: paths, URLs and what a server has
// sent need not be UTF-8. The order must stay, and a new field must be the last in a release.
func (r *Record) Texts() []*string {
	var all []*string
	for i := range r.Mirrors {
		all = append(all, &r.Mirrors[i])
	}
	return append(all, &r.Target, &r.URL, &r.ETag, &r.LastModified, &r.Type, &r.Coding, &r.Reason, &r.Root)
}

// RawTexts returns the bytes of texts of a value that is stored as JSON, nil if all of
// them are UTF-8. JSON has no other bytes; encoding/json replaces them.
func RawTexts(texts []*string) (raw [][]byte) {
	if !slices.ContainsFunc(texts, func(t *string) bool { return !utf8.ValidString(*t) }) {
		return nil
	}
	for _, t := range texts {
		raw = append(raw, []byte(*t))
	}
	return raw
}

// RestoreTexts gives the texts of a value that was read from JSON the bytes that
// RawTexts returned for them. A pawl with fewer texts has written fewer.
func RestoreTexts(texts []*string, raw [][]byte) {
	for i := range min(len(texts), len(raw)) {
		*texts[i] = string(raw[i])
	}
}

// recordVersion is the version of the encoding that encode writes. Records with a
// PartNumber have it, and all others version 1: a pawl that does not know the number
// would write to the file of another download.
const recordVersion = 2

// versioned is the stored form of a record.
type storedRecord struct {
	V int `json:"v"`
	*Record
	Raw [][]byte `json:"raw,omitempty"` // RawTexts of Texts
}

func (r *Record) encode() ([]byte, error) {
	v := recordVersion
	if r.PartNumber == 0 {
		v = 1
	}
	data, err := json.Marshal(storedRecord{v, r, RawTexts(r.Texts())})
	return addChecksum(data), err
}

// decodeRecord reads what encode wrote and refuses what cannot be a record.
func decodeRecord(sealed []byte) (Record, error) {
	var r Record
	data, err := checkChecksum(sealed)
	if err != nil {
		return Record{}, fmt.Errorf("record: %w", err)
	}
	v := storedRecord{Record: &r}
	if err := json.Unmarshal(data, &v); err != nil {
		return Record{}, fmt.Errorf("record: %w", err)
	}
	RestoreTexts(r.Texts(), v.Raw)
	switch {
	case v.V > recordVersion:
		return Record{}, fmt.Errorf("record %s: version %d: %w", r.ID, v.V, ErrNewer)
	case v.V < 1 || v.Record == nil:
		return Record{}, fmt.Errorf("record has no version")
	case r.ID == "" || !filepath.IsAbs(r.Target) || r.Size < -1:
		return Record{}, fmt.Errorf("record %q: id, target or size is missing", r.ID)
	case r.Size >= 0 && !r.Held.Equal(clip(r.Held, r.Size)):
		return Record{}, fmt.Errorf("record %s holds bytes beyond its size", r.ID)
	}
	return r, nil
}

// errSeal says that a value of the state file is not what was written.
var errChecksum = errors.New("its checksum is wrong")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal adds a CRC-32C to data: bbolt has none for what it keeps, and one flipped
// bit in a record would claim bytes that are not there.
func addChecksum(data []byte) []byte {
	return binary.BigEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
}

// unseal returns what was sealed. It shares memory with its argument.
func checkChecksum(sealed []byte) ([]byte, error) {
	n := len(sealed) - crc32.Size
	if n < 0 || binary.BigEndian.Uint32(sealed[n:]) != crc32.Checksum(sealed[:n], castagnoli) {
		return nil, errChecksum
	}
	return sealed[:n], nil
}

// clip returns what of s lies below size.
func clip(s chunk.Set, size int64) chunk.Set {
	c := s.Clone()
	c.Remove(chunk.Range{Off: size, End: chunk.Unbounded})
	return c
}
