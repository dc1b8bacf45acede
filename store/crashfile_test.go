package store

import (
	"bytes"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"
)

// memPage is the unit in bytes in which unsynced data reaches the disk or is lost. It is
// small, and no range of the tests ends on a page boundary, so that recorded and
// unrecorded bytes share pages.
const memPage = 512

// An inode is a file or directory of a crashFS. It is guarded by the mutex of the
// crashFS.
type inode struct {
	dir      bool
	current  content  // as programs see it
	durable  content  // as it is on disk
	unsynced []change // changes from durable to current, oldest first

	reserved int64 // bytes that it occupies on the disk, if that is more than its size
}

type content struct {
	data  []byte
	mtime time.Time
}

func (c content) clone() content { return content{slices.Clone(c.data), c.mtime} }

func (c *content) grow(size int) {
	if n := size - len(c.data); n > 0 {
		c.data = append(c.data, make([]byte, n)...)
	}
}

// truncate sets the size. If the content grows, the new bytes are zeros.
func (c *content) truncate(size int) {
	c.data = slices.Clone(c.data[:min(size, len(c.data))])
	c.grow(size)
}

// A change reaches the disk completely or not at all.
type change struct {
	of    kind
	apply func(*content)
}

type kind int

const (
	ofPage kind = iota
	ofSize      // survives a failed sync, because file systems keep a journal
	ofTime      // also survives it; a DataSync does not write it
)

func newInode(dir bool, mtime time.Time) *inode {
	return &inode{dir: dir, current: content{mtime: mtime}, durable: content{mtime: mtime}}
}

// change makes a change that programs see at once.
func (n *inode) change(of kind, apply func(*content)) {
	apply(&n.current)
	n.unsynced = append(n.unsynced, change{of, apply})
}

func (n *inode) setTime(t time.Time) { n.change(ofTime, func(c *content) { c.mtime = t }) }

// write writes b at off: first a new size, if the file grows, then page by page.
func (n *inode) write(b []byte, off int, now time.Time) {
	end := off + len(b)
	if end > len(n.current.data) {
		n.change(ofSize, func(c *content) { c.grow(end) })
	}
	copy(n.current.data[off:], b)
	for start := off - off%memPage; start < end; start += memPage {
		page := slices.Clone(n.current.data[start:min(start+memPage, len(n.current.data))])
		n.change(ofPage, func(c *content) {
			if start < len(c.data) { // else the new size did not reach the disk
				copy(c.data[start:], page)
			}
		})
	}
	n.setTime(now)
}

// sync makes changes durable: all of them, or all except times.
func (n *inode) sync(times bool) {
	var left []change
	for _, x := range n.unsynced {
		if x.of == ofTime && !times {
			left = append(left, x)
			continue
		}
		x.apply(&n.durable)
	}
	n.unsynced = left
}

// failSync is a failed sync. Some of the pages reach the disk; the rest is lost, although
// programs still see it and later syncs succeed.
func (n *inode) failSync(rng *rand.Rand) {
	var left []change
	for _, x := range n.unsynced {
		if x.of != ofPage {
			left = append(left, x)
		} else if rng.IntN(2) == 0 {
			x.apply(&n.durable)
		}
	}
	n.unsynced = left
}

// afterCrash returns n as a crash leaves it. Each unsynced change survives with
// probability keep.
func (n *inode) afterCrash(rng *rand.Rand, keep float64) *inode {
	left := n.durable.clone()
	for _, x := range n.unsynced {
		if rng.Float64() < keep {
			x.apply(&left)
		}
	}
	return &inode{dir: n.dir, current: left, durable: left.clone(), reserved: n.reserved}
}

func (n *inode) info(name string) fs.FileInfo {
	size := int64(len(n.current.data))
	return memInfo{filepath.Base(name), n.dir, size, n.current.mtime, max(size, n.reserved), n}
}

// memInfo is the result of Lstat and Stat. It does not change with the file.
type memInfo struct {
	name  string
	dir   bool
	size  int64
	mtime time.Time
	taken int64 // bytes on the disk
	node  *inode
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) ModTime() time.Time { return i.mtime }
func (i memInfo) IsDir() bool        { return i.dir }
func (i memInfo) Sys() any           { return statOf(i.taken) }
func (i memInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o755
	}
	return 0o644
}

// A memFile is an open file. It stays with its inode when the name changes.
type memFile struct {
	fs     *crashFS
	node   *inode
	closed bool
}

// Chmod only fails if the file system lacks it, because there are no modes.
func (f *memFile) Chmod(fs.FileMode) error { return f.fs.lacks["chmod"] }

// step runs an operation of a file, which must be open.
func (f *memFile) step(op string, do func() error, half func()) error {
	return f.fs.step(op, func() error {
		if f.closed {
			return fs.ErrClosed
		}
		return do()
	}, half)
}

func (f *memFile) ReadAt(b []byte, off int64) (n int, err error) {
	err = f.step("read", func() error {
		n, err = bytes.NewReader(f.node.current.data).ReadAt(b, off)
		return err
	}, nil)
	return n, err
}

// WriteAt writes only a part of b if the trap lets it fail.
func (f *memFile) WriteAt(b []byte, off int64) (n int, err error) {
	write := func(b []byte) {
		f.node.write(b, int(off), f.fs.now())
		n = len(b)
	}
	err = f.step("write", func() error { write(b); return nil }, func() { write(b[:f.fs.rng.IntN(len(b))]) })
	return n, err
}

func (f *memFile) Close() error {
	return f.step("close", func() error { f.closed = true; return nil }, func() { f.closed = true })
}

func (f *memFile) Stat() (info fs.FileInfo, err error) {
	err = f.step("stat", func() error { info = f.node.info(""); return nil }, nil)
	return info, err
}

func (f *memFile) Truncate(size int64) error {
	return f.step("truncate", func() error {
		f.node.change(ofSize, func(c *content) { c.truncate(int(size)) })
		f.node.setTime(f.fs.now())
		return nil
	}, nil)
}

func (f *memFile) Sync() error {
	return f.step("sync", func() error { f.node.sync(true); return nil }, func() { f.node.failSync(f.fs.rng) })
}

func (f *memFile) StartSync() {}

func (f *memFile) DataSync() error {
	return f.step("datasync", func() error { f.node.sync(false); return nil }, func() { f.node.failSync(f.fs.rng) })
}

func (f *memFile) SetModTime(t time.Time) error {
	return f.step("settime", func() error { f.node.setTime(t); return nil }, nil)
}

// Reserve occupies the space at once and never releases it. The range must not hold data
// yet.
func (f *memFile) Reserve(_, length int64) error {
	return f.step("reserve", func() error {
		f.fs.space -= length
		f.node.reserved += length
		return nil
	}, nil)
}

// Unreserve does nothing, because these files are small.
func (f *memFile) Unreserve(_, _ int64) error { return nil }

var (
	_ FS        = (*crashFS)(nil)
	_ File      = (*memFile)(nil)
	_ io.Closer = memLock{}
)
