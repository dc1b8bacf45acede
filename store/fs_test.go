package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
)

// Lock locks the file that is at the path now, not one that was there before.
func TestLockFollowsName(t *testing.T) {
	part := filepath.Join(t.TempDir(), "file.part")
	_, err := osFS{}.Lock(part, false)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Lock without a file: got %v, want %v", err, fs.ErrNotExist)
	}
	first, err := osFS{}.Lock(part, true)
	must(t, err)
	defer first.Close()
	must(t, os.WriteFile(part, []byte("data"), 0o666)) // on Windows the lock is on a separate file
	if _, err := (osFS{}).Lock(part, true); !errors.Is(err, ErrBusy) {
		t.Errorf("second Lock: got %v, want %v", err, ErrBusy)
	}
	if runtime.GOOS == "windows" {
		return
	}
	must(t, os.Rename(part, part+".renamed"))
	if _, err := (osFS{}).Lock(part, false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Lock after a rename: got %v, want %v", err, fs.ErrNotExist)
	}
	second, err := osFS{}.Lock(part, true)
	must(t, err)
	must(t, second.Close())
}

// Several goroutines lock and rename one file. Only the holder of the lock has the file
// at the name, although others may have opened it before the rename.
func TestLockRace(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the lock has its own file")
	}
	part := filepath.Join(t.TempDir(), "file.part")
	renamed := make(chan int)
	for n := range 4 {
		go func() { // joined by the receives below
			count := 0
			for range 1000 {
				lock, err := osFS{}.Lock(part, true)
				if err != nil {
					continue // another goroutine holds the lock
				}
				if err := os.Rename(part, fmt.Sprint(part, n)); err != nil {
					t.Errorf("rename under the lock: %v", err)
				}
				count++
				lock.Close()
			}
			renamed <- count
		}()
	}
	total := 0
	for range 4 {
		total += <-renamed
	}
	if total == 0 {
		t.Errorf("renamed: got none, want some")
	}
}

func TestMkdirAll(t *testing.T) {
	fsys := newFixture(t).store.fs
	dir := filepath.Join(t.TempDir(), "a", "b", "c")
	must(t, fsys.MkdirAll(dir), fsys.MkdirAll(dir), os.WriteFile(filepath.Join(dir, "file"), nil, 0o666))
	if err := fsys.MkdirAll(filepath.Join(dir, "file", "d")); err == nil {
		t.Errorf("MkdirAll below a file: got no error")
	}
}

// A directory whose entry could not be synced does not count as durable in the next call.
func TestMkdirAllUnsynced(t *testing.T) {
	w := newWorld(t, scenarioNamed(t, "straight"), 1)
	for n := range 2 {
		w.fs.trap = trap{op: "syncdir", n: 1, does: "fail"}
		if err := w.store.fs.MkdirAll("/dir"); !errors.Is(err, errInjected) {
			t.Errorf("MkdirAll, call %d: got %v, want %v", n+1, err, errInjected)
		}
	}
}

// Rename without replacing works, whatever calls the file system lacks.
func TestRename(t *testing.T) {
	for _, lacking := range [][]string{nil, {"exclusive"}, {"exclusive", "hardlink"}} {
		l := newFixture(t)
		dir := t.TempDir()
		from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
		l.store.fs.FS = renameFS{osFS{}, lacking}
		l.put(from, "new")
		l.put(to, "old")
		l.wantErr("Rename", l.store.fs.Rename(from, to, false), fs.ErrExist)
		l.wantFile(to, "old")
		l.wantFile(from, "new")
		must(t, os.Remove(to), l.store.fs.Rename(from, to, false))
		l.wantFile(to, "new")
		l.wantNo(from)
		l.put(from, "newer")
		must(t, l.store.fs.Rename(from, to, true))
		l.wantFile(to, "newer")
		l.wantWarnings(len(lacking) / 2)
	}
}

// A renameFS lacks some ways to rename.
type renameFS struct {
	FS
	lacking []string
}

func (r renameFS) Rename(from, to string, replace bool) error {
	if !replace && slices.Contains(r.lacking, "exclusive") {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: syscall.EINVAL}
	}
	return r.FS.Rename(from, to, replace)
}

func (r renameFS) Hardlink(from, to string) error {
	if slices.Contains(r.lacking, "hardlink") {
		return &os.LinkError{Op: "link", Old: from, New: to, Err: syscall.EPERM}
	}
	return r.FS.Hardlink(from, to)
}

// Open refuses everything except a regular file.
func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := (osFS{}).Open(dir); err == nil {
		t.Errorf("Open of a directory: got no error")
	}
	if _, err := (osFS{}).Open(filepath.Join(dir, "nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of nothing: got %v, want %v", err, fs.ErrNotExist)
	}
	pipe := filepath.Join(dir, "pipe")
	makePipe(t, pipe)
	if _, err := (osFS{}).Open(pipe); err == nil {
		t.Errorf("Open of a pipe: got no error")
	}
}
