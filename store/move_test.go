package store

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A part file that was moved is recognised, and its download continues at the new place. A copy on
// another disk has another change time, and is known by its bytes.
func TestMove(t *testing.T) {
	for name, change := range map[string]func(*fixture, string){
		"moved":                     func(*fixture, string) {},
		"copied":                    func(l *fixture, part string) { l.rewrite(part) },
		"copied, with a wrong byte": func(l *fixture, part string) { l.rewrite(part); l.flip(part, 15_000) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newFixture(t)
			p := l.create()
			l.write(p, 0, 60_000)
			must(t, p.Close())
			id := l.onRecord().ID
			to := filepath.Join(filepath.Dir(filepath.Dir(l.target)), "other")
			must(t, os.Rename(filepath.Dir(l.target), to))
			old := l.target
			l.target = filepath.Join(to, filepath.Base(l.target))
			change(l, l.target+".part")
			for _, path := range []string{l.target, l.target + ".part"} {
				if rec, err := l.store.FindMoved(path); err != nil || rec.ID != id {
					t.Errorf("FindMoved(%q): got %q, %v", path, rec.ID, err)
				}
			}
			if below, err := l.store.FindMovedBelow(filepath.Dir(to)); err != nil || len(below) != 0 {
				t.Errorf("FindMovedBelow: got %v, %v, want none, because the directory has another name", below, err)
			}
			if below, err := l.store.FindMovedBelow(to); err != nil || below[id] != l.target {
				t.Errorf("FindMovedBelow: got %v, %v", below, err)
			}
			must(t, l.store.Move(id, l.target))
			if rec, err := l.store.ByTarget(old); err == nil {
				t.Errorf("the old target has the record %q still", rec.ID)
			}
			p = l.resume()
			if p.Dirty() {
				l.verifyAll(p)
			}
			want := int64(60_000)
			if name == "copied, with a wrong byte" {
				want -= 10_000 // the piece
			}
			if held := p.Record().Held; held.Len() != want {
				t.Errorf("held: got %v, want %d bytes", held, want)
			}
		})
	}
}

// A file with other bytes, or of a download whose part file is where it was, is not moved.
func TestNotMoved(t *testing.T) {
	for name, prepare := range map[string]func(*fixture, string){
		"other bytes": func(l *fixture, to string) {
			must(l.t, os.Remove(l.target+".part"))
			l.put(to+".part", string(make([]byte, 60_000)))
		},
		"a copy beside the original": func(l *fixture, to string) { l.put(to+".part", string(l.data[:60_000])) },
		"no file":                    func(l *fixture, to string) { must(l.t, os.Remove(l.target+".part")) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newFixture(t)
			p := l.create()
			l.write(p, 0, 60_000)
			must(t, p.Close())
			to := filepath.Join(filepath.Dir(filepath.Dir(l.target)), "other", filepath.Base(l.target))
			prepare(l, to)
			if rec, err := l.store.FindMoved(to); err == nil {
				t.Errorf("FindMoved: got %q", rec.Target)
			}
			if err := l.store.Move(l.onRecord().ID, to); err == nil {
				t.Error("Move: got no error")
			}
		})
	}
}

// rewrite makes path another file with the same bytes.
func (l *fixture) rewrite(path string) {
	l.t.Helper()
	b, err := os.ReadFile(path)
	must(l.t, err)
	time.Sleep(10 * time.Millisecond) // for another change time
	must(l.t, os.Remove(path))
	must(l.t, os.WriteFile(path, b, 0o600))
}

func (l *fixture) flip(path string, off int64) {
	l.t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(l.t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte{l.data[off] ^ 1}, off)
	must(l.t, err)
}
