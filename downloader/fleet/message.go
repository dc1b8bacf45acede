package fleet

import (
	"encoding/json"
	"fmt"
	"time"

	"pawl/chunk"
	"pawl/downloader"
	"pawl/downloader/mirror"
	"pawl/store"
)

// version is the version of the messages. A process leaves messages of a higher version to others.
const version = 1

// ErrNewer reports a message of a newer version of pawl.
var ErrNewer = fmt.Errorf("written by a newer version of pawl")

// A Batch is a message of a queue: files of one lane that one worker fetches.
type Batch struct {
	Version   int       `json:"v"`
	Run       string    `json:"run"`
	ID        string    `json:"id"`
	Round     int       `json:"round"`               // from 1
	NotBefore time.Time `json:"not_before,omitzero"` // a later round waits until then
	Tried     []string  `json:"tried,omitempty"`     // workers for which these files failed
	Items     []Item    `json:"items"`
}

// An Item is a file of a Batch.
type Item struct {
	ID     string          `json:"n"`              // mirror.Item.Key: the same entry has the same ID in each process
	File   mirror.Item     `json:"i"`              // its Path is relative and slash-separated
	There  store.FileStamp `json:"there,omitzero"` // of the file at the path when the item was queued; zero for none
	Sealed []byte          `json:"h,omitempty"`    // secrets of the entry, see seal.go
	// Private is set unless a public list has named the file, which then must not lead to private addresses.
	Private bool `json:"pr,omitempty"`
}

// A Report is an entry of the log of a run. Sent, Ended, or Problems is set.
type Report struct {
	Version  int       `json:"v"`
	Time     time.Time `json:"t,omitzero"`     // when it was written, for rates
	Sent     []string  `json:"sent,omitempty"` // IDs of items that are queued
	Ended    []Ended   `json:"ended,omitempty"`
	Retry    *Retry    `json:"retry,omitempty"`    // a batch of the next round was queued
	Problems []Problem `json:"problems,omitempty"` // of the lists
	Worker   string    `json:"worker,omitempty"`   // name of the worker
	Batch    string    `json:"batch,omitempty"`
}

// A Retry says that files will be tried again.
type Retry struct {
	Batch     string    `json:"batch"`
	Round     int       `json:"round"` // from 2
	Files     int       `json:"files"`
	NotBefore time.Time `json:"not_before,omitzero"`
}

// A Problem is an unusable line or list. It is in the log so that a report can be written without the lists.
type Problem struct {
	List  string `json:"list,omitempty"`
	Line  int    `json:"line,omitempty"` // 0 for a whole list
	Kind  string `json:"kind,omitempty"` // of the error, see Ended
	Error string `json:"err"`
}

// An Ended is the outcome of a file in the log. See endedOf and Ended.outcome.
type Ended struct {
	ID     string       `json:"n"`
	File   mirror.Item  `json:"i"` // with the record of the finished file; the Entry is complete only if the file failed. Paths are relative.
	State  mirror.State `json:"o"`
	URL    string       `json:"url,omitempty"` // that was asked last, without password
	Result Result       `json:"res,omitzero"`  // without Target
	Rounds int          `json:"rounds,omitempty"`
	Kind   string       `json:"kind,omitempty"`  // of the error, see errorName
	Error  string       `json:"err,omitempty"`   // its text
	Again  bool         `json:"again,omitempty"` // the file failed, and is tried again in another round
	Raw    [][]byte     `json:"raw,omitempty"`   // the texts as bytes, see store.RawTexts
	// Part is the part file of a failed file in a shared directory; nil if it has none.
	Part *store.Handoff `json:"part,omitempty"`
}

// A Result is a downloader.Result whose JSON leaves out zero fields.
type Result struct {
	ID       store.ID         `json:"id,omitempty"`
	Target   string           `json:"-"`
	Size     int64            `json:"s"`
	Fetched  int64            `json:"f,omitempty"`
	Elapsed  time.Duration    `json:"t,omitempty"` // nanoseconds
	Current  bool             `json:"cur,omitempty"`
	Unframed bool             `json:"unf,omitempty"`
	Page     bool             `json:"page,omitempty"`
	Private  bool             `json:"priv,omitempty"`
	Retries  int              `json:"r,omitempty"`
	Final    string           `json:"url,omitempty"`
	Charset  string           `json:"cs,omitempty"`
	CRC      uint32           `json:"crc,omitempty"`
	Sum      chunk.Sum        `json:"sum,omitzero"`
	Proof    downloader.Proof `json:"p,omitempty"`
}

// encode returns a message as JSON.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // the types are ours
		panic(err)
	}
	return b
}
