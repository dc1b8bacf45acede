package mirror

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strconv"

	"pawl/downloader"
	"pawl/downloader/list"
	"pawl/downloader/weburl"
	"pawl/store"
)

// An Item is a file that a list names, and its state on record. While it waits in a queue, it is
// stored as JSON, about 300 bytes.
type Item struct {
	Entry      list.Entry
	List       string           // key of the list that names the file
	Path       string           // absolute path of the file
	Record     store.Record     `json:",omitzero"`  // the record of Path; zero if there is none
	SumBy      downloader.Proof `json:",omitempty"` // whose the digest of Entry is; "" if it has none
	Rounds     int              `json:",omitempty"` // number of rounds in which the file was tried
	ByURL      bool             `json:",omitempty"` // the path does not follow from the entry alone
	ServerName bool             `json:",omitempty"` // the name of a new file may come from the server
	LastError  string           `json:",omitempty"` // text of the error in the last round; empty if the file was not tried

	unnamed   bool   // the entry has no name of its own; not stored
	key       string // of an item that does not change any more, so that Key need not compute it again; not stored
	entrySize int64  // bytes of Entry, at most maxReadAheadBytes; set by the reader for byteBudget and not stored
}

// host returns the origin of the first source. The item waits in the queue of this host, even
// if a later source is asked.
func (it *Item) host() string { return downloader.Origin(it.Entry.URLs[0]) }

// Key returns the identity of the file in a run: 16 hex digits of a SHA-256 of the path as the
// entry has it, and of the URLs without credentials, the size and the digest. It is the same in
// each process that reads the same entry, and in each version of pawl. Request header fields are
// not part of it, so that a new password does not make another file.
func (it *Item) Key() string {
	if it.key != "" {
		return it.key
	}
	e := &it.Entry
	text := make([]byte, 0, 256)
	add := func(s string) { // a netstring, so that no two lists of texts look alike
		text = append(append(append(strconv.AppendInt(text, int64(len(s)), 10), ':'), s...), ',')
	}
	name := e.Out
	if name == "" {
		name = downloader.FilenameFromURL(e.URLs[0])
	}
	if !path.IsAbs(name) {
		name = path.Join(e.Dir, name)
	}
	add(name)
	add(strconv.FormatInt(e.Size, 10))
	add(e.Sum.String())
	for _, u := range e.URLs {
		add(weburl.Canonical(u))
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// sources returns the URLs of the entry in the order in which they must be asked: first the URL
// of an unfinished download, because some bytes from there are on disk, then the others in
// the order of the list.
func (it *Item) sources() []string {
	urls := slices.Clone(it.Entry.URLs)
	if i := slices.IndexFunc(urls, func(u string) bool { return weburl.Canonical(u) == it.Record.URL }); i > 0 {
		u := urls[i]
		urls = slices.Insert(slices.Delete(urls, i, i+1), 0, u)
	}
	return urls
}

// isOthers reports whether the path, which the entry does not name itself, belongs to another file, which
// other lists or nobody claims.
func (it *Item) isOthers() bool {
	r := it.Record
	return it.unnamed && r.ID != "" && !r.Lists.Has(it.List) && !slices.ContainsFunc(it.Entry.URLs, func(u string) bool { return weburl.SamePath(u, r.URL) })
}

// isNew reports whether this run will add the file to the finished files of lists. The limit of
// Prune must not count such files as files of earlier runs. An unfinished download with Replace
// adds none, because the file that it replaces has a record already.
func (it *Item) isNew() bool {
	r := it.Record
	return r.ID == "" || r.State != store.Done && !r.Replace && len(r.Lists) > 0
}

// claims returns the lists that must claim the file once it is fetched. If the file was
// downloaded without a list, for example by pawl get, store.Nameless is added, a claim that no
// run releases, so that Prune never deletes the file.
func (it *Item) claims() store.Lists {
	r := it.Record
	if r.State == store.Done && len(r.Lists) == 0 {
		return r.Lists.With(it.List, store.Nameless)
	}
	return r.Lists.With(it.List)
}

// needsClaim reports whether the state file may lack the claim of the item's list. For an
// unfinished download it always may, because the finished file that it replaces has a record
// of its own, which Record does not show.
func (it *Item) needsClaim() bool {
	r := it.Record
	return r.ID != "" && (r.State != store.Done || len(r.Lists) > 0 && !r.Lists.Has(it.List))
}

func (it *Item) outcome(s State, err error) Outcome {
	return Outcome{Entry: it.Entry, Path: it.Path, SumBy: it.SumBy, State: s, URL: it.Entry.URLs[0], Record: it.Record, Rounds: it.Rounds, Err: err}
}

// plainItem is an Item without methods, so that encoding/json does not call them again.
type plainItem Item

// storedItem is the JSON form of an item.
type storedItem struct {
	Item *plainItem
	Raw  [][]byte `json:",omitempty"` // the texts as bytes, if some are not UTF-8 and JSON would alter them; see store.RawTexts

	// These fields are not part of the JSON form of a record.
	CRC        uint32          `json:",omitempty"`
	Publishing bool            `json:",omitempty"`
	Replaces   store.FileStamp `json:",omitzero"`
}

// texts returns pointers to all strings of the item that may contain any bytes, such as paths
// and header values. The order must be the same in MarshalJSON and UnmarshalJSON.
func (it *Item) texts() []*string {
	e := &it.Entry
	all := append([]*string{&it.Path, &it.List, &it.LastError, &e.Out, &e.Dir, &e.List}, it.Record.Texts()...)
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

// MarshalJSON returns the item as JSON, from which UnmarshalJSON restores every byte of its texts.
func (it *Item) MarshalJSON() ([]byte, error) {
	r := &it.Record
	return json.Marshal(storedItem{(*plainItem)(it), store.RawTexts(it.texts()), r.CRC, r.Publishing, r.Replaces})
}

// UnmarshalJSON reads the JSON of MarshalJSON into the item, which must be zero.
func (it *Item) UnmarshalJSON(b []byte) error {
	s := storedItem{Item: (*plainItem)(it)}
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	it.Record.CRC, it.Record.Publishing, it.Record.Replaces = s.CRC, s.Publishing, s.Replaces
	store.RestoreTexts(it.texts(), s.Raw)
	return nil
}
