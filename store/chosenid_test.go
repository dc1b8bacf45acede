package store

import (
	"bytes"
	"testing"

	"pawl/chunk"
)

const chosen = ID("00ff00ff00ff00ff")

// TestChosenID: all ways to begin a download keep a chosen ID, and refuse that of another target, whether that
// is finished or not.
func TestChosenID(t *testing.T) {
	begin := map[string]func(l *fixture, rec Record) (Record, error){
		"Create": func(l *fixture, rec Record) (Record, error) {
			p, err := l.store.Create(rec)
			if err != nil {
				return Record{}, err
			}
			defer p.Close()
			return p.Record(), nil
		},
		"CreateTemp": func(l *fixture, rec Record) (Record, error) {
			tmp, err := l.store.CreateTemp(rec)
			if err != nil {
				return Record{}, err
			}
			tmp.Write([]byte("small"))
			err = l.store.Publish(tmp)
			return tmp.Record(), err
		},
		"TakeOver": func(l *fixture, rec Record) (Record, error) {
			l.put(rec.Target+".crdownload", string(l.data[:60_000]))
			seen, _ := l.store.Stamp(rec.Target + ".crdownload")
			p, err := l.store.TakeOver(rec, Leftover{Path: rec.Target + ".crdownload", Stamp: seen, Held: chunk.NewSet(chunk.Range{End: 60_000})})
			if err != nil {
				return Record{}, err
			}
			defer p.Close()
			return p.Record(), nil
		},
		"Adopt": func(l *fixture, rec Record) (Record, error) {
			l.put(rec.Target, "adopted")
			seen, _ := l.store.Stamp(rec.Target)
			return l.store.Adopt(rec, "", seen)
		},
	}
	for name, do := range begin {
		t.Run(name, func(t *testing.T) {
			l := newFixture(t)
			rec := l.record()
			rec.ID = chosen
			got, err := do(l, rec)
			if err != nil || got.ID != chosen {
				t.Fatalf("got ID %q, error %v", got.ID, err)
			}
			if rec := l.onRecord(); rec.ID != chosen {
				t.Errorf("got ID %q on record", rec.ID)
			}
			for other, do := range begin {
				rec.Target = l.path(other)
				_, err := do(l, rec)
				l.wantErr(other+" for another target", err, ErrIDTaken)
				l.wantNo(rec.Target + ".part")
			}
			rec.ID = "xyz"
			if _, err := do(l, rec); err == nil {
				t.Error("an ID that is none was accepted")
			}
		})
	}
}

// TestChosenIDAgain: if a finished file is downloaded again with its own ID, both are on record meanwhile. The
// finished one keeps its checksums under another ID, until it is replaced.
func TestChosenIDAgain(t *testing.T) {
	l := newFixture(t)
	rec := l.record()
	rec.ID = chosen
	p := l.opened(l.store.Create(rec))
	must(t, smallPieces(p, 10_000))
	l.write(p, 0, int64(len(l.data)))
	must(t, p.Finish(l.onRecord().ModTime))
	rec.Replace = true
	p = l.opened(l.store.Create(rec))
	l.write(p, 0, 30_000)
	if got := l.onRecord(); got.ID != chosen || got.State != Active {
		t.Errorf("got record %+v, want the new download", got)
	}
	for old, err := range l.store.Finished("") {
		must(t, err)
		if old.ID == chosen || old.ID.Check() != nil {
			t.Errorf("the finished file has the ID %q", old.ID)
		}
		if damaged, err := l.store.Damaged(t.Context(), old, old.Target); err != nil || damaged.Len() > 0 {
			t.Errorf("the finished file: got damage %v, error %v", damaged, err)
		}
	}
	l.write(p, 30_000, int64(len(l.data)))
	must(t, p.Finish(l.onRecord().ModTime))
	if got := l.onRecord(); got.ID != chosen || got.State != Done {
		t.Errorf("got record %+v, want the new file", got)
	}
	l.wantFile(l.target, string(l.data))
	tmp, err := l.store.CreateTemp(rec) // a small file now
	must(t, err)
	tmp.Write(bytes.Repeat([]byte("x"), 100))
	must(t, l.store.Publish(tmp))
	err = l.store.read(func(tx tx) error {
		if n := len(tx.pages(chosen)); n > 0 {
			t.Errorf("got %d pages of checksums of the file before", n)
		}
		return nil
	})
	must(t, err)
}
