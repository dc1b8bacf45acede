package store

import (
	"path/filepath"

	"pawl/chunk"
)

// AdoptAll records files that other processes have finished, for example on other machines, in one
// transaction. Each record must be complete; its Target must be absolute. The files need not be on a
// disk of this machine, and AdoptAll does not look at them. A record replaces the records of its
// target, but the lists that claim the file there go on to do so. All records are durable when
// AdoptAll returns nil; otherwise none is recorded.
func (s *Store) AdoptAll(records []Record) error {
	return s.write(func(t tx) error {
		for _, r := range records {
			r.State, r.Target, r.Publishing, r.Replaces = Done, filepath.Clean(r.Target), false, FileStamp{}
			r.Held = chunk.NewSet(chunk.Range{End: r.Size})
			if old, err := t.unfinishedAt(r.Target); err == nil {
				r.inheritLists(&old)
				if err := t.drop(&old); err != nil {
					return err
				}
			}
			if err := t.put(&r); err != nil {
				return err
			}
		}
		return nil
	})
}
