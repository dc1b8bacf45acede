package store

import (
	"io"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// A crashFS is a file system in memory that can lose its power. After that it keeps
// everything that was synced, and each unsynced change with a given probability. It has
// two views of everything: the current one, which programs see, and the durable one on
// disk. Directories have no modification times, and there are no symbolic links.
type crashFS struct {
	mu      sync.Mutex // guards all fields below
	rng     *rand.Rand
	trap    trap
	lacks   map[string]error // operations that this file system lacks, with their errors
	down    bool             // the power is off; every operation fails
	names   map[string]*inode
	durable map[string]*inode // names as on disk
	pending []dirChange       // changes from durable to names, oldest first
	locked  map[*inode]bool
	clock   int64 // in seconds; every write advances it by one
	space   int64 // free bytes; only Reserve uses them up
}

// A dirChange is a change of directory entries. It reaches the disk completely or not at
// all.
type dirChange struct {
	dir  string
	sets map[string]*inode // nil for a name that is removed
}

func (m dirChange) apply(names map[string]*inode) {
	for name, node := range m.sets {
		if names[name] = node; node == nil {
			delete(names, name)
		}
	}
}

// newCrashFS returns an empty file system with unlimited space.
func newCrashFS(seed uint64) *crashFS {
	return &crashFS{
		rng:     rand.New(rand.NewPCG(seed, 0)),
		names:   map[string]*inode{},
		durable: map[string]*inode{},
		locked:  map[*inode]bool{},
		clock:   1e9,
		space:   math.MaxInt64,
	}
}

// reboot returns the file system after a power failure. Unsynced directory entries
// survive with the probability names, unsynced changes of files with the probability
// data.
func (c *crashFS) reboot(names, data float64) *crashFS {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := maps.Clone(c.durable)
	for _, m := range c.pending {
		if c.rng.Float64() < names {
			m.apply(left)
		}
	}
	next := newCrashFS(c.rng.Uint64())
	next.clock, next.space, next.lacks = c.clock, c.space, c.lacks
	nodes := map[*inode]*inode{}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		node := left[name]
		if dir := filepath.Dir(name); !isRoot(dir) && next.names[dir] == nil {
			continue // its directory is lost
		}
		if nodes[node] == nil {
			nodes[node] = node.afterCrash(c.rng, data)
		}
		next.names[name] = nodes[node]
	}
	next.durable = maps.Clone(next.names)
	return next
}

// unsynced reports whether a crash now could lose directory entries, and data.
func (c *crashFS) unsynced() (names, data bool) {
	for _, node := range c.names {
		data = data || len(node.unsynced) > 0
	}
	return len(c.pending) > 0, data
}

// plant creates a durable file without counting an operation.
func (c *crashFS) plant(name string, data []byte) {
	node := newInode(false, time.Unix(c.clock, 0))
	node.current.data, node.durable.data = slices.Clone(data), slices.Clone(data)
	for dir := filepath.Dir(name); !isRoot(dir); dir = filepath.Dir(dir) {
		c.names[dir] = newInode(true, time.Time{})
		c.durable[dir] = c.names[dir]
	}
	c.names[name], c.durable[name] = node, node
}

// peek returns the current content of a file without counting an operation.
func (c *crashFS) peek(name string) (content, bool) {
	if node := c.names[name]; node != nil {
		return node.current, true
	}
	return content{}, false
}

func isRoot(dir string) bool { return filepath.Dir(dir) == dir }

// change makes a change of directory entries that programs see at once.
func (c *crashFS) change(dir string, sets map[string]*inode) {
	m := dirChange{dir, sets}
	m.apply(c.names)
	c.pending = append(c.pending, m)
}

// node returns the file or directory at name.
func (c *crashFS) node(op, name string) (*inode, error) {
	if node := c.names[name]; node != nil {
		return node, nil
	}
	if isRoot(name) {
		return newInode(true, time.Time{}), nil
	}
	return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

func (c *crashFS) now() time.Time {
	c.clock++
	return time.Unix(c.clock, 0)
}

func (c *crashFS) Lock(part string, create bool) (io.Closer, error) {
	var node *inode
	err := c.step("lock", func() (err error) {
		if node = c.names[part]; node == nil && create {
			dir := filepath.Dir(part)
			if _, err := c.node("lock", dir); err != nil {
				return err
			}
			c.change(dir, map[string]*inode{part: newInode(false, c.now())})
		}
		if node, err = c.node("lock", part); err != nil {
			return err
		}
		if err := c.lacks["lock"]; err != nil {
			return err
		}
		if c.locked[node] {
			return ErrBusy
		}
		c.locked[node] = true
		return nil
	}, nil)
	return memLock{c, node}, err
}

type memLock struct {
	fs   *crashFS
	node *inode
}

func (l memLock) Close() error {
	unlock := func() { delete(l.fs.locked, l.node) }
	return l.fs.step("unlock", func() error { unlock(); return nil }, unlock)
}

// OpenRead is the same as Open, because a crash cannot lose anything that is only read.
func (c *crashFS) OpenRead(name string) (ReadFile, error) { return c.Open(name) }

func (c *crashFS) Open(name string) (_ File, err error) {
	f := &memFile{fs: c}
	err = c.step("open", func() error {
		f.node, err = c.node("open", name)
		return err
	}, nil)
	return f, err
}

func (c *crashFS) CreateTemp(dir string) (f File, err error) {
	err = c.step("unnamed", func() error {
		if _, err := c.node("unnamed", dir); err != nil {
			return err
		}
		f = &memFile{fs: c, node: newInode(false, c.now())}
		return nil
	}, nil)
	return f, err
}

func (c *crashFS) LinkTemp(f File, name string) error {
	return c.step("link", func() error {
		if c.names[name] != nil {
			return &os.LinkError{Op: "link", New: name, Err: fs.ErrExist}
		}
		c.change(filepath.Dir(name), map[string]*inode{name: f.(*memFile).node})
		return nil
	}, nil)
}

func (c *crashFS) Lstat(name string) (info fs.FileInfo, err error) {
	op := "lstat"
	if strings.HasSuffix(name, ".part") {
		op = "lstat part"
	}
	err = c.step(op, func() error {
		node, err := c.node("lstat", name)
		if err == nil {
			info = node.info(name)
		}
		return err
	}, nil)
	return info, err
}

// CheckPrivate accepts all files, because there are no other users.
func (c *crashFS) CheckPrivate(string, fs.FileInfo) error { return nil }

func (c *crashFS) SameFile(a, b fs.FileInfo) bool { return a.(memInfo).node == b.(memInfo).node }

func (c *crashFS) Mkdir(dir string) error {
	return c.step("mkdir", func() error {
		parent := filepath.Dir(dir)
		if _, err := c.node("mkdir", parent); err != nil {
			return err
		}
		c.change(parent, map[string]*inode{dir: newInode(true, time.Time{})})
		return nil
	}, nil)
}

func (c *crashFS) Rename(from, to string, replace bool) error {
	return c.step("rename", func() error {
		if err := c.lacks["exclusive"]; err != nil && !replace {
			return err
		}
		node, err := c.node("rename", from)
		if err != nil {
			return err
		}
		if err := c.lacks["overwrite"]; err != nil && c.names[to] != nil {
			return err
		}
		if there := c.names[to]; there != nil && (there.dir || !replace) {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: fs.ErrExist}
		}
		c.change(filepath.Dir(to), map[string]*inode{from: nil, to: node})
		return nil
	}, nil)
}

func (c *crashFS) Hardlink(from, to string) error {
	return c.step("hardlink", func() error {
		node, err := c.node("link", from)
		if err != nil {
			return err
		}
		if c.names[to] != nil {
			return &os.LinkError{Op: "link", Old: from, New: to, Err: fs.ErrExist}
		}
		c.change(filepath.Dir(to), map[string]*inode{to: node})
		return nil
	}, nil)
}

func (c *crashFS) Remove(name string) error {
	return c.step("remove", func() error {
		if _, err := c.node("remove", name); err != nil {
			return err
		}
		c.change(filepath.Dir(name), map[string]*inode{name: nil})
		return nil
	}, nil)
}

func (c *crashFS) SyncDir(dir string) error {
	return c.step("syncdir", func() error {
		var left []dirChange
		for _, m := range c.pending {
			if m.dir == dir {
				m.apply(c.durable)
			} else {
				left = append(left, m)
			}
		}
		c.pending = left
		return nil
	}, nil)
}

func (c *crashFS) NamesWith(dir, prefix string) (names []string, err error) {
	err = c.step("names", func() error {
		for _, path := range slices.Sorted(maps.Keys(c.names)) {
			if filepath.Dir(path) == dir && strings.HasPrefix(filepath.Base(path), prefix) {
				names = append(names, filepath.Base(path))
			}
		}
		return nil
	}, nil)
	return names, err
}

func (c *crashFS) FreeSpace(string) (free int64, err error) {
	err = c.step("free", func() error { free = c.space; return nil }, nil)
	return free, err
}
