package store

import (
	"maps"
	"slices"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// TestQueue checks that the entries of the queue are kept, replaced and deleted, and that a damaged one
// is deleted and reported.
func TestQueue(t *testing.T) {
	var warnings []string
	dir := t.TempDir()
	s, err := Open(dir, Options{Warn: func(w string) { warnings = append(warnings, w) }})
	if err != nil {
		t.Fatal(err)
	}
	check := func(want string) {
		t.Helper()
		entries, err := s.Queue()
		var all []string
		for _, key := range slices.Sorted(maps.Keys(entries)) {
			all = append(all, key+"="+string(entries[key]))
		}
		if got := strings.Join(all, " "); got != want || err != nil {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	check("")
	for _, change := range []map[string][]byte{
		{"a": []byte("1"), "b": []byte("2"), "c": {}},
		{"a": []byte("3"), "b": nil, "missing": nil},
	} {
		if err := s.ChangeQueue(change); err != nil {
			t.Fatal(err)
		}
	}
	check("a=3 c=")
	err = s.transact(false, func(db *bolt.DB) error {
		return db.Update(func(t *bolt.Tx) error { return t.Bucket(queueBucket).Put([]byte("a"), []byte("3xxxx")) })
	})
	if err != nil {
		t.Fatal(err)
	}
	check("c=")
	check("c=")
	if len(warnings) != 1 || !strings.Contains(warnings[0], `"a"`) {
		t.Errorf("warnings %q", warnings)
	}
}
