package store

// This file checks the structure of the state file before bbolt reads it, because bbolt
// trusts it. A page that leads back to itself makes bbolt overflow the stack, and a
// length beyond the end of the file makes it allocate all memory. The program cannot
// recover from either.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// The parts of bbolt's file format that the check needs. The format has not changed since
// 2014: two meta pages, of which the one with the higher transaction number and a valid
// checksum counts, and a tree of pages from there.
const (
	pageHeaderSize   = 16 // number uint64, flags uint16, count uint16, overflow uint32
	elementSize      = 16 // of a branch page or a leaf page
	bucketHeaderSize = 16 // root uint64, sequence uint64

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketFlag   = 0x01 // flag of a leaf element whose value is a bucket

	metaMagic  = 0xed0cdaed
	noFreelist = 1<<64 - 1 // value of the meta page if the file has no list of free pages
)

// A structureWalk visits all pages of a state file. The file must not change meanwhile.
type structureWalk struct {
	file     io.ReaderAt
	pageSize uint64
	pages    uint64 // number of pages in use, from the meta page
	// seen are the visited pages, and pending the pages to visit next.
	seen    map[uint64]bool
	pending []uint64
}

// errStructure reports that the pages do not form a tree.
var errStructure = errors.New("invalid structure")

// checkStructure returns errStructure or io.EOF if the pages of a state file of size
// bytes do not form a tree within the file. Other errors are errors of reading.
func checkStructure(file io.ReaderAt, size int64) error {
	w := &structureWalk{file: file, seen: make(map[uint64]bool)}
	root, free, err := w.meta()
	if err != nil {
		return err
	}
	if w.pages > uint64(size)/w.pageSize {
		return errStructure
	}
	var unused []uint64
	if free != noFreelist {
		if unused, err = w.freelist(free); err != nil {
			return err
		}
	}
	w.pending = append(w.pending, root)
	for len(w.pending) > 0 {
		n := w.pending[len(w.pending)-1]
		w.pending = w.pending[:len(w.pending)-1]
		b, err := w.page(n)
		if err == nil {
			err = w.checkElements(b)
		}
		if err != nil {
			return fmt.Errorf("page %d: %w", n, err)
		}
	}
	for _, n := range unused {
		if w.seen[n] || n >= w.pages {
			return fmt.Errorf("page %d is free and in use: %w", n, errStructure)
		}
	}
	return nil
}

// meta reads the meta pages and returns the page numbers of the root and of the list of
// free pages. It checks only as much as it needs; bbolt checks the rest.
func (w *structureWalk) meta() (root, free uint64, err error) {
	var latest uint64
	found := false
	for _, at := range w.metaOffsets() {
		b := make([]byte, 64)
		if _, err := w.file.ReadAt(b, at+pageHeaderSize); err != nil && !errors.Is(err, io.EOF) {
			return 0, 0, err
		} else if err != nil || binary.NativeEndian.Uint32(b) != metaMagic {
			continue
		}
		sum := fnv.New64a()
		sum.Write(b[:56])
		if sum.Sum64() != binary.NativeEndian.Uint64(b[56:]) {
			continue
		}
		if tx := binary.NativeEndian.Uint64(b[48:]); !found || tx > latest {
			found, latest = true, tx
			w.pageSize = uint64(binary.NativeEndian.Uint32(b[8:]))
			root, free, w.pages = binary.NativeEndian.Uint64(b[16:]), binary.NativeEndian.Uint64(b[32:]), binary.NativeEndian.Uint64(b[40:])
		}
	}
	if !found || w.pageSize < 1024 || w.pageSize > 64<<10 {
		return 0, 0, errStructure
	}
	return root, free, nil
}

// metaOffsets returns the offsets at which the second meta page may be. It follows the
// first page, but only the first meta page contains the page size, and that one may be
// damaged.
func (w *structureWalk) metaOffsets() []int64 {
	all := []int64{0}
	for size := int64(1024); size <= 64<<10; size *= 2 {
		all = append(all, size)
	}
	return all
}

// page reads page n with its overflow pages. It returns errStructure if one of them was
// read before, because the pages then form a cycle.
func (w *structureWalk) page(n uint64) ([]byte, error) {
	head := make([]byte, pageHeaderSize)
	if n < 2 || n >= w.pages {
		return nil, errStructure
	}
	if _, err := w.file.ReadAt(head, int64(n*w.pageSize)); err != nil {
		return nil, err
	}
	over := uint64(binary.NativeEndian.Uint32(head[12:]))
	if binary.NativeEndian.Uint64(head) != n || over >= w.pages-n {
		return nil, errStructure
	}
	for i := n; i <= n+over; i++ {
		if w.seen[i] {
			return nil, errStructure
		}
		w.seen[i] = true
	}
	b := make([]byte, (over+1)*w.pageSize)
	_, err := w.file.ReadAt(b, int64(n*w.pageSize))
	return b, err
}

// freelist reads the list of free pages at page n.
func (w *structureWalk) freelist(n uint64) (free []uint64, err error) {
	b, err := w.page(n)
	if err != nil {
		return nil, err
	}
	count := uint64(binary.NativeEndian.Uint16(b[10:]))
	entries := b[pageHeaderSize:]
	if count == 0xffff { // the list is long; its first entry is the count
		count, entries = binary.NativeEndian.Uint64(entries), entries[8:]
	}
	if flags := binary.NativeEndian.Uint16(b[8:]); flags != freelistPage || count > uint64(len(entries))/8 {
		return nil, errStructure
	}
	for i := range count {
		free = append(free, binary.NativeEndian.Uint64(entries[8*i:]))
	}
	return free, nil
}

// checkElements checks the elements of a page, or of a bucket stored within a value, and
// adds the pages that they lead to to pending.
func (w *structureWalk) checkElements(b []byte) error {
	flags, count := binary.NativeEndian.Uint16(b[8:]), int(binary.NativeEndian.Uint16(b[10:]))
	if flags != branchPage && flags != leafPage || pageHeaderSize+count*elementSize > len(b) {
		return errStructure
	}
	for i := range count {
		at := pageHeaderSize + i*elementSize
		e := b[at : at+elementSize]
		if flags == branchPage {
			if !endsWithin(b, at, e[0:], e[4:]) {
				return errStructure
			}
			w.pending = append(w.pending, binary.NativeEndian.Uint64(e[8:]))
			continue
		}
		if !endsWithin(b, at, e[4:], e[8:], e[12:]) {
			return errStructure
		}
		if binary.NativeEndian.Uint32(e)&bucketFlag != 0 {
			from := at + int(binary.NativeEndian.Uint32(e[4:])) + int(binary.NativeEndian.Uint32(e[8:]))
			if err := w.checkBucket(b[from : from+int(binary.NativeEndian.Uint32(e[12:]))]); err != nil {
				return err
			}
		}
	}
	return nil
}

// endsWithin reports whether an element's data ends within b. The end is the sum of at,
// the offset of the element, and parts, a position and lengths as uint32.
func endsWithin(b []byte, at int, parts ...[]byte) bool {
	end := uint64(at)
	for _, p := range parts {
		end += uint64(binary.NativeEndian.Uint32(p))
	}
	return end <= uint64(len(b))
}

// checkBucket checks the value of a bucket: the number of its root page, or a small page
// after the header.
func (w *structureWalk) checkBucket(v []byte) error {
	if len(v) < bucketHeaderSize {
		return errStructure
	}
	if root := binary.NativeEndian.Uint64(v); root != 0 {
		w.pending = append(w.pending, root)
		return nil
	}
	if len(v) < bucketHeaderSize+pageHeaderSize || binary.NativeEndian.Uint16(v[bucketHeaderSize+8:]) != leafPage {
		return errStructure
	}
	return w.checkElements(v[bucketHeaderSize:])
}
