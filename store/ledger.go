package store

// This file is the ledger: what is remembered of finished files, by path. There
// may be millions of them, so an entry is short, and nothing reads them all at once.

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

// A FileStamp tells one state of a file on disk from another.
type FileStamp struct {
	Size    int64     // bytes
	ModTime time.Time // as the file system keeps it
}

// entryVersion is the version of the encoding that appendEntry writes.
const entryVersion = 1

// The flags of an entry.
const (
	entryNamed = 1 << iota
	entryNoRanges
	entryPublishing
	entryReplaces
	entryUnframed
)

// entryTexts are the fields of an entry that are strings, in their order.
func (r *Record) entryTexts() []*string {
	return []*string{(*string)(&r.ID), &r.URL, &r.ETag, &r.LastModified, &r.Type}
}

// flags gathers the fields of an entry that are of one bit.
func (r *Record) flags() (f uint64) {
	for bit, set := range map[uint64]bool{
		entryNamed: r.Named, entryNoRanges: r.NoRanges, entryPublishing: r.Publishing, entryReplaces: !r.Replaces.ModTime.IsZero(),
		entryUnframed: r.Unframed,
	} {
		if set {
			f |= bit
		}
	}
	return f
}

// encodeEntry is the short form of the record of a finished file: lengths and
// numbers are varints of encoding/binary, times nanoseconds since 1970.
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
	return addChecksum(b), nil
}

// appendText appends s behind its length.
func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// errEntry says that an entry is not of the form that encodeEntry writes.
var errEntry = errors.New("it is cut")

// entryReader takes fields off the front of an entry. After a failure it returns
// zero values.
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

// number takes a varint of n bytes, which was none if n is not positive.
func (e *entryReader) number(n int) {
	if n <= 0 {
		n = -1
	}
	e.take(n)
}

func (e *entryReader) text() string { return string(e.take(int(min(e.uvarint(), math.MaxInt32)))) }

func (e *entryReader) time() time.Time { return time.Unix(0, e.varint()) }

// decodeEntry reads what encodeEntry wrote for target.
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
	r.Unframed = flags&entryUnframed != 0
	for _, s := range r.entryTexts() {
		*s = e.text()
	}
	lists, sum := e.text(), e.text()
	r.Size, r.ModTime, r.Created, r.Updated = e.varint(), e.time(), e.time(), e.time()
	r.PieceLength, r.CRC = e.varint(), uint32(e.varint())
	if flags&entryReplaces != 0 {
		r.Replaces = FileStamp{e.varint(), e.time()}
	}
	if err := errors.Join(r.Lists.UnmarshalText([]byte(lists)), r.Sum.UnmarshalText([]byte(sum))); err != nil || e.failed || r.Size < 0 || r.ID == "" {
		return Record{}, errEntry
	}
	r.Held = chunk.NewSet(chunk.Range{End: r.Size})
	return r, nil
}

// finished returns the record of the finished file target, or ErrNotFound.
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

// finishedID returns the record of the finished file with an ID: a search through
// all of them, as nothing but people asks so.
func (t tx) finishedByID(id ID) (Record, error) {
	b := t.Bucket(ledgerBucket)
	if b == nil || len(id) != len(newID()) {
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

// putFinished writes r into the ledger, and leads from its URL to it. The sums of
// the pieces of another version go.
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
	b.FillPercent = 0.9 // lists come in order, mostly
	if err := t.rewrite(r); err != nil || r.Named {
		return err
	}
	return t.Bucket(urlBucket).Put(r.urlKey(), []byte(r.Target))
}

// dropFinished takes r out of the ledger, if it is still what is there.
func (t tx) dropFinished(r *Record) error {
	there, err := t.finishedAt(r.Target)
	if err != nil || there.ID != r.ID {
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

// LookupTargets returns for each of the absolute paths what is on record of it, the zero
// Record if there is nothing: an unfinished download before a finished file. It is
// one transaction, whose memory is that of the pages it touches, so that the
// caller keeps targets to some hundreds.
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

// ledgerStep is how many entries are read in one transaction.
const ledgerBatch = 256

// Finished returns the records of the finished files whose path begins with prefix,
// in order of their paths. What changes meanwhile is seen or not.
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

// finishedFrom returns the next entries from a key on, and the key to go on from.
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

// Amend replaces the entries of finished files that are still on record, in one
// transaction. The lists on record stay, too, because other processes may have added
// some since the records were read.
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

// amend replaces the entry of a finished file, if it is still on record.
func (t tx) amend(r *Record) error {
	there, err := t.finishedAt(r.Target)
	if err == nil && there.ID == r.ID {
		err = t.put(r)
	}
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
