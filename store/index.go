package store

// This file is what is done within a transaction on the state file.

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
)

// askedKey is the key of askedBucket for what was asked of url into dir: the directory, NUL
// and the URL. If that is longer than maxKey, its end is replaced by the SHA-256 of the
// whole. Shorter keys must stay as they are, because older state files have them.
func urlKey(dir, url string) []byte {
	key := []byte(dir + "\x00" + url)
	if len(key) <= maxKey {
		return key
	}
	sum := sha256.Sum256(key)
	return append(key[:maxKey-len(sum)], sum[:]...)
}

func (r *Record) urlKey() []byte { return urlKey(filepath.Dir(r.Target), r.URL) }

// get returns the record of id, or ErrNotFound.
func (t tx) get(id ID) (Record, error) {
	data := t.Bucket(recordBucket).Get([]byte(id))
	if data == nil {
		return t.finishedByID(id)
	}
	r, err := decodeRecord(data)
	switch {
	case errors.Is(err, ErrNewer):
		return Record{}, err
	case err == nil && r.ID != id:
		err = fmt.Errorf("it is that of %s", r.ID)
	}
	if err != nil {
		return Record{}, damagedRecordError{id: id, err: err}
	}
	return r, nil
}

// An unreadableError says that the record of a download, or the entry of a
// finished file, is damaged.
type damagedRecordError struct {
	id     ID
	target string // of an entry
	err    error
}

func (e damagedRecordError) Error() string {
	if e.target != "" {
		return fmt.Sprintf("the record of %q is damaged: %v", e.target, e.err)
	}
	return fmt.Sprintf("the record of download %s is damaged: %v", e.id, e.err)
}

// byTarget returns the record of the finished file's path, of an unfinished
// download of it before that of a finished one, or ErrNotFound.
func (t tx) byTarget(target string) (Record, error) {
	if id := t.Bucket(targetBucket).Get([]byte(target)); id != nil {
		r, err := t.get(ID(id))
		isAnother := err == nil && r.Target != target // an older pawl has lost bytes of the path that are not UTF-8
		if !isAnother && !errors.Is(err, ErrNotFound) {
			return r, err
		}
	}
	return t.finishedAt(target)
}

// byURL returns the record of what was last asked of url into dir, or ErrNotFound.
func (t tx) byURL(dir, url string) (Record, error) {
	to := string(t.Bucket(urlBucket).Get(urlKey(dir, url)))
	if filepath.IsAbs(to) {
		return t.finishedAt(to)
	}
	return t.get(ID(to))
}

// unfinished calls fn with each record, or with why it cannot be read.
func (t tx) unfinished(fn func(Record, error)) error {
	return t.Bucket(recordBucket).ForEach(func(id, _ []byte) error {
		fn(t.get(ID(id)))
		return nil
	})
}

// put writes a record; that of a finished file goes to the ledger. It adds lists to r,
// see takeOver.
func (t tx) put(r *Record) error {
	t.inheritClaims(r)
	if r.State == Done {
		if err := t.dropRecord(r); err != nil {
			return err
		}
		if err := t.migrateFinished(r.Target); err != nil {
			return err
		}
		return t.putFinished(r)
	}
	return t.rewrite(r)
}

// moveFinished moves what is on record of the finished file target to the ledger,
// if a pawl that had none has left it among the downloads.
func (t tx) migrateFinished(target string) error {
	id := t.Bucket(targetBucket).Get([]byte(target))
	if id == nil {
		return nil
	}
	data := t.Bucket(recordBucket).Get(id)
	if data == nil {
		return nil
	}
	if r, err := decodeRecord(data); err == nil && r.State == Done && r.Target == target {
		return t.put(&r)
	}
	return nil
}

// pageKey is the key of pieceBucket for page n of a download.
func pageKey(id ID, n int) []byte { return binary.BigEndian.AppendUint32([]byte(id), uint32(n)) }

// putPages writes sums of the pieces of a download.
func (t tx) putPages(id ID, pages []sumPage) error {
	if len(pages) == 0 {
		return nil
	}
	b, err := t.CreateBucketIfNotExists(pieceBucket)
	if err != nil {
		return err
	}
	for _, pg := range pages {
		if err := b.Put(pageKey(id, pg.n), pg.data); err != nil {
			return err
		}
	}
	return nil
}

// pages returns all sums of the pieces of a download.
func (t tx) pages(id ID) []sumPage {
	var all []sumPage
	if b := t.Bucket(pieceBucket); b != nil {
		c := b.Cursor()
		for k, v := c.Seek([]byte(id)); len(k) == len(id)+4 && ID(k[:len(id)]) == id; k, v = c.Next() {
			all = append(all, sumPage{int(binary.BigEndian.Uint32(k[len(id):])), bytes.Clone(v)})
		}
	}
	return all
}

// An entry is one of an index.
type indexKey struct{ bucket, key []byte }

// entries returns those that should lead to r: its target and, unless the user
// chose that, its URL.
func (r *Record) indexKeys() []indexKey {
	all := []indexKey{{targetBucket, []byte(r.Target)}}
	if !r.Named {
		all = append(all, indexKey{urlBucket, r.urlKey()})
	}
	return all
}

// index makes the entries lead to r.
func (t tx) putIndex(r *Record) error {
	for _, e := range r.indexKeys() {
		if err := t.Bucket(e.bucket).Put(e.key, []byte(r.ID)); err != nil {
			return err
		}
	}
	return nil
}

// indexAgain makes those entries lead to r that are missing, as in a new state
// file.
func (t tx) restoreIndex(r *Record) error {
	for _, e := range r.indexKeys() {
		if b := t.Bucket(e.bucket); b.Get(e.key) == nil {
			if err := b.Put(e.key, []byte(r.ID)); err != nil {
				return err
			}
		}
	}
	return nil
}

// drop deletes all that is known of a download or a finished file.
func (t tx) drop(r *Record) error {
	if r.State == Done {
		if err := t.dropFinished(r); err != nil {
			return err
		}
	}
	if err := t.dropRecord(r); err != nil {
		return err
	}
	return t.dropPages(r.ID)
}

// dropRecord deletes a record and the index entries that point to it. The sums of
// its pieces stay.
func (t tx) dropRecord(r *Record) error {
	if err := t.dropIndex(r); err != nil {
		return err
	}
	if old, err := t.finishedAt(r.Target); err == nil && !old.Named && r.State != Done { // which was to be fetched again
		if err := t.Bucket(urlBucket).Put(old.urlKey(), []byte(old.Target)); err != nil {
			return err
		}
	}
	return t.Bucket(recordBucket).Delete([]byte(r.ID))
}

// dropPages deletes the sums of the pieces of a download.
func (t tx) dropPages(id ID) error {
	for _, pg := range t.pages(id) {
		if err := t.Bucket(pieceBucket).Delete(pageKey(id, pg.n)); err != nil {
			return err
		}
	}
	return nil
}

// dropUnreadable deletes what is damaged, and leaves index entries that lead nowhere.
func (t tx) dropDamaged(bad damagedRecordError) error {
	if bad.target != "" {
		return t.Bucket(ledgerBucket).Delete([]byte(bad.target))
	}
	if err := t.dropPages(bad.id); err != nil {
		return err
	}
	return t.Bucket(recordBucket).Delete([]byte(bad.id))
}

// unindex deletes the index entries that point to r.
func (t tx) dropIndex(r *Record) error {
	for _, e := range r.indexKeys() {
		b := t.Bucket(e.bucket)
		if !bytes.Equal(b.Get(e.key), []byte(r.ID)) {
			continue
		}
		if err := b.Delete(e.key); err != nil {
			return err
		}
	}
	return nil
}
