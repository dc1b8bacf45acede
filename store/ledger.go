package store

// This file implements the ledger, the bucket of finished files by path. It may hold
// millions of entries. Therefore an entry is short, and no function reads all of them
// into memory at once.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	"pawl/chunk"
)

// A FileStamp identifies one state of a file on disk.
type FileStamp struct {
	Size    int64     `json:"size"`    // in bytes
	ModTime time.Time `json:"modtime"` // as the file system returns it
}

// entryVersion is the version of the format that encodeEntry writes. It is the first byte
// of an entry.
const entryVersion = 1

// Flags of an entry. They are stored, so their values must not change.
const (
	entryNamed = 1 << iota
	entryNoRanges
	entryPublishing
	entryReplaces
	entryUnframed
	entryPublic
	entryCredentials
)

// entryTexts returns the string fields of an entry, in the order in which they are
// stored.
func (r *Record) entryTexts() []*string {
	return []*string{(*string)(&r.ID), &r.URL, &r.ETag, &r.LastModified, &r.Type}
}

// flags returns the boolean fields of an entry as bits.
func (r *Record) flags() (f uint64) {
	for bit, set := range map[uint64]bool{
		entryNamed: r.Named, entryNoRanges: r.NoRanges, entryPublishing: r.Publishing, entryReplaces: !r.Replaces.ModTime.IsZero(),
		entryUnframed: r.Unframed, entryPublic: r.Public, entryCredentials: len(r.Credentials) > 0,
	} {
		if set {
			f |= bit
		}
	}
	return f
}

// encodeEntry returns the stored form of the record of a finished file: version, flags,
// texts behind their lengths, then numbers, then the checksum. Lengths and numbers are
// varints of encoding/binary; times are nanoseconds since 1970.
func (r *Record) encodeEntry() ([]byte, error) {
	sum, err := r.Sum.MarshalText()
	if err != nil {
		return nil, err
	}
	b := binary.AppendUvarint([]byte{entryVersion}, r.flags())
	for _, s := range r.entryTexts() {
		b = appendText(b, *s)
	}
	b = appendText(b, r.Lists.String())
	b = appendText(b, string(sum))
	for _, n := range []int64{r.Size, r.ModTime.UnixNano(), r.Created.UnixNano(), r.Updated.UnixNano(), r.PieceLength, int64(r.CRC)} {
		b = binary.AppendVarint(b, n)
	}
	if !r.Replaces.ModTime.IsZero() {
		b = binary.AppendVarint(binary.AppendVarint(b, r.Replaces.Size), r.Replaces.ModTime.UnixNano())
	}
	if len(r.Credentials) > 0 { // behind all the rest, so that an older pawl ignores it
		b = binary.AppendUvarint(b, uint64(len(r.Credentials)))
		for _, option := range r.Credentials {
			b = appendText(b, option)
		}
	}
	return addChecksum(b), nil
}

// appendText appends the length of s and s to b.
func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// errEntry reports that an entry is not in the format of encodeEntry.
var errEntry = errors.New("entry is truncated")

// An entryReader reads the fields of an entry one after another. After a failure all
// methods return zero values, so the caller need check failed only once.
type entryReader struct {
	b      []byte
	failed bool
}

func (e *entryReader) take(n int) []byte {
	if n < 0 || n > len(e.b) {
		e.failed, e.b = true, nil
		return nil
	}
	v := e.b[:n]
	e.b = e.b[n:]
	return v
}

func (e *entryReader) uvarint() uint64 {
	v, n := binary.Uvarint(e.b)
	e.number(n)
	return v
}

func (e *entryReader) varint() int64 {
	v, n := binary.Varint(e.b)
	e.number(n)
	return v
}

// number consumes a varint of n bytes. binary.Varint returns n <= 0 if there is none.
func (e *entryReader) number(n int) {
	if n <= 0 {
		n = -1
	}
	e.take(n)
}

func (e *entryReader) text() string { return string(e.take(int(min(e.uvarint(), math.MaxInt32)))) }

func (e *entryReader) time() time.Time { return time.Unix(0, e.varint()) }

// decodeEntry reads the entry of target. It returns ErrNewer for an entry of a newer
// pawl.
func decodeEntry(target string, sealed []byte) (Record, error) {
	data, err := checkChecksum(sealed)
	if err != nil {
		return Record{}, err
	}
	if len(data) == 0 {
		return Record{}, errEntry
	}
	if data[0] > entryVersion {
		return Record{}, fmt.Errorf("entry %q: %w", target, ErrNewer)
	}
	e := entryReader{b: data[1:]}
	r := Record{Target: target, State: Done}
	flags := e.uvarint()
	r.Named, r.NoRanges, r.Publishing = flags&entryNamed != 0, flags&entryNoRanges != 0, flags&entryPublishing != 0
	r.Unframed, r.Public = flags&entryUnframed != 0, flags&entryPublic != 0
	for _, s := range r.entryTexts() {
		*s = e.text()
	}
	lists, sum := e.text(), e.text()
	r.Size, r.ModTime, r.Created, r.Updated = e.varint(), e.time(), e.time(), e.time()
	r.PieceLength, r.CRC = e.varint(), uint32(e.varint())
	if flags&entryReplaces != 0 {
		r.Replaces = FileStamp{e.varint(), e.time()}
	}
	if flags&entryCredentials != 0 {
		for n := e.uvarint(); n > 0 && !e.failed; n-- {
			r.Credentials = append(r.Credentials, e.text())
		}
	}
	if err := errors.Join(r.Lists.UnmarshalText([]byte(lists)), r.Sum.UnmarshalText([]byte(sum))); err != nil || e.failed || r.Size < 0 || r.ID == "" {
		return Record{}, errEntry
	}
	r.Held = chunk.NewSet(chunk.Range{End: r.Size})
	return r, nil
}

// finishedAt returns the record of the finished file target, or ErrNotFound. If the entry
// is damaged, the error is a damagedRecordError.
func (t tx) finishedAt(target string) (Record, error) {
	b := t.Bucket(ledgerBucket)
	if b == nil {
		return Record{}, ErrNotFound
	}
	data := b.Get([]byte(target))
	if data == nil {
		return Record{}, ErrNotFound
	}
	r, err := decodeEntry(target, data)
	if err != nil && !errors.Is(err, ErrNewer) {
		err = damagedRecordError{target: target, err: err}
	}
	return r, err
}

// finishedByID returns the record of the finished file with the given ID, or ErrNotFound.
// It reads the whole ledger, which is acceptable because only people ask for an ID.
func (t tx) finishedByID(id ID) (Record, error) {
	b := t.Bucket(ledgerBucket)
	if b == nil || len(id) != len(NewID()) {
		return Record{}, ErrNotFound
	}
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if bytes.Contains(v, []byte(id)) {
			if r, err := decodeEntry(string(k), v); err == nil && r.ID == id {
				return r, nil
			}
		}
	}
	return Record{}, ErrNotFound
}

// putFinished writes r to the ledger and makes its URL lead to it. If the path had the
// entry of another download, the piece checksums of that one are deleted.
func (t tx) putFinished(r *Record) error {
	b, err := t.CreateBucketIfNotExists(ledgerBucket)
	if err != nil {
		return err
	}
	if old, err := t.finishedAt(r.Target); err == nil && old.ID != r.ID {
		if err := t.dropFinished(&old); err != nil {
			return err
		}
	}
	b.FillPercent = 0.9 // targets mostly arrive in order, so pages need little room for insertions; bbolt's default is 0.5
	if err := t.rewrite(r); err != nil || r.Named {
		return err
	}
	return t.Bucket(urlBucket).Put(r.urlKey(), []byte(r.Target))
}

// dropFinished deletes r, its URL key and its piece checksums, if r is still the entry of
// its path.
func (t tx) dropFinished(r *Record) error {
	stored, err := t.finishedAt(r.Target)
	if err != nil || stored.ID != r.ID {
		return nil
	}
	if err := t.dropPages(r.ID); err != nil {
		return err
	}
	if asked := t.Bucket(urlBucket); !r.Named && bytes.Equal(asked.Get(r.urlKey()), []byte(r.Target)) {
		if err := asked.Delete(r.urlKey()); err != nil {
			return err
		}
	}
	return t.Bucket(ledgerBucket).Delete([]byte(r.Target))
}

// Forget deletes the ledger entries of finished files in one transaction: of each record the entry of its
// target, if that has its ID. It touches no file. The files then count as files that pawl did not
// download.
func (s *Store) Forget(records []Record) error {
	if len(records) == 0 {
		return nil
	}
	return s.write(func(t tx) error {
		for i := range records {
			if err := t.dropFinished(&records[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// LookupTargets returns the record of each of the absolute paths, or the zero Record if
// there is none. If a finished file is being downloaded again, it returns the unfinished
// record. All reads are one transaction, which keeps the touched pages in memory, so the
// caller should pass some hundreds of paths at most.
func (s *Store) LookupTargets(targets []string) ([]Record, error) {
	found := make([]Record, len(targets))
	var bad []damagedRecordError
	err := s.read(func(t tx) error {
		bad = bad[:0]
		for i, target := range targets {
			r, err := t.byTarget(target)
			var unreadable damagedRecordError
			switch {
			case errors.As(err, &unreadable):
				bad = append(bad, unreadable)
			case err != nil && !errors.Is(err, ErrNotFound):
				return err
			case err == nil:
				found[i] = r
			}
		}
		return nil
	})
	for _, b := range bad {
		s.forgetDamaged(b)
	}
	return found, err
}

// ledgerBatch is the number of entries that Finished reads per transaction. Twice as many
// make other processes wait longer; half as many open the file twice as often. A guess.
const ledgerBatch = 256

// Finished returns the records of all finished files whose path begins with prefix, in
// the order of their paths. Between two batches other processes may change the ledger;
// their changes may or may not be seen.
func (s *Store) Finished(prefix string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for from, more := []byte(prefix), true; more; {
			var step []Record
			var err error
			step, from, err = s.finishedBatch(from, prefix)
			if more = len(step) == ledgerBatch && err == nil; err != nil {
				yield(Record{}, err)
				return
			}
			for _, r := range step {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

// finishedBatch returns the next entries, from the key from on, and the key to continue
// with.
func (s *Store) finishedBatch(from []byte, prefix string) (step []Record, next []byte, err error) {
	var bad []damagedRecordError
	err = s.read(func(t tx) error {
		step, bad = nil, nil
		b := t.Bucket(ledgerBucket)
		if b == nil {
			return nil
		}
		c := b.Cursor()
		for k, v := c.Seek(from); k != nil && bytes.HasPrefix(k, []byte(prefix)) && len(step) < ledgerBatch; k, v = c.Next() {
			r, err := decodeEntry(string(k), v)
			if err != nil && !errors.Is(err, ErrNewer) {
				bad = append(bad, damagedRecordError{target: string(k), err: err})
			}
			if err == nil {
				step = append(step, r)
			}
			next = append(bytes.Clone(k), 0)
		}
		return nil
	})
	for _, b := range bad {
		s.forgetDamaged(b)
	}
	return step, next, err
}

// Amend replaces the entries of finished files in one transaction. It skips a file that
// is no longer on record, or has another ID. The lists on record are kept, because other
// processes may have added some since the caller read the records.
func (s *Store) Amend(records ...Record) error {
	if len(records) == 0 {
		return nil
	}
	return s.write(func(t tx) error {
		for i := range records {
			if err := t.amend(&records[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// amend replaces the entry of a finished file, if the ledger still has it.
func (t tx) amend(r *Record) error {
	stored, err := t.finishedAt(r.Target)
	if err == nil && stored.ID == r.ID {
		err = t.put(r)
	}
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
