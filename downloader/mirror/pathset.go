package mirror

import (
	"hash/maphash"
	"math/bits"
)

const (
	shardBits = 6 // the first bits of a hash choose its shard

	// shardCount: 64 shards of similar size. A growing shard needs its old and its new
	// table at the same time, which with 64 shards is 1/64 of the memory of the set. A
	// guess: half doubles that peak, double saves only another 1/128.
	shardCount = 1 << shardBits

	// minSlots is the size of the first table of a shard, in slots: 160 bytes. A guess:
	// the empty set has no tables, and a list of 1,000 paths outgrows it anyway.
	minSlots = 16

	// maxFullEighths is how many eighths of the slots of a shard may be taken. At this load,
	// linear probing looks at about 4 slots for a known path and about 32 for a new path
	// (Knuth, The Art of Computer Programming, volume 3, section 6.4). At 15/16 it would
	// look at 8 and 128; at 6/8 a path would need 2 bytes more.
	maxFullEighths = 7

	// growthDivisor: a table grows by a quarter of its slots. Doubling instead would leave
	// half of the slots free after each growth, up to 23 bytes a path in place of 15.
	growthDivisor = 4
)

// A pathStatus says whether a pathSet knew a path before, and with which URL.
type pathStatus int

const (
	newPath  pathStatus = iota // the path was not in the set
	sameURL                    // the path was first added with this URL
	otherURL                   // the path was first added with another URL
)

func (v pathStatus) String() string {
	return [...]string{"new", "same", "other"}[v]
}

// A pathSet holds the local paths that the lists of a run have named. It stores hashes only:
// 64 bits of the path and 16 bits of the URL that came with it first. So it needs 11 to 15
// bytes for each path, however long the paths are, and 1/64 more for a moment while it grows.
//
// The zero pathSet is empty and ready to use. It is not safe for concurrent use.
//
// Because different paths may have the same hash, a result can be wrong:
//
//   - The chance that any new path among n has the hash of another path is n²/2⁶⁵: one in
//     nine million for two million paths. Add then returns otherURL (or, in one of 65,536
//     cases, sameURL), and Has reports true for a path that was never added.
//   - If a path is added again with another URL, Add returns sameURL in one of 65,536 cases.
//
// Add never returns newPath for a path that was added before. As long as no two paths have
// the same hash, it never returns otherURL for a path with its first URL.
type pathSet struct {
	seed   maphash.Seed // random, so that a hostile list cannot construct collisions; zero before the first Add
	shards [shardCount]shard
	n      int // paths in all shards
}

// A shard is a hash table with linear probing. It holds the paths whose hashes begin with the
// same shardBits bits.
type shard struct {
	paths []uint64 // hashes of paths; 0 marks a free slot
	urls  []uint16 // the hash of the URL of the path in the same slot
	n     int      // taken slots; add keeps at least one slot free, because slot would not end otherwise
}

// Add adds a path and its URL, and reports whether the path was in the set before. If it
// was, Add changes nothing, and the first URL stays.
func (s *pathSet) Add(path, url string) pathStatus {
	if s.seed == (maphash.Seed{}) {
		s.seed = maphash.MakeSeed()
	}
	status := s.add(s.hash(path), uint16(maphash.String(s.seed, url)))
	if status == newPath {
		s.n++
	}
	return status
}

// Has reports whether a path is in the set.
func (s *pathSet) Has(path string) bool {
	if s.n == 0 {
		return false
	}
	hash := s.hash(path)
	t := s.shard(hash)
	return len(t.paths) > 0 && t.paths[t.slot(hash)] == hash
}

// Len returns the number of paths in the set.
func (s *pathSet) Len() int { return s.n }

// hash returns the hash of a path. It is never 0, because 0 marks a free slot.
func (s *pathSet) hash(path string) uint64 {
	return max(1, maphash.String(s.seed, path))
}

// shard returns the shard of the paths with this hash.
func (s *pathSet) shard(hash uint64) *shard {
	return &s.shards[hash>>(64-shardBits)]
}

// add is Add for the hashes of a path and a URL.
func (s *pathSet) add(path uint64, url uint16) pathStatus {
	t := s.shard(path)
	if t.n+1 > len(t.paths)/8*maxFullEighths {
		t.grow()
	}
	i := t.slot(path)
	switch {
	case t.paths[i] == 0:
		t.paths[i], t.urls[i] = path, url
		t.n++
		return newPath
	case t.urls[i] == url:
		return sameURL
	}
	return otherURL
}

// slot returns the slot of a path, or the free slot in which it must be stored. The shard
// must have a free slot.
func (t *shard) slot(path uint64) int {
	first, _ := bits.Mul64(path<<shardBits, uint64(len(t.paths))) // the bits after the shard's, scaled to the table
	i := int(first)
	for t.paths[i] != 0 && t.paths[i] != path {
		if i++; i == len(t.paths) {
			i = 0
		}
	}
	return i
}

// grow moves all paths to a table that is larger by a quarter.
func (t *shard) grow() {
	old := *t
	slots := max(minSlots, len(old.paths)+len(old.paths)/growthDivisor)
	t.paths, t.urls = make([]uint64, slots), make([]uint16, slots)
	for i, path := range old.paths {
		if path != 0 {
			at := t.slot(path)
			t.paths[at], t.urls[at] = path, old.urls[i]
		}
	}
}
