package store

import (
	"fmt"
	"testing"
	"time"
)

// The latest note about a host is kept, also for another Store, up to maxHosts notes. A
// note that cannot be read counts as missing.
func TestHosts(t *testing.T) {
	dir := t.TempDir()
	open := func() *Store {
		s, err := Open(dir, Options{})
		must(t, err)
		return s
	}
	s := open()
	if n, err := s.Host("http://h:80"); err != nil || n != (HostNote{}) {
		t.Errorf("of a host that nobody knows: got %+v, %v", n, err)
	}
	seen := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i, n := range []HostNote{{Limit: 8, Seen: seen}, {Limit: 3, Seen: seen.Add(time.Hour)}} {
		if err := s.NoteHost("http://h:80", n); err != nil {
			t.Fatal(err)
		}
		if got, err := open().Host("http://h:80"); err != nil || got != n {
			t.Errorf("note %d: got %+v, %v, want %+v", i, got, err, n)
		}
	}
	if err := s.write(func(t tx) error { return t.Bucket(hostBucket).Put([]byte("http://h:80"), []byte("?")) }); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Host("http://h:80"); err != nil || n != (HostNote{}) {
		t.Errorf("of a damaged note: got %+v, %v", n, err)
	}
}

// If there are too many notes, the oldest ones are deleted.
func TestHostsMany(t *testing.T) {
	s, err := Open(t.TempDir(), Options{})
	must(t, err)
	seen := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	err = s.write(func(t tx) error {
		b, err := t.CreateBucketIfNotExists(hostBucket)
		for i := range maxHosts {
			if err == nil {
				err = b.Put(fmt.Appendf(nil, "http://%04d:80", i), fmt.Appendf(nil, `{"limit":1,"seen":%q}`, seen.Add(-time.Duration(i)*time.Hour).Format(time.RFC3339)))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.NoteHost("http://new:80", HostNote{Limit: 2, Seen: seen}); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{"http://new:80": 2, "http://0000:80": 1, fmt.Sprintf("http://%04d:80", maxHosts-1): 0} {
		if n, err := s.Host(host); err != nil || n.Limit != want {
			t.Errorf("%s: got %+v, %v, want limit %d", host, n, err, want)
		}
	}
}
