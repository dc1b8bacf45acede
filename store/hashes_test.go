package store

import (
	"testing"
	"time"

	"pawl/chunk"
)

// The piece hashes of a download are kept until it ends, also if its record changes.
func TestHashes(t *testing.T) {
	want, err := chunk.NewPieceHashes("sha1", 10_000, make([]byte, 200))
	must(t, err)
	for name, end := range map[string]func(*fixture, *Part){
		"finished": func(l *fixture, p *Part) { l.write(p, 20_000, 100_000); must(l.t, p.Finish(time.Time{})) },
		"removed":  func(l *fixture, p *Part) { must(l.t, p.Close(), l.store.Remove(p.Record().ID, true)) },
		"replaced": func(l *fixture, p *Part) { must(l.t, p.Close()); l.create() },
	} {
		t.Run(name, func(t *testing.T) {
			l := newFixture(t)
			p := l.create()
			id := p.Record().ID
			if got, err := l.store.Hashes(id); err != nil || !got.IsZero() {
				t.Errorf("before: got %v, %v", got, err)
			}
			must(t, l.store.KeepHashes(id, want))
			l.write(p, 0, 20_000)
			l.open() // another process
			if got, err := l.store.Hashes(id); err != nil || got != want {
				t.Errorf("got %v, %v, want %v", got, err, want)
			}
			end(l, p)
			if got, err := l.store.Hashes(id); err != nil || !got.IsZero() {
				t.Errorf("after: got %v, %v", got, err)
			}
			l.wantErr("KeepHashes of an ended download", l.store.KeepHashes(id, want), ErrNotFound)
		})
	}
}
