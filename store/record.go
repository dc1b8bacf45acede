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
	"strings"
	"time"
	"unicode/utf8"

	"pawl/chunk"
)

// An ID identifies a download. It is 16 hex digits in lower case.
type ID string

// IsValid reports whether id may be the ID of a download.
func (id ID) IsValid() bool {
	return isHex(string(id), idBytes) && strings.ToLower(string(id)) == string(id)
}

// Check returns an error for people if id is not valid.
func (id ID) Check() error {
	if !id.IsValid() {
		return fmt.Errorf("the ID of a download is 16 hex digits in lower case, and not %q", string(id))
	}
	return nil
}

// idBytes is how many random bytes an ID stands for: as many as the GID of aria2 has. With half, two of
// some 10,000 downloads may get the same one; double would be no GID.
const idBytes = 8

// NewID returns a random ID.
func NewID() ID {
	var b [idBytes]byte
	rand.Read(b[:]) // never fails
	return ID(hex.EncodeToString(b[:]))
}

// A State is the state of a download.
type State string

// The states of a download. Active does not mean that a process works on it now, because
// a killed process cannot change its record. Store.Running reports whether one does.
const (
	Active    State = "active"    // created or resumed, and not yet ended in an orderly way
	Paused    State = "paused"    // interrupted by the user; may be resumed
	Failed    State = "failed"    // ended with the error in Record.Reason
	Finishing State = "finishing" // complete and synced; the rename may or may not have happened
	Done      State = "done"      // the file has its final name
)

// A Record is the stored state of a download. It must never contain a password, a header
// field or a cookie.
type Record struct {
	ID     ID     `json:"id"`
	URL    string `json:"url"`    // as requested, without user and password
	Target string `json:"target"` // absolute path of the finished file
	// Public is set if the URL came from a public list, so the download must not
	// connect to a private address.
	Public bool `json:"public,omitempty"`
	// Named is set if the user chose the file name. ByURL does not find such a
	// record.
	Named bool  `json:"named,omitempty"`
	Size  int64 `json:"size"` // in bytes; -1 if unknown

	ETag         string `json:"etag,omitempty"`          // as sent, weak ones with their W/
	LastModified string `json:"last_modified,omitempty"` // as sent
	Type         string `json:"type,omitempty"`          // media type without parameters
	// Coding is the content coding that belongs to the file, for example "gzip" for a
	// .tar.gz. It is not kept for finished files.
	Coding  string   `json:"coding,omitempty"`
	Mirrors []string `json:"mirrors,omitempty"` // other URLs of the same file, best first
	// Mixed is set if some bytes may come from a mirror, or from another program, of which
	// only samples were compared with the original.
	Mixed    bool `json:"mixed,omitempty"`
	NoRanges bool `json:"no_ranges,omitempty"` // the server ignores Range and sends whole files
	// Unframed is set if the server did not mark the end of the response, so the file
	// may be incomplete.
	Unframed bool `json:"unframed,omitempty"`

	Held        chunk.Set `json:"held"`            // durable ranges of the part file
	PieceLength int64     `json:"piece,omitempty"` // in bytes, of the pieces with a checksum
	// ChangeTime is the change time of the part file when its held ranges were last
	// known to be in it. If the part file has another one, its held ranges must be
	// verified.
	ChangeTime time.Time `json:"touched,omitzero"`

	Root       string `json:"root,omitempty"` // Options.Root of the Store that created the download
	PartNumber int    `json:"part,omitempty"` // number in the name of the part file, see Part; 0 for NAME.part

	// Credentials has the options by which the user has given the credentials that the URL needs, for example
	// "-u USER", so that pawl can name them when somebody resumes the download. It must not contain secrets.
	Credentials []string `json:"credentials,omitempty"`

	State  State  `json:"state"`
	Reason string `json:"reason,omitempty"` // error text of a Failed download
	Rate   int64  `json:"rate,omitempty"`   // bytes per second at the last commit
	// Process is the last process that has opened the part file. See Store.Holder.
	Process Process `json:"process,omitzero"`

	Sum     chunk.Sum `json:"sum,omitzero"`      // requested digest, if any
	Replace bool      `json:"replace,omitempty"` // a file at Target may be replaced
	// ServerSum is the digest that the server named, if any. It is not kept for finished files.
	ServerSum chunk.Sum `json:"server_sum,omitzero"`
	Lists     Lists     `json:"list,omitempty"` // lists that claim the file; empty if no list asked for it
	// Repairs describes the damaged finished file that the download repairs, zero for none.
	// If there is no part file, Resume moves the file there.
	Repairs FileStamp `json:"repairs,omitzero"`
	// Control is the absolute path of a file in which another program has noted the progress
	// of the download, "" for none. It is removed when the file is finished.
	Control string `json:"control,omitempty"`

	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`          // time of the last transaction that changed the record
	ModTime time.Time `json:"modtime,omitzero"` // of the finished file, as the file system returns it

	// The following fields are used for finished files only.

	// CRC is the CRC-32C (RFC 3720 §12.1) of a file that was published. Larger files
	// have piece checksums instead.
	CRC uint32 `json:"-"`
	// Publishing is set until the last step of Publish is known to be complete. While
	// it is set, a file at Target that is neither the recorded one nor Replaces is
	// foreign.
	Publishing bool `json:"-"`
	// Replaces describes the file that Publish was to replace, if any.
	Replaces FileStamp `json:"-"`
}

// Texts returns the string fields that may contain any bytes: paths, URLs and header
// fields need not be UTF-8. The order must not change, and a new field must be added at
// the end, because stored records rely on the positions.
func (r *Record) Texts() []*string {
	var all []*string
	for i := range r.Mirrors {
		all = append(all, &r.Mirrors[i])
	}
	return append(all, &r.Target, &r.URL, &r.ETag, &r.LastModified, &r.Type, &r.Coding, &r.Reason, &r.Root, &r.Control)
}

// RawTexts returns the bytes of texts, the string fields of a value that is stored as
// JSON, or nil if all of them are UTF-8. JSON cannot hold other bytes; encoding/json
// would replace them.
func RawTexts(texts []*string) (raw [][]byte) {
	if !slices.ContainsFunc(texts, func(t *string) bool { return !utf8.ValidString(*t) }) {
		return nil
	}
	for _, t := range texts {
		raw = append(raw, []byte(*t))
	}
	return raw
}

// RestoreTexts sets texts to the bytes that RawTexts returned when the value was stored.
// raw may be shorter than texts, if a version of pawl with fewer fields wrote it.
func RestoreTexts(texts []*string, raw [][]byte) {
	for i := range min(len(texts), len(raw)) {
		*texts[i] = string(raw[i])
	}
}

// recordVersion is the version of the format that encode writes for records with a
// PartNumber. All others get version 1. A pawl that does not know PartNumber must refuse
// such a record, or it would write to the part file of another download.
const recordVersion = 2

// A storedRecord is the stored form of a record.
type storedRecord struct {
	V int `json:"v"`
	*Record
	Raw [][]byte `json:"raw,omitempty"` // RawTexts(Texts())
}

// encode returns the stored form of an unfinished record: JSON and a checksum.
func (r *Record) encode() ([]byte, error) {
	v := recordVersion
	if r.PartNumber == 0 {
		v = 1
	}
	data, err := json.Marshal(storedRecord{v, r, RawTexts(r.Texts())})
	return addChecksum(data), err
}

// decodeRecord reads the output of encode. It returns an error if the value is damaged or
// cannot be a record, and ErrNewer if a newer pawl wrote it.
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
		return Record{}, fmt.Errorf("record: missing version")
	case r.ID == "" || !filepath.IsAbs(r.Target) || r.Size < -1:
		return Record{}, fmt.Errorf("record %q: invalid ID, target or size", r.ID)
	case r.Size >= 0 && !r.Held.Equal(clip(r.Held, r.Size)):
		return Record{}, fmt.Errorf("record %s holds bytes beyond its size", r.ID)
	}
	return r, nil
}

// errChecksum reports that a value of the state file is damaged.
var errChecksum = errors.New("checksum mismatch")

// castagnoli is the table of CRC-32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// addChecksum appends the CRC-32C of data to data. bbolt does not checksum the values it
// stores, and one flipped bit in a record could claim bytes that are not on disk.
func addChecksum(data []byte) []byte {
	return binary.BigEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
}

// checkChecksum returns the data of a value of addChecksum without the checksum, or
// errChecksum. The result shares memory with its argument.
func checkChecksum(sealed []byte) ([]byte, error) {
	n := len(sealed) - crc32.Size
	if n < 0 || binary.BigEndian.Uint32(sealed[n:]) != crc32.Checksum(sealed[:n], castagnoli) {
		return nil, errChecksum
	}
	return sealed[:n], nil
}

// clip returns the part of s below size.
func clip(s chunk.Set, size int64) chunk.Set {
	c := s.Clone()
	c.Remove(chunk.Range{Off: size, End: chunk.Unbounded})
	return c
}
