package store

// This file is what is remembered of hosts, so that the next download begins with
// as many connections as the last one found to be good.

import (
	"encoding/json"
	"time"
)

// A HostNote is what a download has learned of a host.
type HostNote struct {
	Best  int       `json:"best,omitempty"`  // connections, more of which brought nothing; 0 unknown
	Limit int       `json:"limit,omitempty"` // connections beyond which it refused one; 0 if it did not
	Seen  time.Time `json:"seen"`            // when that was so
}

// mostHosts is how many notes are kept.
const maxHosts = 1000

// Host returns what is noted of a host, by its origin (RFC 6454 §4); the zero
// HostNote for nothing, or nothing that can be read.
func (s *Store) Host(origin string) (n HostNote, err error) {
	err = s.read(func(t tx) error {
		if b := t.Bucket(hostBucket); b != nil && json.Unmarshal(b.Get([]byte(origin)), &n) != nil {
			n = HostNote{}
		}
		return nil
	})
	return n, err
}

// NoteHost notes what was learned of a host. The oldest note gives way where there
// are many.
func (s *Store) NoteHost(origin string, n HostNote) error {
	data, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return s.write(func(t tx) error {
		b, err := t.CreateBucketIfNotExists(hostBucket)
		if err != nil {
			return err
		}
		if err := b.Put([]byte(origin), data); err != nil {
			return err
		}
		count, oldest := 0, []byte(nil)
		var since time.Time
		err = b.ForEach(func(k, v []byte) error {
			var n HostNote
			json.Unmarshal(v, &n) // what cannot be read is the oldest
			if count++; oldest == nil || n.Seen.Before(since) {
				oldest, since = k, n.Seen
			}
			return nil
		})
		if err != nil || count <= maxHosts {
			return err
		}
		return b.Delete(oldest)
	})
}
