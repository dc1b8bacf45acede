package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
)

// blockSize is how many bytes of a content lie together in the noise.
const blockSize = 4096

// noise returns the random bytes that all contents are made of.
func noise() []byte {
	b := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// A content is the bytes of one file, of which none are kept: each block is
// copied from somewhere else in the noise, and begins with its number.
type content struct {
	noise []byte
	seed  uint64
	size  int64
}

// ReadAt implements io.ReaderAt.
func (c content) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	var stamp [8]byte
	for n < len(p) && off < c.size {
		block, in := uint64(off)/blockSize, int(off%blockSize)
		at := (block*0x9e3779b97f4a7c15 + c.seed*0xd1342543de82ef95) >> 13 % uint64(len(c.noise)-blockSize)
		b := p[n:min(int64(len(p)), int64(n)+c.size-off)]
		k := copy(b, c.noise[int(at)+in:int(at)+blockSize])
		if in < len(stamp) {
			binary.LittleEndian.PutUint64(stamp[:], block^c.seed<<40)
			copy(b[:k], stamp[in:])
		}
		n += k
		off += int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (c content) reader() *io.SectionReader { return io.NewSectionReader(c, 0, c.size) }

// sum returns the SHA-256 of what r has.
func sha256Hex(r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{r}, make([]byte, 256<<10)); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// sumFile returns the SHA-256 of a file.
func sha256File(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return sha256Hex(f)
}

// write writes the content to a new file.
func (c content) write(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, c.reader(), make([]byte, 256<<10))
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}
