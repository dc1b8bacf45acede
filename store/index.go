package store

// This file holds the operations of a transaction: records by their ID, the indexes that
// lead from a target path or a URL to a record, and the pages of piece checksums.

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
)

// urlKey returns the key of urlBucket for a download of url into the directory dir: dir,
// a NUL byte and url. If that is longer than maxKey, its end is replaced by the SHA-256
// of the whole.
func urlKey(dir, url string) []byte {
	key := []byte(dir + "\x00" + url)
	if len(key) <= maxKey {
		return key
	}
	sum := sha256.Sum256(key)
	return append(key[:maxKey-len(sum)], sum[:]...)
}

func (r *Record) urlKey() []byte { return urlKey(filepath.Dir(r.Target), r.URL) }

// get returns the record of id, or ErrNotFound. If the record is damaged, the error is a
// damagedRecordError.
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
		err = fmt.Errorf("it has the ID %s", r.ID)
	}
	if err != nil {
		return Record{}, damagedRecordError{id: id, err: err}
	}
	return r, nil
}

// A damagedRecordError reports that the record of an unfinished download, or the ledger
// entry of a finished file, is damaged.
type damagedRecordError struct {
	id     ID
	target string // path of the finished file; "" for an unfinished download
	err    error
}

func (e damagedRecordError) Error() string {
	if e.target != "" {
		return fmt.Sprintf("the record of %q is damaged: %v", e.target, e.err)
	}
	return fmt.Sprintf("the record of download %s is damaged: %v", e.id, e.err)
}

// byTarget returns the record with the given target path, or ErrNotFound. If a finished
// file is being downloaded again, it returns the unfinished record.
func (t tx) byTarget(target string) (Record, error) {
	if id := t.Bucket(targetBucket).Get([]byte(target)); id != nil {
		r, err := t.get(ID(id))
		isAnother := err == nil && r.Target != target // a damaged index key: the indexes have no checksums
		if !isAnother && !errors.Is(err, ErrNotFound) {
			return r, err
		}
	}
	return t.finishedAt(target)
}

// byURL returns the record of the latest download of url into dir, or ErrNotFound.
func (t tx) byURL(dir, url string) (Record, error) {
	to := string(t.Bucket(urlBucket).Get(urlKey(dir, url)))
	if filepath.IsAbs(to) {
		return t.finishedAt(to)
	}
	return t.get(ID(to))
}

// byURLBelow calls fn with each record below dir that is found by its URL, because nobody chose its
// name.
func (t tx) byURLBelow(dir string, fn func(Record)) {
	c := t.Bucket(urlBucket).Cursor()
	for _, after := range []string{"\x00", string(filepath.Separator)} { // in dir, and in directories below it
		prefix := []byte(dir + after)
		for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
			var r Record
			var err error
			if to := string(v); filepath.IsAbs(to) {
				r, err = t.finishedAt(to)
			} else {
				r, err = t.get(ID(to))
			}
			if err == nil {
				fn(r)
			}
		}
	}
}

// unfinished calls fn with each unfinished record, or with the error that reading it
// gave.
func (t tx) unfinished(fn func(Record, error)) error {
	return t.Bucket(recordBucket).ForEach(func(id, _ []byte) error {
		fn(t.get(ID(id)))
		return nil
	})
}

// put writes r: to the ledger if r is Done, else to recordBucket. It first adds lists to
// r that other processes have recorded; see inheritClaims.
func (t tx) put(r *Record) error {
	t.inheritClaims(r)
	if r.State == Done {
		if err := t.dropRecord(r); err != nil {
			return err
		}
		return t.putFinished(r)
	}
	return t.rewrite(r)
}

// pageKey returns the key of pieceBucket for page n of the download id.
func pageKey(id ID, n int) []byte { return binary.BigEndian.AppendUint32([]byte(id), uint32(n)) }

// putPages writes pages of piece checksums of the download id.
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

// pages returns all stored pages of piece checksums of the download id.
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

// An indexKey is a key of an index, and the bucket of that index.
type indexKey struct{ bucket, key []byte }

// indexKeys returns the keys that must lead to r: its target and, unless the user chose
// the file name, its URL.
func (r *Record) indexKeys() []indexKey {
	all := []indexKey{{targetBucket, []byte(r.Target)}}
	if !r.Named {
		all = append(all, indexKey{urlBucket, r.urlKey()})
	}
	return all
}

// putIndex makes the index keys of r lead to r.
func (t tx) putIndex(r *Record) error {
	for _, e := range r.indexKeys() {
		if err := t.Bucket(e.bucket).Put(e.key, []byte(r.ID)); err != nil {
			return err
		}
	}
	return nil
}

// restoreIndex adds the missing index keys of r, for example in a new state file. Keys
// that lead to another record stay.
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

// drop deletes everything that the state file has about the download or finished file r.
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

// dropRecord deletes the unfinished record r and the index keys that lead to it. It keeps
// the piece checksums.
func (t tx) dropRecord(r *Record) error {
	if err := t.dropIndex(r); err != nil {
		return err
	}
	// If r was to replace a finished file, the URL leads to that file again.
	if old, err := t.finishedAt(r.Target); err == nil && !old.Named && r.State != Done {
		if err := t.Bucket(urlBucket).Put(old.urlKey(), []byte(old.Target)); err != nil {
			return err
		}
	}
	if err := t.dropHashes(r.ID); err != nil {
		return err
	}
	return t.Bucket(recordBucket).Delete([]byte(r.ID))
}

// dropPages deletes the piece checksums of the download id.
func (t tx) dropPages(id ID) error {
	for _, pg := range t.pages(id) {
		if err := t.Bucket(pieceBucket).Delete(pageKey(id, pg.n)); err != nil {
			return err
		}
	}
	return nil
}

// dropDamaged deletes a damaged record. Its index keys stay and lead to nothing, because
// they cannot be read from it.
func (t tx) dropDamaged(bad damagedRecordError) error {
	if bad.target != "" {
		return t.Bucket(ledgerBucket).Delete([]byte(bad.target))
	}
	if err := errors.Join(t.dropPages(bad.id), t.dropHashes(bad.id)); err != nil {
		return err
	}
	return t.Bucket(recordBucket).Delete([]byte(bad.id))
}

// dropIndex deletes the index keys that lead to r.
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
