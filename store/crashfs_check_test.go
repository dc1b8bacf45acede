package store

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// The tests in this file check crashFS itself: a test of the protocol is worth no more
// than the ability of its file system to forget.

// memPart returns a new file on a new crashFS. If size is not 0, its name and its size
// are synced.
func memPart(t *testing.T, size int) (c *crashFS, f File, name string) {
	t.Helper()
	name, err := filepath.Abs("/file")
	if err != nil {
		t.Fatal(err)
	}
	c = newCrashFS(1)
	if size > 0 {
		c.plant(name, bytes.Repeat([]byte{'x'}, size))
	}
	lock, err := c.Lock(name, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lock.Close() })
	if f, err = c.Open(name); err != nil {
		t.Fatal(err)
	}
	return c, f, name
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestCrashFSForgetsData(t *testing.T) {
	c, f, name := memPart(t, 4*memPage)
	was, _ := c.peek(name)
	was = was.clone()
	page := bytes.Repeat([]byte{'y'}, memPage)
	for off := range int64(6) { // the last two are beyond the end
		if _, err := f.WriteAt(page, off*memPage); err != nil {
			t.Fatal(err)
		}
	}
	now, _ := c.peek(name)
	if left, _ := c.reboot(1, 0).peek(name); !bytes.Equal(left.data, was.data) || !left.mtime.Equal(was.mtime) {
		t.Errorf("nothing kept: got other data or time than was synced")
	}
	if left, _ := c.reboot(0, 1).peek(name); !bytes.Equal(left.data, now.data) || !left.mtime.Equal(now.mtime) {
		t.Errorf("all kept: got other data or time than was seen")
	}
	mixed := 0
	for range 50 {
		left, _ := c.reboot(0, .5).peek(name)
		if !bytes.Equal(left.data, was.data) && !bytes.Equal(left.data, now.data) {
			mixed++
		}
	}
	if mixed < 25 {
		t.Errorf("half kept: got %d of 50 that are neither old nor new, want most", mixed)
	}
}

func TestCrashFSSync(t *testing.T) {
	c, f, name := memPart(t, 10)
	was, _ := c.peek(name)
	f.WriteAt([]byte("hello"), 3*memPage)
	must(t, f.SetModTime(time.Unix(1, 0)), f.DataSync())
	now, _ := c.peek(name)
	left, _ := c.reboot(0, 0).peek(name)
	if !bytes.Equal(left.data, now.data) {
		t.Errorf("data after DataSync: got other bytes than were written")
	}
	if !left.mtime.Equal(was.mtime) {
		t.Errorf("time after DataSync: got %v, want the old one, %v", left.mtime, was.mtime)
	}
	must(t, f.Truncate(7), f.SetModTime(time.Unix(1, 0)), f.Sync())
	left, _ = c.reboot(0, 0).peek(name)
	if string(left.data) != "xxxxxxx" || !left.mtime.Equal(time.Unix(1, 0)) {
		t.Errorf("after Sync: got %q of %v, want all as seen", left.data, left.mtime)
	}
}

// A second sync after a failed one succeeds, but does not bring the lost data back.
func TestCrashFSFailedSync(t *testing.T) {
	lost := 0
	for seed := range uint64(50) {
		c, f, name := memPart(t, 10)
		c.rng = rand.New(rand.NewPCG(seed, 0))
		c.trap = trap{op: "datasync", n: 1, does: "fail"}
		f.WriteAt([]byte("hello"), 0)
		if err := f.DataSync(); !errors.Is(err, errInjected) {
			t.Fatalf("DataSync: got %v, want %v", err, errInjected)
		}
		must(t, f.DataSync())
		if now, _ := c.peek(name); string(now.data) != "helloxxxxx" {
			t.Fatalf("seen: got %q, want the written bytes", now.data)
		}
		if left, _ := c.reboot(0, 0).peek(name); string(left.data) == "xxxxxxxxxx" {
			lost++
		}
	}
	if lost < 10 || lost > 40 {
		t.Errorf("lost: got %d of 50, want about half", lost)
	}
}

func TestCrashFSForgetsNames(t *testing.T) {
	c, f, name := memPart(t, 0)
	must(t, f.Sync())
	dir, to := filepath.Dir(name), name+".renamed"
	// left returns the names that exist after a crash.
	left := func(keep float64) (names []string) {
		c := c.reboot(keep, 0)
		for _, n := range []string{name, to} {
			if _, ok := c.peek(n); ok {
				names = append(names, filepath.Base(n))
			}
		}
		return names
	}
	check := func(when string, keep float64, want ...string) {
		t.Helper()
		if got := left(keep); !slices.Equal(got, want) {
			t.Errorf("%s, keep %v: got %q, want %q", when, keep, got, want)
		}
	}
	check("created", 0)
	check("created", 1, "file")
	must(t, c.SyncDir(dir))
	check("created and synced", 0, "file")
	must(t, c.Rename(name, to, false))
	check("renamed", 0, "file")
	check("renamed", 1, "file.renamed")
	must(t, c.SyncDir(dir))
	check("renamed and synced", 0, "file.renamed")
	must(t, c.Remove(to))
	check("removed", 0, "file.renamed")
	check("removed", 1)
	must(t, c.SyncDir(dir))
	check("removed and synced", 0)
}

// A file is lost together with its directory.
func TestCrashFSForgetsDirectories(t *testing.T) {
	c, _, name := memPart(t, 1)
	dir := filepath.Join(filepath.Dir(name), "dir")
	c.change(filepath.Dir(dir), map[string]*inode{dir: newInode(true, time.Time{})})
	file := filepath.Join(dir, "file")
	lock, err := c.Lock(file, true)
	must(t, err, lock.Close(), c.SyncDir(dir))
	if _, ok := c.reboot(0, 1).peek(file); ok {
		t.Errorf("file in a lost directory: got it, want it lost")
	}
	must(t, c.SyncDir(filepath.Dir(dir)))
	if _, ok := c.reboot(0, 1).peek(file); !ok {
		t.Errorf("file in a synced directory: got it lost")
	}
}
