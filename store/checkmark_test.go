package store

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// unreadNote is the origin of a host whose page no transaction of these tests reads.
const unreadNote = "https://host250.example.com"

// newLargeState returns a fixture whose state file has some hundred notes about hosts.
func newLargeState(t *testing.T) *fixture {
	l := newFixture(t)
	must(t, l.store.write(func(t tx) error {
		b, err := t.CreateBucketIfNotExists(hostBucket)
		for n := range 300 {
			err = errors.Join(err, b.Put(fmt.Appendf(nil, "https://host%03d.example.com", n), make([]byte, 200)))
		}
		return err
	}))
	return l
}

// damageUnread damages the header of the page with unreadNote, so that only the check of the
// structure notices it.
func (l *fixture) damageUnread() {
	l.t.Helper()
	b, err := os.ReadFile(l.dbPath())
	must(l.t, err)
	size, damaged := os.Getpagesize(), 0
	f, err := os.OpenFile(l.dbPath(), os.O_WRONLY, 0)
	must(l.t, err)
	defer f.Close()
	for n := range len(b) / size {
		if bytes.Contains(b[n*size:][:size], []byte(unreadNote)) {
			_, err := f.WriteAt([]byte{0xff, 0xff, 0xff}, int64(n*size))
			must(l.t, err)
			damaged++
		}
	}
	if damaged == 0 {
		l.t.Fatalf("no page has %q", unreadNote)
	}
}

// wantFound runs a transaction in a new process and checks whether it finds the damage.
func (l *fixture) wantFound(want bool) {
	l.t.Helper()
	l.open()
	must(l.t, l.store.read(func(tx) error { return nil }))
	if got := len(l.warned) > 0; got != want {
		l.t.Errorf("damage found: got %t, want %t; warnings %q", got, want, l.warned)
	}
}

// For each window in which the structure of the state file can be damaged, the next
// transaction finds the damage. doc.go has the same list.
func TestDoubtWindows(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no check")
	}
	for name, damage := range map[string]func(*fixture){
		"power cut": func(l *fixture) {
			l.store.bootID = "the boot before this one"
			l.damageUnread()
			l.store.setChecked() // as if the disk had lost pages of the last transaction, but no metadata
		},
		"kill between commit and checkmark": func(l *fixture) {
			db, err := bolt.Open(l.dbPath(), 0o600, nil)
			must(l.t, err)
			must(l.t, db.Update(func(t *bolt.Tx) error { return t.Bucket(metaBucket).Put([]byte("k"), nil) }))
			must(l.t, db.Close())
			restoreTimes(l, l.damageUnread)
		},
		"failed write": func(l *fixture) {
			full := errors.New("disk full")
			err := l.store.write(func(tx) error { l.damageUnread(); return full })
			l.wantErr("write", err, full)
		},
		"written by another program": (*fixture).damageUnread,
		"another program, time restored": func(l *fixture) {
			if runtime.GOOS != "linux" {
				l.t.Skip("no change time")
			}
			restoreTimes(l, l.damageUnread)
		},
		"backup restored": func(l *fixture) {
			b, err := os.ReadFile(l.dbPath())
			must(l.t, err)
			l.damageUnread()
			damaged, err := os.ReadFile(l.dbPath())
			must(l.t, err)
			must(l.t, os.WriteFile(l.dbPath(), b, 0o600))
			restoreTimes(l, func() {
				must(l.t, os.WriteFile(l.dbPath()+".new", damaged, 0o600), os.Rename(l.dbPath()+".new", l.dbPath()))
			})
		},
		"checkmark deleted": func(l *fixture) {
			l.damageUnread()
			l.store.setChecked()
			must(l.t, os.Remove(l.store.checkmarkPath()))
		},
		"checkmark of another file": func(l *fixture) {
			l.damageUnread()
			must(l.t, os.WriteFile(l.store.checkmarkPath(), []byte("\n"), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLargeState(t)
			damage(l)
			l.wantFound(true)
		})
	}
}

// restoreTimes runs f and then sets the modification time of the state file back.
func restoreTimes(l *fixture, f func()) {
	l.t.Helper()
	info, err := os.Stat(l.dbPath())
	must(l.t, err)
	f()
	must(l.t, os.Chtimes(l.dbPath(), time.Now(), info.ModTime()))
}

// Without doubt the file is not checked, in this process or the next one. The sign is damage
// that only the check would find.
func TestNoDoubt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no check")
	}
	l := newLargeState(t)
	l.damageUnread()
	l.store.setChecked()
	if l.store.bootID == "" {
		t.Skip("the boot is not known")
	}
	l.wantFound(false)
	must(t, l.store.write(addRecord(1)))
	l.wantFound(false)
	_, err := l.store.Get("0000000000000001")
	must(t, err)
}

// If the boot is not known or the checkmark cannot be written, one check per process is
// enough.
func TestNoCheckmark(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no check")
	}
	for name, prepare := range map[string]func(*fixture){
		"boot not known":             func(l *fixture) { l.store.bootID = "" },
		"checkmark is a directory":   func(l *fixture) { must(l.t, os.Mkdir(l.store.checkmarkPath(), 0o700)) },
		"checkmark leads away":       func(l *fixture) { must(l.t, os.Symlink("elsewhere", l.store.checkmarkPath())) },
		"checkmark is as it must be": func(*fixture) {},
	} {
		t.Run(name, func(t *testing.T) {
			l := newFixture(t)
			prepare(l)
			for range 3 {
				must(t, l.store.write(addRecord(1)))
				if !l.store.isChecked() {
					t.Errorf("after a transaction: got the state file in doubt")
				}
			}
			l.wantWarnings(0)
		})
	}
}
