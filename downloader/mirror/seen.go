package mirror

import (
	"hash/maphash"
	"math/bits"
)

const (
	shardBits   = 6
	seenShards  = 1 << shardBits // of like size, so that one that grows is little beside all
	leastSlots  = 16
	mostFull    = 7 // eighths of the slots of a shard that may be taken
	growthShare = 4 // a shard grows by one slot in so many
)

// A verdict is what a seen says of a path and its URL.
type verdict int

const (
	New   verdict = iota // the path is the first of its name
	Same                 // the path was first seen with this very URL
	Other                // the path was first seen with another URL
)

func (v verdict) String() string {
	return [...]string{"new", "same", "other"}[v]
}

// seen knows which local paths a list has named, by hash: 64 bits of the path
// and 16 of the URL that it first came with. It takes 11 to 15 bytes a path,
// however long that is, and growing takes 1/64 more for a moment.
//
// The zero seen is empty and ready. It is not safe for concurrent use.
//
// It may be wrong, as hashes may be equal:
//   - That a new path among n has the hash of another, and thus is called Other,
//     or Same one time in 65,536, has a chance of n²/2⁶⁵ for the whole list:
//     one in nine million for two million paths. Then Has is wrong, too.
//   - Of the paths that come again with another URL, one in 65,536 is called Same.
//
// A path that came before is never called New, and one that comes again with its
// first URL never Other, so long as no two paths have the same hash.
type seen struct {
	seed   maphash.Seed // zero before the first Add; names in a list cannot aim at it
	shards [seenShards]shard
	n      int
}

// A shard is a hash table of the paths whose hash begins alike, each in the first
// slot that was free from its place on, at the end back to the start.
type shard struct {
	paths []uint64 // 0 if the slot is free
	urls  []uint16 // of the path in the same slot
	n     int      // slots taken; one at least is free, if there is any
}

// Add notes that a path was named with a URL, and says whether it was before.
// For one that was, nothing changes.
func (s *seen) Add(path, url string) verdict {
	if s.seed == (maphash.Seed{}) {
		s.seed = maphash.MakeSeed()
	}
	verdict := s.add(s.hash(path), uint16(maphash.String(s.seed, url)))
	if verdict == New {
		s.n++
	}
	return verdict
}

// Has reports whether a path was named.
func (s *seen) Has(path string) bool {
	if s.n == 0 {
		return false
	}
	hash := s.hash(path)
	t := s.shard(hash)
	return len(t.paths) > 0 && t.paths[t.find(hash)] == hash
}

// Len returns how many paths were named.
func (s *seen) Len() int { return s.n }

// hash returns what stands for a path, never 0.
func (s *seen) hash(path string) uint64 {
	return max(1, maphash.String(s.seed, path))
}

// shard returns the table of the paths with this hash.
func (s *seen) shard(hash uint64) *shard {
	return &s.shards[hash>>(64-shardBits)]
}

// add is Add of what the hashes stand for.
func (s *seen) add(path uint64, url uint16) verdict {
	t := s.shard(path)
	if t.n+1 > len(t.paths)/8*mostFull {
		t.grow()
	}
	i := t.find(path)
	switch {
	case t.paths[i] == 0:
		t.paths[i], t.urls[i] = path, url
		t.n++
		return New
	case t.urls[i] == url:
		return Same
	}
	return Other
}

// find returns the slot of a path, or the free one where it belongs. There must
// be a free one.
func (t *shard) find(path uint64) int {
	place, _ := bits.Mul64(path<<shardBits, uint64(len(t.paths)))
	i := int(place)
	for t.paths[i] != 0 && t.paths[i] != path {
		if i++; i == len(t.paths) {
			i = 0
		}
	}
	return i
}

// grow moves all to a table a little larger than the last, so that few slots
// are free at any time.
func (t *shard) grow() {
	old := *t
	slots := max(leastSlots, len(old.paths)+len(old.paths)/growthShare)
	t.paths, t.urls = make([]uint64, slots), make([]uint16, slots)
	for i, path := range old.paths {
		if path != 0 {
			at := t.find(path)
			t.paths[at], t.urls[at] = path, old.urls[i]
		}
	}
}
