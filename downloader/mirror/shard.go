package mirror

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"pawl/downloader"
)

// MaxShards is the largest number of shards. It is the largest number of indexes of a Kubernetes
// Job, and more than Slurm allows by default. A guess: more shards than that would read the lists
// more often than they fetch files.
const MaxShards = 100_000

// A Shard is one of Count parts of the lists. Each part is done by a run of its own, on any
// machine, and together they fetch the same files as one run without shards. The zero Shard is
// everything.
//
// All shards read the lists to their end, so that they agree on the names of all files, and none
// deletes a file that belongs to another one. They need not know each other: a shard follows from
// the path or the URL of a file alone.
type Shard struct {
	Index int // from 1
	Count int
	By    ShardBy
}

// A ShardBy is the property of a file that decides its shard.
type ShardBy int

const (
	// ByPath divides the files evenly. The limits of a host then hold for all shards together.
	ByPath ShardBy = iota
	// ByHost leaves all files of a host to one shard, which then may use the limits of the host
	// alone. The host is the origin of the first URL of an entry.
	ByHost
)

// UnmarshalText parses "path" or "host".
func (b *ShardBy) UnmarshalText(text []byte) error {
	switch string(text) {
	case "path":
		*b = ByPath
	case "host":
		*b = ByHost
	default:
		return fmt.Errorf("%q is not path or host", text)
	}
	return nil
}

func (b ShardBy) String() string {
	if b == ByHost {
		return "host"
	}
	return "path"
}

// ParseShard parses the number of a shard and the number of all shards, such as "3/16".
func ParseShard(text string) (Shard, error) {
	index, count, _ := strings.Cut(text, "/")
	i, err := strconv.ParseUint(index, 10, 31)
	n, countErr := strconv.ParseUint(count, 10, 31)
	if err != nil || countErr != nil {
		return Shard{}, fmt.Errorf("%q is not a shard such as 3/16, which is the third of 16", text)
	}
	return NewShard(int(i), int(n))
}

// NewShard returns the shard with this number, from 1, of count shards.
func NewShard(index, count int) (Shard, error) {
	if count < 1 || count > MaxShards {
		return Shard{}, fmt.Errorf("the number of shards must be from 1 to %d, and is %d", MaxShards, count)
	}
	if index < 1 || index > count {
		return Shard{}, fmt.Errorf("there is no shard %d of %d; the first one is 1/%d", index, count, count)
	}
	return Shard{Index: index, Count: count}, nil
}

// IsSet reports whether s is a part, and not the zero Shard.
func (s Shard) IsSet() bool { return s.Count > 0 }

// String returns for example "3/16", and "" for the zero Shard.
func (s Shard) String() string {
	if !s.IsSet() {
		return ""
	}
	return fmt.Sprintf("%d/%d", s.Index, s.Count)
}

// Share returns the part of n that the shard may use, so that the parts of all shards add up to n.
// It is an error if a shard would get nothing.
func (s Shard) Share(n int) (int, error) {
	switch {
	case !s.IsSet():
		return n, nil
	case n < s.Count:
		return 0, errors.New("it is less than one for each shard")
	}
	share := n / s.Count
	if s.Index <= n%s.Count {
		share++
	}
	return share, nil
}

// owns reports whether a file belongs to the shard. rel is its path below Options.Dir, and url the
// first URL of its entry, or the URL on record if there is no entry.
func (s Shard) owns(rel, url string) bool {
	if !s.IsSet() {
		return true
	}
	key := filepath.ToSlash(rel)
	if s.By == ByHost {
		key = downloader.Origin(url)
	}
	return shardOf(key, s.Count) == s.Index
}

// shardOf returns the shard of a slash-separated path or of an origin, from 1 to count. Its results
// must not change between versions: shards may run with different ones, and users may compute them.
func shardOf(key string, count int) int {
	sum := sha256.Sum256([]byte(key))
	return 1 + jumpHash(binary.BigEndian.Uint64(sum[:8]), count)
}

// jumpHash returns a bucket from 0 to buckets-1 (Lamping and Veach, "A Fast, Minimal Memory,
// Consistent Hash Algorithm", 2014). With one bucket more, only 1/(buckets+1) of the keys move, all
// of them into the new bucket.
func jumpHash(key uint64, buckets int) int {
	last, next := int64(-1), int64(0)
	for next < int64(buckets) {
		last = next
		key = key*2862933555777941757 + 1
		next = int64(float64(last+1) * (float64(1<<31) / float64(key>>33+1)))
	}
	return int(last)
}
