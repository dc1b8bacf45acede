package store

import (
	"os"
	"testing"

	"pawl/chunk"
)

// A partial file of another program becomes the part file, whatever its name is, and the file is
// finished with its bytes.
func TestTakeOver(t *testing.T) {
	for name, suffix := range map[string]string{"at the target": "", "a part file": ".part", "of a browser": ".crdownload"} {
		t.Run(name, func(t *testing.T) {
			l := newFixture(t)
			l.put(l.target+suffix, string(l.data[:60_000]))
			control := l.target + ".control"
			l.put(control, "x")
			if suffix == ".crdownload" {
				l.put(l.target, "") // a placeholder
			}
			p := l.opened(l.store.TakeOver(l.record(), l.leftover(suffix, chunk.Range{End: 60_000}, control)))
			l.wantHeld(p, "0+60000")
			must(t, p.Close())
			p = l.resume()
			if p.Dirty() || p.Lost() != 0 {
				t.Errorf("after resume: dirty %v, lost %d", p.Dirty(), p.Lost())
			}
			if lost := l.verifyAll(p); lost != 0 {
				t.Errorf("%d bytes do not match their checksums", lost)
			}
			l.write(p, 60_000, 100_000)
			l.wantFile(control, "x")
			must(t, p.Finish(l.onRecord().ModTime))
			l.wantFile(l.target, string(l.data))
			l.wantNo(control)
			l.wantNo(l.target + ".crdownload")
		})
	}
}

func (l *fixture) leftover(suffix string, held chunk.Range, control string) Leftover {
	seen, _ := l.store.Stamp(l.target + suffix)
	return Leftover{Path: l.target + suffix, Stamp: seen, Held: chunk.NewSet(held), Control: control}
}

// If a partial file cannot be taken over, it stays as it was.
func TestTakeOverRefused(t *testing.T) {
	tests := map[string]struct {
		prepare func(*fixture, *Leftover)
		want    error
	}{
		"file is still growing": {func(l *fixture, left *Leftover) { left.Stamp.Size-- }, ErrBusy},
		"another name of the file": {func(l *fixture, left *Leftover) {
			must(l.t, os.Link(left.Path, l.target+".link"))
		}, ErrNotOurs},
		"a finished file at the target": {func(l *fixture, left *Leftover) { l.put(l.target, "foreign") }, ErrForeign},
		"fewer bytes than promised":     {func(l *fixture, left *Leftover) { left.Held.Add(chunk.Range{Off: 60_000, End: 60_001}) }, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newFixture(t)
			path := l.target + ".crdownload"
			l.put(path, string(l.data[:60_000]))
			must(t, os.Chmod(path, 0o644))
			left := l.leftover(".crdownload", chunk.Range{End: 60_000}, "")
			tt.prepare(l, &left)
			_, err := l.store.TakeOver(l.record(), left)
			if tt.want != nil {
				l.wantErr("TakeOver", err, tt.want)
			} else if err == nil {
				t.Error("TakeOver: got no error")
			}
			l.wantFile(path, string(l.data[:60_000]))
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
				t.Errorf("mode: got %v, %v, want it unchanged", info.Mode(), err)
			}
			l.wantNo(l.target + ".part")
			if _, err := l.store.ByTarget(l.target); err == nil {
				t.Error("a record was made")
			}
		})
	}
}
