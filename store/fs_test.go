package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// The lock is of the file that is at the path, not of one that was there.
func TestLockFollowsName(t *testing.T) {
	part := filepath.Join(t.TempDir(), "file.part")
	_, err := osFS{}.Lock(part, false)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Lock without a file: got %v, want %v", err, fs.ErrNotExist)
	}
	first, err := osFS{}.Lock(part, true)
	must(t, err)
	defer first.Close()
	must(t, os.WriteFile(part, []byte("data"), 0o666)) // on Windows the lock has its own file
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

// Several try to lock and rename one name. Who has the lock has the name too,
// though all but one may have opened the file before it was renamed.
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
					continue // busy
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
	dir := filepath.Join(t.TempDir(), "a", "b", "c")
	must(t, osFS{}.MkdirAll(dir), osFS{}.MkdirAll(dir), os.WriteFile(filepath.Join(dir, "file"), nil, 0o666))
	if err := (osFS{}).MkdirAll(filepath.Join(dir, "file", "d")); err == nil {
		t.Errorf("MkdirAll below a file: got no error")
	}
}

// A directory whose name could not be synced is not taken as durable by the
// next call.
func TestMkdirAllUnsynced(t *testing.T) {
	if runtime.GOOS == "windows" || os.Geteuid() == 0 {
		t.Skip("needs a directory that may be written but not opened")
	}
	parent := t.TempDir()
	must(t, os.Chmod(parent, 0o300))
	defer os.Chmod(parent, 0o700)
	for n := range 2 {
		if err := (osFS{}).MkdirAll(filepath.Join(parent, "dir")); err == nil {
			t.Errorf("MkdirAll, call %d: got no error, though the parent cannot be synced", n+1)
		}
	}
}

func TestRename(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	write := func(name, content string) { must(t, os.WriteFile(name, []byte(content), 0o666)) }
	for name, rename := range map[string]func() error{
		"Rename":        func() error { return osFS{}.Rename(from, to, false) },
		"renameChecked": func() error { return renameChecked(from, to) }, // where the system cannot do it at once
	} {
		write(from, "new")
		write(to, "old")
		if err := rename(); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: got %v, want %v", name, err, fs.ErrExist)
		}
		if got, _ := os.ReadFile(to); string(got) != "old" {
			t.Errorf("%s: got %q, want the old file untouched", name, got)
		}
		must(t, os.Remove(to))
		if err := rename(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got, _ := os.ReadFile(to); string(got) != "new" {
			t.Errorf("%s: got %q, want the new file", name, got)
		}
	}
}

// Only a regular file is opened as a part file.
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
