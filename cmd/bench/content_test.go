package main

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

func TestContentReadAtMatchesReadAll(t *testing.T) {
	c := content{noise(), 7, 5*blockSize + 123}
	all, err := io.ReadAll(c.reader())
	if err != nil || int64(len(all)) != c.size {
		t.Fatalf("got %d bytes and %v, want %d", len(all), err, c.size)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		from := random.IntN(len(all))
		p := make([]byte, 1+random.IntN(2*blockSize))
		n, err := c.ReadAt(p, int64(from))
		want := all[from:min(len(all), from+len(p))]
		if !bytes.Equal(p[:n], want) {
			t.Fatalf("%d bytes at offset %d differ from ReadAll", len(p), from)
		}
		if (err == io.EOF) != (n < len(p)) {
			t.Fatalf("got %d of %d bytes at offset %d and error %v, want EOF only for a short read", n, len(p), from, err)
		}
	}
}

// TestContentBlocksAreUnique checks that no two blocks are equal, neither within a file
// nor between files.
func TestContentBlocksAreUnique(t *testing.T) {
	seen, n := make(map[string]bool), noise()
	for seed := range uint64(8) {
		all, err := io.ReadAll(content{n, seed, 512 * blockSize}.reader())
		if err != nil {
			t.Fatal(err)
		}
		for len(all) > 0 {
			if block := string(all[:blockSize]); seen[block] {
				t.Fatalf("a block of file %d occurs twice", seed)
			} else {
				seen[block] = true
			}
			all = all[blockSize:]
		}
	}
}

// TestContentDependsOnSeed checks that the blocks of two files also differ after their
// numbers.
func TestContentDependsOnSeed(t *testing.T) {
	a, b := content{noise(), 1, 64 * blockSize}, content{noise(), 2, 64 * blockSize}
	for off := int64(8); off < a.size; off += blockSize {
		p, q := make([]byte, blockSize-8), make([]byte, blockSize-8)
		a.ReadAt(p, off)
		b.ReadAt(q, off)
		if bytes.Equal(p, q) {
			t.Fatalf("the bytes at offset %d are the same in both files", off)
		}
	}
}

func TestContentSum(t *testing.T) {
	c := content{noise(), 3, 3*mib + 1}
	file := filepath.Join(t.TempDir(), "f")
	if err := c.write(file); err != nil {
		t.Fatal(err)
	}
	got, err := sha256File(file)
	want, _ := sha256Hex(c.reader())
	if got != want || err != nil || len(got) != 64 {
		t.Errorf("checksum of the file: got %q and %v, want %q", got, err, want)
	}
	f, _ := os.OpenFile(file, os.O_RDWR, 0)
	f.WriteAt([]byte{^c.noise[0]}, 2*mib+5)
	f.WriteAt([]byte{^c.noise[1]}, 2*mib+6)
	f.Close()
	if got, _ := sha256File(file); got == want {
		t.Error("the checksum of a changed file is the same")
	}
}
