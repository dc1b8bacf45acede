package list

import (
	"io"
	"runtime"
	"strconv"
	"testing"
)

// A generatedList is a reader of a list that is never in memory as a whole: head, n
// entries, tail.
type generatedList struct {
	head, tail string
	entry      func(b []byte, i int) []byte // appends the text of entry i to b
	n          int                          // number of entries
	i          int                          // entries generated so far
	text       []byte                       // buffer for the text of an entry
	left       []byte                       // generated, but not yet read
}

func (r *generatedList) Read(p []byte) (int, error) {
	for len(r.left) == 0 {
		switch {
		case r.head != "":
			r.left, r.head = []byte(r.head), ""
		case r.i < r.n:
			r.text = r.entry(r.text[:0], r.i)
			r.left = r.text
			r.i++
		case r.tail != "":
			r.left, r.tail = []byte(r.tail), ""
		default:
			return 0, io.EOF
		}
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

// numbered returns a generator of entries: before, the number of the entry, behind.
func numbered(before, behind string) func(b []byte, i int) []byte {
	return func(b []byte, i int) []byte {
		return append(strconv.AppendInt(append(b, before...), int64(i), 10), behind...)
	}
}

// The memory for reading a list does not grow with its length.
func TestReadMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector multiplies its time")
	}
	const maxGrowth = 1 << 20 // bytes of heap; all entries of a list would take at least twice as much
	lists := map[string]*generatedList{
		"plain":    {entry: numbered("http://example.org/some/path/file-", ".iso\n"), n: 1e4},
		"problems": {entry: numbered("option-", "\n unknown=1\n"), n: 1e4},
		"options":  {entry: numbered("http://h/x\n unknown-", "=1\n out=a\n header=A: b\n"), n: 1e4},
		"sums":     {entry: numbered(hex64+"  dir/file-", ".iso\n"), n: 1e4},
		"json":     {entry: numbered(`{"url":"http://example.org/file-`, "\"}\n"), n: 1e4},
		"wrapper":  {head: "{\"n\":1,\"files\":[", entry: numbered("{\n\"url\":\"http://example.org/file-", "\"},"), tail: "]}", n: 1e4},
		"array":    {head: "[", entry: numbered("{\n\"url\":\"http://example.org/file-", "\"},"), tail: "]", n: 1e4},
		"table":    {entry: numbered("http://example.org/file.iso,d/", ".iso\n"), n: 1e4},
		"curl":     {entry: numbered("url = \"http://example.org/file-", "\"\n"), n: 1e4},
		"prose":    {entry: numbered(hex64+"  dir/file-", ".iso\nprose: 0123\nxx\n"), n: 1e4},
		"unknown":  {entry: numbered("http://example.org/file-", "#blake3="+hex64+"\n"), n: 2e4},
		"metalink": {head: metalink4Head, entry: numbered("<file name='x'><url>http://h/", "</url></file>"), tail: "</metalink>", n: 1e4},
		"one line": {entry: numbered("http://example.org/some/path/file-", ".iso\t"), n: 6e4},
	}
	for name, r := range lists {
		var before, now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		items, peak := 0, uint64(0)
		for range Read("L", r, Options{Base: "http://b/"}) {
			if items++; items%4_000 == 0 {
				runtime.GC()
				runtime.ReadMemStats(&now)
				peak = max(peak, now.HeapAlloc)
			}
		}
		if name != "one line" && items < r.n {
			t.Errorf("%s: got %d items, want %d", name, items, r.n)
		}
		if peak > before.HeapAlloc+maxGrowth {
			t.Errorf("%s: heap grew by %d bytes, want at most %d", name, peak-before.HeapAlloc, maxGrowth)
		}
		runtime.GC()
	}
}

func BenchmarkRead(b *testing.B) {
	for name, entry := range map[string]func([]byte, int) []byte{
		"plain": numbered("http://example.org/some/path/file-", ".iso\n"),
		"sums":  numbered(hex64+"  dir/file-", ".iso\n"),
		"json":  numbered(`{"url":"http://example.org/file-`, "\"}\n"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for range Read("L", &generatedList{entry: entry, n: b.N}, Options{Base: "http://b/"}) {
				n++
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "lines/s")
		})
	}
	b.Run("metalink", func(b *testing.B) {
		r := &generatedList{head: metalink4Head, entry: numbered("<file name='x'><size>1</size><url>http://h/", "</url></file>"), tail: "</metalink>", n: b.N}
		for range Read("L", r, Options{}) {
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "files/s")
	})
}
