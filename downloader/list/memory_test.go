package list

import (
	"io"
	"runtime"
	"strconv"
	"testing"
)

// repeated is a list that is never whole anywhere: head, then n times entry with
// a number in it, then tail.
type repeated struct {
	head, tail string
	entry      func(b []byte, i int) []byte
	n, i       int
	text, left []byte // of the last part, and what was not read of it
}

func (r *repeated) Read(p []byte) (int, error) {
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

// around returns what makes the i-th entry of a list.
func around(before, behind string) func(b []byte, i int) []byte {
	return func(b []byte, i int) []byte {
		return append(strconv.AppendInt(append(b, before...), int64(i), 10), behind...)
	}
}

// A list of a million lines takes no more memory than one of a few.
func TestReadMemory(t *testing.T) {
	const most = 8 << 20
	lists := map[string]*repeated{
		"plain":    {entry: around("http://example.org/some/path/file-", ".iso\n"), n: 1e6},
		"problems": {entry: around("option-", "\n unknown=1\n"), n: 2e5},
		"options":  {entry: around("http://h/x\n unknown-", "=1\n out=a\n header=A: b\n"), n: 2e5},
		"sums":     {entry: around(hex64+"  dir/file-", ".iso\n"), n: 3e5},
		"json":     {entry: around(`{"url":"http://example.org/file-`, "\"}\n"), n: 3e5},
		"metalink": {head: four, entry: around("<file name='x'><url>http://h/", "</url></file>"), tail: "</metalink>", n: 1e5},
		"one line": {entry: around("http://example.org/some/path/file-", ".iso\t"), n: 1e6},
	}
	for name, r := range lists {
		var before, now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		items, peak := 0, uint64(0)
		for range Read("L", r, Options{Base: "http://b/"}) {
			if items++; items%50_000 == 0 {
				runtime.GC()
				runtime.ReadMemStats(&now)
				peak = max(peak, now.HeapAlloc)
			}
		}
		if name != "one line" && items < r.n {
			t.Errorf("%s: got %d items, want %d", name, items, r.n)
		}
		if peak > before.HeapAlloc+most {
			t.Errorf("%s: got %d bytes more in use, want at most %d", name, peak-before.HeapAlloc, most)
		}
		runtime.GC()
	}
}

func BenchmarkRead(b *testing.B) {
	for name, entry := range map[string]func([]byte, int) []byte{
		"plain": around("http://example.org/some/path/file-", ".iso\n"),
		"sums":  around(hex64+"  dir/file-", ".iso\n"),
		"json":  around(`{"url":"http://example.org/file-`, "\"}\n"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for range Read("L", &repeated{entry: entry, n: b.N}, Options{Base: "http://b/"}) {
				n++
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "lines/s")
		})
	}
	b.Run("metalink", func(b *testing.B) {
		r := &repeated{head: four, entry: around("<file name='x'><size>1</size><url>http://h/", "</url></file>"), tail: "</metalink>", n: b.N}
		for range Read("L", r, Options{}) {
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "files/s")
	})
}
