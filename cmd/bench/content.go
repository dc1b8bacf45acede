package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
)

// blockSize is the number of bytes that a content copies from one place in the noise.
// Each block has a number, so a program that writes a block to the wrong offset is
// caught by the checksum. 4 KiB is a guess: larger blocks are cheaper to generate.
const blockSize = 4096

// noise returns 1 MiB of random bytes, the same in each run, from which all contents
// are made. They must not compress, or a compressing connection would look fast.
func noise() []byte {
	b := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// A content is the bytes of one served file, generated when they are read, so that a
// file of 4 GiB needs neither memory nor disk. Each block is copied from a place in
// noise that depends on the block number and the seed. The first 8 bytes of a block
// are its number combined with the seed, so no two blocks of a workload are equal.
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

// sha256Hex reads r to its end and returns the SHA-256 in hex.
func sha256Hex(r io.Reader) (string, error) {
	// The struct hides WriterTo, so that CopyBuffer uses the buffer.
	h := sha256.New()
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{r}, make([]byte, 256<<10)); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// sha256File returns the SHA-256 of a file in hex.
func sha256File(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return sha256Hex(f)
}

// write writes the content to the file, which it creates or truncates.
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
