package mirror

import (
	"encoding/binary"
	"hash/maphash"
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
// 64 bits of the path and 32 bits of the URL that came with it first. So it needs 17 to
// 29 bytes for each path, however long the paths are (measured with Go 1.26).
//
// The zero pathSet is empty and ready to use. It is not safe for concurrent use.
//
// Because different paths may have the same hash, a result can be wrong:
//
//   - The chance that any new path among n has the hash of another path is n²/2⁶⁵: one in
//     nine million for two million paths. Add then returns otherURL (or, in one of four billion
//     cases, sameURL), and Has reports true for a path that was never added.
//   - If a path is added again with another URL, Add returns sameURL in one of four
//     billion cases.
//
// Add never returns newPath for a path that was added before. As long as no two paths have
// the same hash, it never returns otherURL for a path with its first URL.
type pathSet struct {
	seed maphash.Seed         // random, so that a hostile list cannot construct collisions
	urls map[pathHash]urlHash // of the first URL of each path; nil before the first Add
}

// The hashes are arrays, because integers would be padded to 16 bytes in the map.
type (
	pathHash [8]byte
	urlHash  [4]byte
)

func (s *pathSet) pathHash(path string) (h pathHash) {
	binary.NativeEndian.PutUint64(h[:], maphash.String(s.seed, path))
	return h
}

func (s *pathSet) urlHash(url string) (h urlHash) {
	binary.NativeEndian.PutUint32(h[:], uint32(maphash.String(s.seed, url)))
	return h
}

// Add adds a path and its URL, and reports whether the path was in the set before. If it
// was, Add changes nothing, and the first URL stays.
func (s *pathSet) Add(path, url string) pathStatus {
	if s.urls == nil {
		s.seed, s.urls = maphash.MakeSeed(), make(map[pathHash]urlHash)
	}
	hash, urlHash := s.pathHash(path), s.urlHash(url)
	first, known := s.urls[hash]
	switch {
	case !known:
		s.urls[hash] = urlHash
		return newPath
	case first == urlHash:
		return sameURL
	}
	return otherURL
}

// Has reports whether a path is in the set.
func (s *pathSet) Has(path string) bool {
	if s.urls == nil {
		return false
	}
	_, known := s.urls[s.pathHash(path)]
	return known
}

// Len returns the number of paths in the set.
func (s *pathSet) Len() int { return len(s.urls) }
