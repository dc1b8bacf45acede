//go:build unix

package main

import (
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestReadsInputOnce checks which lists can be read only once. SIGHUP ends a run over such
// lists instead of reading them again: the unread rest would pass for the whole list, and
// --prune would delete the files that were read before.
func TestReadsInputOnce(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "list")
	if err := os.WriteFile(file, []byte("http://127.0.0.1/x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		lists []string
		want  bool
	}{
		{[]string{file, "http://127.0.0.1/list"}, false},
		{[]string{file, filepath.Join(dir, "none")}, false},
		{[]string{file, "-"}, true},
		{[]string{os.DevNull}, true},
	} {
		c := MirrorCmd{Lists: tt.lists}
		if got := c.readsPipe(); got != tt.want {
			t.Errorf("%q: got %v, want %v", tt.lists, got, tt.want)
		}
	}
}

// TestFailedListIsPrivate checks that only the user may read the list of --failed, because
// it contains the credentials of the lists.
func TestFailedListIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "failed")
	c := MirrorCmd{Failed: path}
	o, err := c.newMirrorRecorder(t.Context(), &printer{stdout: io.Discard, stderr: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.failed.commit(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("got mode %v, %v, want no permission for others", info.Mode(), err)
	}
}
