package store

// This file keeps the piece hashes that a list has of an unfinished download. They are beside the
// record, because a commit writes the whole record, and they may have a megabyte.

import "pawl/chunk"

// KeepHashes records the digests of the pieces of the unfinished download id, so that a later
// process verifies them, too. The download keeps them until it ends.
func (s *Store) KeepHashes(id ID, hashes chunk.PieceHashes) error {
	text, err := hashes.MarshalText()
	if err != nil {
		return err
	}
	return s.write(func(t tx) error {
		if t.Bucket(recordBucket).Get([]byte(id)) == nil {
			return ErrNotFound
		}
		b, err := t.CreateBucketIfNotExists(hashBucket)
		if err != nil {
			return err
		}
		return b.Put([]byte(id), addChecksum(text))
	})
}

// Hashes returns the digests that KeepHashes has recorded, the zero PieceHashes if there are none or
// if they are damaged.
func (s *Store) Hashes(id ID) (hashes chunk.PieceHashes, err error) {
	err = s.read(func(t tx) error {
		hashes = chunk.PieceHashes{} // the function runs again if the state file had to be replaced
		b := t.Bucket(hashBucket)
		if b == nil {
			return nil
		}
		if text, err := checkChecksum(b.Get([]byte(id))); err == nil && hashes.UnmarshalText(text) != nil {
			hashes = chunk.PieceHashes{}
		}
		return nil
	})
	return hashes, err
}

// dropHashes deletes the piece hashes of the download id.
func (t tx) dropHashes(id ID) error {
	if b := t.Bucket(hashBucket); b != nil {
		return b.Delete([]byte(id))
	}
	return nil
}
