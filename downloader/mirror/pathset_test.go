package mirror

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
)

// TestPathSetAdd: Add distinguishes new paths, paths with their first URL, and paths with another URL.
func TestPathSetAdd(t *testing.T) {
	var s pathSet
	if s.Has("a") || s.Has("") || s.Len() != 0 {
		t.Error("the empty set has paths")
	}
	for i, tt := range []struct {
		path, url string
		want      pathStatus
		len       int
	}{
		{"a", "u", newPath, 1},
		{"a", "u", sameURL, 1},
		{"a", "v", otherURL, 1},
		{"a", "v", otherURL, 1}, // the first URL stays
		{"a", "u", sameURL, 1},
		{"b", "u", newPath, 2},
		{"", "", newPath, 3},
		{"", "", sameURL, 3},
		{"", "u", otherURL, 3},
	} {
		if got := s.Add(tt.path, tt.url); got != tt.want || s.Len() != tt.len {
			t.Errorf("%d: %q from %q: got %v and length %d, want %v and %d", i, tt.path, tt.url, got, s.Len(), tt.want, tt.len)
		}
	}
	if !s.Has("a") || !s.Has("b") || !s.Has("") || s.Has("c") {
		t.Error("Has: want a, b and the empty path, and not c")
	}
}

// TestPathSetModel: the set returns the same as a map, except if the 16-bit hashes of two URLs are
// equal.
func TestPathSetModel(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	var s pathSet
	model := make(map[string]string)
	counts := make(map[pathStatus]int)
	for range 200_000 {
		path, url := fmt.Sprint("p", rnd.IntN(50_000)), fmt.Sprint("u", rnd.IntN(3))
		first, ok := model[path]
		if s.Has(path) != ok {
			t.Fatalf("%q: Has returned %v, want %v", path, !ok, ok)
		}
		want := otherURL
		switch {
		case !ok:
			want, model[path] = newPath, url
		case first == url || s.urlHash(first) == s.urlHash(url):
			want = sameURL
		}
		got := s.Add(path, url)
		if got != want || s.Len() != len(model) {
			t.Fatalf("%q from %q: got %v and length %d, want %v and %d", path, url, got, s.Len(), want, len(model))
		}
		counts[got]++
	}
	for v := newPath; v <= otherURL; v++ {
		if counts[v] < 1000 {
			t.Errorf("%v: got %d times, want at least 1000", v, counts[v])
		}
	}
}

// TestPathSetMillions: two million paths need at most 32 bytes each. No new path is taken for a known
// one, and few URLs are taken for the first URL.
func TestPathSetMillions(t *testing.T) {
	if os.Getenv("PAWL_TEST_LONG") == "" {
		t.Skip("two million paths")
	}
	const n = 2_000_000
	before := heapBytes()
	var s pathSet
	path := func(i int) string { return fmt.Sprintf("dir/%d/file-%d.bin", i%1000, i) }
	for i := range n {
		if got := s.Add(path(i), "u"); got != newPath {
			t.Fatalf("path %d: got %v, want %v", i, got, newPath)
		}
	}
	heap := heapBytes() - before
	if heap > 32*n {
		t.Errorf("%d paths take %d bytes of the heap, want at most %d", n, heap, 32*n)
	}
	same := 0
	for i := range n / 4 {
		if s.Add(path(i), fmt.Sprint(i)) == sameURL {
			same++
		}
	}
	if limit := n / 4 / 65536 * 5; same > limit {
		t.Errorf("%d of %d other URLs were taken for the first, want at most %d", same, n/4, limit)
	}
	t.Logf("%.1f bytes a path", float64(heap)/n)
}
