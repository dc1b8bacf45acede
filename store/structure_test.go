package store

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// A file of bbolt passes the check, whatever was put and deleted. A damaged page does
// not.
func TestCheckStructure(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	path := t.TempDir() + "/db"
	db, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	db.NoSync = true // the check reads what is written, not what a power cut leaves
	for round := range 60 {
		must(t, db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(fmt.Appendf(nil, "bucket %d", rng.IntN(4)))
			must(t, err)
			for range rng.IntN(400) {
				key := fmt.Appendf(nil, "key %d", rng.IntN(2000))
				if rng.IntN(3) == 0 {
					must(t, b.Delete(key))
					continue
				}
				must(t, b.Put(key, make([]byte, rng.IntN(300)+rng.IntN(2)*rng.IntN(2)*rng.IntN(20_000))))
			}
			return nil
		}))
		f, err := os.Open(path)
		must(t, err)
		info, err := f.Stat()
		must(t, err)
		if err := checkStructure(f, info.Size()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		f.Close()
	}
	must(t, db.Close())
}
