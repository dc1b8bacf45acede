package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// A part file that was moved or deleted during the download holds nothing any more, and
// Commit reports it.
func TestPartMovedOrDeleted(t *testing.T) {
	aside := func(l *fixture) error { return os.Rename(l.target+".part", l.target+".moved") }
	for name, gone := range map[string]func(*fixture) error{
		"removed":           func(l *fixture) error { return os.Remove(l.target + ".part") },
		"directory removed": func(l *fixture) error { return os.RemoveAll(filepath.Dir(l.target)) },
		"moved":             aside,
		"replaced": func(l *fixture) error {
			return errors.Join(aside(l), os.WriteFile(l.target+".part", l.data, 0o666))
		},
		"directory moved": func(l *fixture) error { return os.Rename(filepath.Dir(l.target), filepath.Dir(l.target)+"2") },
	} {
		for _, before := range []int64{0, 20_000} { // committed before
			t.Run(fmt.Sprintf("%s after %d bytes", name, before), func(t *testing.T) {
				l := newFixture(t)
				p := l.create()
				if before > 0 {
					l.write(p, 0, before)
				}
				_, err := p.WriteAt(l.data[20_000:30_000], 20_000)
				must(t, err)
				if err := gone(l); err != nil {
					t.Skip(err) // impossible on this system
				}
				if err := p.Commit(1); !errors.Is(err, ErrGone) && (before > 0 || !errors.Is(err, fs.ErrNotExist)) {
					t.Errorf("Commit: got error %v, want %v", err, ErrGone)
				}
				l.wantHeld(p, "")
				p.Close()
				l.complete(l.resume())
			})
		}
	}
}

// The same for a part file that was truncated.
func TestPartTruncated(t *testing.T) {
	for _, size := range []int64{29_999, 10_000, 0} {
		l := newFixture(t)
		p := l.create()
		l.write(p, 0, 20_000)
		_, err := p.WriteAt(l.data[20_000:30_000], 20_000)
		must(t, err, os.Truncate(l.target+".part", size))
		l.wantErr("Commit", p.Commit(1), ErrGone)
		l.wantHeld(p, "")
		must(t, p.Close())
		l.complete(l.resume())
	}
}

// A part file that was truncated and has grown again has a hole. Commit notices it before
// the file is finished.
func TestPartTruncatedAndExtended(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 80_000)
	if info, err := p.file.Stat(); err != nil {
		t.Fatal(err)
	} else if _, ok := allocated(info); !ok {
		t.Skip("the allocated size is unknown here")
	}
	must(t, os.Truncate(l.target+".part", 0))
	l.write(p, 80_000, 100_000)
	wantDirty(t, "with a hole", p, true)
	if lost := l.verifyAll(p); lost != 80_000 {
		t.Errorf("lost: got %d, want 80000", lost)
	}
	l.wantHeld(p, "80000+20000")
	l.complete(p)
}
