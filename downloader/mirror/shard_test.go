package mirror

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pawl/downloader/faultserver"
	"pawl/downloader/list"
)

// TestShardVectors: the shard of a path is a contract, which "pawl help formats" documents.
func TestShardVectors(t *testing.T) {
	for _, tt := range []struct {
		key   string
		count int
		want  int
	}{
		{"a.iso", 1, 1}, {"a.iso", 2, 1}, {"a.iso", 16, 15}, {"a.iso", 17, 15}, {"a.iso", 100000, 11869},
		{"iso/a.iso", 1, 1}, {"iso/a.iso", 2, 1}, {"iso/a.iso", 16, 3}, {"iso/a.iso", 17, 3}, {"iso/a.iso", 100000, 20111},
		{"pool/main/b/bash_5.2.deb", 1, 1}, {"pool/main/b/bash_5.2.deb", 2, 2}, {"pool/main/b/bash_5.2.deb", 16, 14}, {"pool/main/b/bash_5.2.deb", 17, 14}, {"pool/main/b/bash_5.2.deb", 100000, 1543},
		{"sub/Ünïcode ☃.bin", 1, 1}, {"sub/Ünïcode ☃.bin", 2, 2}, {"sub/Ünïcode ☃.bin", 16, 5}, {"sub/Ünïcode ☃.bin", 17, 5}, {"sub/Ünïcode ☃.bin", 100000, 97497},
		{"get.php?id=1", 1, 1}, {"get.php?id=1", 2, 2}, {"get.php?id=1", 16, 13}, {"get.php?id=1", 17, 13}, {"get.php?id=1", 100000, 19190},
		{"https://example.com:443", 1, 1}, {"https://example.com:443", 2, 2}, {"https://example.com:443", 16, 8}, {"https://example.com:443", 17, 8}, {"https://example.com:443", 100000, 28973},
		{"http://example.com:8080", 1, 1}, {"http://example.com:8080", 2, 2}, {"http://example.com:8080", 16, 11}, {"http://example.com:8080", 17, 11}, {"http://example.com:8080", 100000, 91772},
	} {
		if got := shardOf(tt.key, tt.count); got != tt.want {
			t.Errorf("%q in %d shards: got shard %d, want %d", tt.key, tt.count, got, tt.want)
		}
	}
}

// TestJumpHash compares the hash with values of the reference implementation.
func TestJumpHash(t *testing.T) {
	for _, tt := range []struct {
		key     uint64
		buckets int
		want    int
	}{{1, 1, 0}, {42, 57, 43}, {0xDEAD10CC, 1, 0}, {0xDEAD10CC, 666, 361}, {256, 1024, 520}, {0, 1024, 0}, {1<<64 - 1, 1, 0}} {
		if got := jumpHash(tt.key, tt.buckets); got != tt.want {
			t.Errorf("%d in %d buckets: got %d, want %d", tt.key, tt.buckets, got, tt.want)
		}
	}
}

// TestShardsMove: with one shard more, less than 8 % of two million paths move, all of them to the
// new shard, and the shards have nearly the same size.
func TestShardsMove(t *testing.T) {
	t.Parallel()
	const paths, count = 2_000_000, 16
	moved, sizes := 0, make([]int, count+2)
	var key []byte
	for i := range paths {
		key = strconv.AppendInt(append(strconv.AppendInt(append(key[:0], "pool/"...), int64(i%1000), 10), "/file-"...), int64(i), 10)
		sum := sha256.Sum256(key)
		hash := binary.BigEndian.Uint64(sum[:8])
		before, after := 1+jumpHash(hash, count), 1+jumpHash(hash, count+1)
		if before != after {
			if moved++; after != count+1 {
				t.Fatalf("%q moves from shard %d to %d", key, before, after)
			}
		}
		sizes[before]++
	}
	if moved == 0 || moved >= paths*8/100 {
		t.Errorf("%d of %d paths move", moved, paths)
	}
	for shard, n := range sizes[1 : count+1] {
		if n < paths/count*98/100 || n > paths/count*102/100 {
			t.Errorf("shard %d has %d paths of %d", shard+1, n, paths)
		}
	}
}

// TestShardShare: the shares of a limit add up to it, and differ by one at most.
func TestShardShare(t *testing.T) {
	for _, tt := range []struct{ n, count int }{{16, 5}, {16, 16}, {16, 1}, {100, 7}, {1, 1}, {17, 16}} {
		sum := 0
		for i := range tt.count {
			n, err := Shard{Index: i + 1, Count: tt.count}.Share(tt.n)
			if sum += n; err != nil || n != tt.n/tt.count && n != tt.n/tt.count+1 {
				t.Errorf("%d of %d in %d shards: got %d, %v", i+1, tt.n, tt.count, n, err)
			}
		}
		if sum != tt.n {
			t.Errorf("%d in %d shards: the shares add up to %d", tt.n, tt.count, sum)
		}
	}
	if n, err := (Shard{Index: 1, Count: 17}).Share(16); err == nil {
		t.Errorf("16 in 17 shards: got %d and no error", n)
	}
	if n, err := (Shard{}).Share(16); n != 16 || err != nil {
		t.Errorf("16 without shards: got %d, %v", n, err)
	}
}

func TestParseShard(t *testing.T) {
	for text, want := range map[string]Shard{"3/16": {Index: 3, Count: 16}, "1/1": {Index: 1, Count: 1}, "100000/100000": {Index: 100000, Count: 100000}} {
		if got, err := ParseShard(text); got != want || err != nil || got.String() != text {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "3", "3/", "/16", "0/16", "17/16", "-1/16", "3/0", "0/0", "3/16/2", "3 /16", "a/b", "1/100001", "1/99999999999", "+3/16", "3.0/16"} {
		if got, err := ParseShard(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

// runShards runs n shards one after another, and returns the sum of the counts, and all outcomes by
// path. Each path must have one outcome. change gets the number of the shard.
func (r *rig) runShards(n int, text string, change func(shard int, o *Options)) (sum Counts, all map[string]Outcome) {
	r.t.Helper()
	all = map[string]Outcome{}
	for i := range n {
		c, err := r.run(r.t.Context(), text, func(o *Options) {
			o.Shard = Shard{Index: i + 1, Count: n, By: o.Shard.By}
			change(i+1, o)
		})
		if err != nil && !errors.Is(err, ErrNotPruned) {
			r.t.Errorf("shard %d: %v", i+1, err)
		}
		for path, o := range r.outcomes {
			if _, twice := all[path]; twice {
				r.t.Errorf("%s belongs to several shards", path)
			}
			all[path] = o
		}
		sum.Listed, sum.Fetched, sum.Current, sum.Failed, sum.Pruned = sum.Listed+c.Listed, sum.Fetched+c.Fetched, sum.Current+c.Current, sum.Failed+c.Failed, sum.Pruned+c.Pruned
	}
	return sum, all
}

func noChange(int, *Options) {}

// TestShards: 16 shards fetch together what one run fetches, each file once. A run without shards,
// and other numbers of shards, find all of it if they share the state.
func TestShards(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	text := r.put(200) + r.srv.URL + "/none\n" + r.srv.URL + "/f0000\n"
	sum, all := r.runShards(16, text, noChange)
	if sum.Fetched != 200 || sum.Failed != 1 || sum.Listed != 201 || len(all) != 201 || r.requests() != 201 {
		t.Errorf("got %+v, %d outcomes, %d requests", sum, len(all), r.requests())
	}
	r.check()
	r.srv.Reset()
	if c := r.mustRun(text); c.Current != 200 || r.asked() != 1 {
		t.Errorf("one run: got %+v, requests for %d files, want one, for the missing file", c, r.asked())
	}
	if sum, _ := r.runShards(17, text, noChange); sum.Current != 200 || sum.Listed != 201 {
		t.Errorf("17 shards: got %+v", sum)
	}
}

// TestShardsByHost: all files of a host belong to one shard, and entries of different hosts with the
// same path do not end up in two shards.
func TestShardsByHost(t *testing.T) {
	r := newRig(t)
	const hosts, count = 6, 4
	var all, kept strings.Builder // the lists, and the list without some files
	for h := range hosts {
		srv := r.net.New()
		t.Cleanup(srv.Close)
		for i := range 5 {
			name := fmt.Sprintf("h%d/%d", h, i)
			r.files[name] = faultserver.NewFile(100, uint64(10*h+i))
			srv.Put(name, r.files[name])
			entry := fmt.Sprintf("%s/%s\n  dir=h%d\n", srv.URL, name, h)
			all.WriteString(entry)
			if i != 3 {
				kept.WriteString(entry)
			}
		}
		srv.Put("both", faultserver.NewFile(50, uint64(h)))
		fmt.Fprintf(&all, "%s/both\n  out=both\n", srv.URL)
	}
	owners := make([]map[int]bool, hosts)
	for h := range owners {
		owners[h] = map[int]bool{}
	}
	sum, outcomes := r.runShards(count, all.String(), func(shard int, o *Options) {
		o.Shard.By = ByHost
		outcome := o.OnOutcome
		o.OnOutcome = func(x Outcome) {
			outcome(x)
			var h int
			if rel, _ := filepath.Rel(r.dir, x.Path); rel != "both" {
				fmt.Sscanf(filepath.ToSlash(rel), "h%d/", &h)
				owners[h][shard] = true
			}
		}
	})
	if sum.Fetched != 5*hosts+1 || len(outcomes) != 5*hosts+1 {
		t.Errorf("got %+v, %d outcomes", sum, len(outcomes))
	}
	for h, shards := range owners {
		if len(shards) != 1 {
			t.Errorf("host %d belongs to the shards %v", h, shards)
		}
	}
	r.check()
	r.checkFile("both", faultserver.NewFile(50, 0)) // the first entry counts
	// What the list drops is pruned, too.
	if sum, _ := r.runShards(count, kept.String(), func(_ int, o *Options) { o.Shard.By, o.Prune = ByHost, true }); sum.Pruned != hosts+1 {
		t.Errorf("pruning: got %+v, want %d files", sum, hosts+1)
	}
}

// left returns how many of the files are on disk.
func (r *rig) left() (n int) {
	for name := range r.files {
		if _, err := os.Stat(filepath.Join(r.dir, filepath.FromSlash(name))); err == nil {
			n++
		}
	}
	return n
}

// TestShardPrunesItsOwn: a shard prunes its own paths only, whoever has fetched them, and all shards
// together prune what one run would.
func TestShardPrunesItsOwn(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]int{"the same shards": 8, "other shards": 5, "one run": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			text := r.put(60)
			if first == 0 {
				r.mustRun(text)
			} else {
				r.runShards(first, text, noChange)
			}
			kept := strings.Join(strings.SplitAfter(text, "\n")[:35], "")
			left := r.left()
			sum, all := r.runShards(8, kept, func(shard int, o *Options) {
				o.Prune = true
				outcome := o.OnOutcome
				o.OnOutcome = func(x Outcome) {
					outcome(x)
					if rel, _ := filepath.Rel(r.dir, x.Path); x.State == Pruned && shardOf(filepath.ToSlash(rel), 8) != shard {
						t.Errorf("shard %d has pruned %s", shard, rel)
					}
				}
			})
			if left != 60 || sum.Pruned != 25 || sum.Current != 35 || len(all) != 60 || r.left() != 35 {
				t.Errorf("got %+v, %d of %d files are left", sum, r.left(), left)
			}
		})
	}
}

// TestShardPruneLimit: the limit of Prune is for all shards together, so that many small shards do
// not delete everything, and all of them refuse where one run would.
func TestShardPruneLimit(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	text := r.put(60)
	r.runShards(16, text, noChange)
	kept := strings.Join(strings.SplitAfter(text, "\n")[:25], "")
	for i := range 16 {
		var limit *LimitError
		_, err := r.run(t.Context(), kept, func(o *Options) { o.Prune, o.Shard = true, Shard{Index: i + 1, Count: 16} })
		if !errors.As(err, &limit) || limit.Delete != 35 || limit.Max != 30 {
			t.Errorf("shard %d: got %v", i+1, err)
		}
	}
	if r.left() != 60 {
		t.Errorf("%d files are left", r.left())
	}
}

// TestShardsWithOwnState: shards with a state directory of their own prune their own files, and a
// shard without any file of the list does so as well.
func TestShardsWithOwnState(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	text := r.put(40)
	rigs := make([]*rig, 8)
	for i := range rigs {
		rigs[i] = newRig(t)
		rigs[i].dir = r.dir
		rigs[i].opts = r.opts
	}
	shards := func(text string, prune bool) (sum Counts) {
		for i, s := range rigs {
			c, err := s.run(t.Context(), text, func(o *Options) { o.Prune, o.Shard = prune, Shard{Index: i + 1, Count: len(rigs)} })
			if err != nil {
				t.Errorf("shard %d: %v", i+1, err)
			}
			sum.Fetched, sum.Pruned, sum.Current = sum.Fetched+c.Fetched, sum.Pruned+c.Pruned, sum.Current+c.Current
		}
		return sum
	}
	if sum := shards(text, false); sum.Fetched != 40 {
		t.Errorf("got %+v", sum)
	}
	r.check()
	kept, _, _ := strings.Cut(text, "\n")
	if sum := shards(kept+"\n", true); sum.Current != 1 || sum.Pruned != 39 || r.left() != 1 {
		t.Errorf("pruning: got %+v, %d files are left", sum, r.left())
	}
}

// TestShardsAgreeOnProblems: every shard sees the problems of the whole list, so that none prunes
// where one run would not.
func TestShardsAgreeOnProblems(t *testing.T) {
	r := newRig(t)
	text := r.put(20)
	r.runShards(4, text, noChange)
	bad := strings.Join(strings.SplitAfter(text, "\n")[:15], "") + r.srv.URL + "/f0001\n  out=f0000\n" + r.srv.URL + "/x\n  out=../x\n"
	for i := range 4 {
		c, err := r.run(t.Context(), bad, func(o *Options) { o.Prune, o.Shard = true, Shard{Index: i + 1, Count: 4} })
		if c.Problems != 2 || !errors.Is(err, ErrNotPruned) {
			t.Errorf("shard %d: got %+v, %v", i+1, c, err)
		}
	}
	if r.left() != 20 {
		t.Errorf("%d files are left", r.left())
	}
}

// TestShardSharedPath: an entry of a second list with the path of an earlier entry keeps the file,
// although another shard may own the path.
func TestShardSharedPath(t *testing.T) {
	t.Parallel()
	const listB = "bbbbbbbbbbbbbbbb"
	r := newRig(t)
	text := r.put(12)
	both := func(a, b string) iter.Seq2[List, error] {
		return func(yield func(List, error) bool) {
			for _, l := range []struct{ key, text string }{{listA, a}, {listB, b}} {
				if !yield(List{Key: l.key, Complete: true, Entries: list.Read("list", strings.NewReader(l.text), list.Options{})}, nil) {
					return
				}
			}
		}
	}
	each := func(do func(change func(*Options)) (Counts, error)) (pruned int) {
		for i := range 3 {
			c, err := do(func(o *Options) { o.Prune, o.Shard = true, Shard{Index: i + 1, Count: 3} })
			if err != nil {
				t.Error(err)
			}
			pruned += c.Pruned
		}
		return pruned
	}
	lines := strings.SplitAfter(text, "\n")
	each(func(change func(*Options)) (Counts, error) { return r.runLists(t.Context(), both(text, text), change) })
	one := func(change func(*Options)) (Counts, error) { return r.run(context.Background(), lines[0], change) }
	if pruned := each(one); pruned != 0 || r.left() != 12 {
		t.Errorf("%d files are pruned and %d left, although list B has named them", pruned, r.left())
	}
}
