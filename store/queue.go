package store

// This file keeps the queue of a daemon: values that only package queue understands. They are in the
// state file because they must be as durable as the downloads that they belong to.

import (
	"fmt"
	"maps"
)

// Queue returns the entries of the queue by their keys. A damaged entry is deleted, and reported to
// Options.Warn.
func (s *Store) Queue() (map[string][]byte, error) {
	entries, damaged := make(map[string][]byte), make(map[string][]byte)
	err := s.read(func(t tx) error {
		clear(entries) // the function runs again if the state file had to be replaced
		clear(damaged)
		b := t.Bucket(queueBucket)
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, sealed []byte) error {
			if value, err := checkChecksum(sealed); err == nil {
				entries[string(k)] = append([]byte{}, value...)
			} else {
				damaged[string(k)] = nil
			}
			return nil
		})
	})
	if err != nil || len(damaged) == 0 {
		return entries, err
	}
	for key := range maps.Keys(damaged) {
		s.warn(fmt.Sprintf("the entry %q of the queue was damaged and is deleted", key))
	}
	return entries, s.ChangeQueue(damaged)
}

// ChangeQueue stores the entries of the queue that have a value, and deletes the ones whose value is nil, in one
// transaction.
func (s *Store) ChangeQueue(entries map[string][]byte) error {
	return s.write(func(t tx) error {
		b, err := t.CreateBucketIfNotExists(queueBucket)
		if err != nil {
			return err
		}
		for key, value := range entries {
			if value == nil {
				err = b.Delete([]byte(key))
			} else {
				err = b.Put([]byte(key), addChecksum(append([]byte{}, value...)))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
