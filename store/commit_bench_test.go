package store

import (
	"testing"
)

// BenchmarkCommit measures one commit of 1 MiB: the write, both syncs and the
// transaction.
func BenchmarkCommit(b *testing.B) {
	const size = 1 << 20
	dir := b.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	p, err := s.Create(Record{URL: "https://example.com/", Target: dir + "/file", Size: -1})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	buf := make([]byte, size)
	b.SetBytes(size)
	for off := int64(0); b.Loop(); off = (off + size) % (64 * size) {
		if _, err := p.WriteAt(buf, off); err != nil {
			b.Fatal(err)
		}
		if err := p.Commit(0); err != nil {
			b.Fatal(err)
		}
	}
}
