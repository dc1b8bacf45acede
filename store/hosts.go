package store

// This file keeps notes about hosts, so that the next download does not open connections that
// the host refuses.

import (
	"encoding/json"
	"time"
)

// A HostNote records the observed limit of a host.
type HostNote struct {
	// Limit is the number of connections beyond which the host refused another one; 0
	// if it refused none.
	Limit int `json:"limit,omitempty"`
	// Seen is the time of the observation.
	Seen time.Time `json:"seen"`
}

// maxHosts is the number of notes to keep. A note takes about 100 bytes, and NoteHost
// reads all of them; a guess.
const maxHosts = 1000

// Host returns the note about a host, given by its origin (RFC 6454 §4), for example
// "https://example.com". It returns the zero HostNote if there is none or it cannot be
// read.
func (s *Store) Host(origin string) (n HostNote, err error) {
	err = s.read(func(t tx) error {
		if b := t.Bucket(hostBucket); b != nil && json.Unmarshal(b.Get([]byte(origin)), &n) != nil {
			n = HostNote{}
		}
		return nil
	})
	return n, err
}

// NoteHost stores the note about a host. If there are more than maxHosts notes, it
// deletes the oldest one.
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
			json.Unmarshal(v, &n) // an unreadable note counts as the oldest
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
