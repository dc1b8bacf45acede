package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pawl/chunk"
)

// finished downloads data as name, over a part file, and returns its record.
func finished(t *testing.T, s *Store, dir, name string, data []byte) Record {
	t.Helper()
	p, err := s.Create(Record{URL: "http://h/" + name, Target: filepath.Join(dir, name), Size: int64(len(data)), ETag: `"1"`})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.Commit(0), p.Finish(time.Time{})); err != nil {
		t.Fatal(err)
	}
	return p.Record()
}

// Damaged finds the altered pieces of a finished file, of a copy, and of an adopted file.
func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 3<<20)
	for i := range data {
		data[i] = byte(i >> 8)
	}
	rec := finished(t, s, dir, "f", data)
	check := func(what string, rec Record, path string, want chunk.Set) {
		t.Helper()
		got, err := s.Damaged(t.Context(), rec, path)
		if err != nil || !got.Equal(want) {
			t.Errorf("%s: got %v, %v, want %v", what, got, err, want)
		}
	}
	whole := chunk.NewSet(chunk.Range{End: rec.Size})
	check("intact", rec, rec.Target, chunk.Set{})
	check("missing", rec, rec.Target+"x", whole)
	copied := filepath.Join(dir, "copy")
	data[len(data)-1]++
	if err := os.WriteFile(copied, data, 0o666); err != nil {
		t.Fatal(err)
	}
	last := rec.Size - rec.PieceLength
	check("the last byte of a copy", rec, copied, chunk.NewSet(chunk.Range{Off: last, End: rec.Size}))
	if err := os.Truncate(copied, 100); err != nil {
		t.Fatal(err)
	}
	check("a short copy", rec, copied, whole)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the cause")
	cancel(cause)
	if _, err := s.Damaged(ctx, rec, rec.Target); err != cause {
		t.Errorf("cancelled: got %v, want the cause", err)
	}
	if _, err := s.Damaged(t.Context(), Record{Target: copied, Size: 100}, copied); !errors.Is(err, ErrNoSums) {
		t.Errorf("without checksums: got %v", err)
	}
}

// Adopt records a file that is there, unless it has changed meanwhile, and keeps the claims and the
// piece checksums of a record that has its ID.
func TestAdopt(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("hello"), 0o666); err != nil {
		t.Fatal(err)
	}
	seen, ok := s.Stamp(path)
	if !ok || seen.Size != 5 {
		t.Fatalf("got stamp %v, %t", seen, ok)
	}
	rec, err := s.Adopt(Record{URL: "http://h/f", Target: path, Lists: Lists{"0123456789abcdef"}}, "", seen)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.ByTarget(path); err != nil || got.ID != rec.ID || got.State != Done || !s.Intact(got) || !got.Lists.Has("0123456789abcdef") {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := os.WriteFile(path, []byte("other bytes"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Adopt(rec, "", seen); !errors.Is(err, ErrForeign) {
		t.Errorf("changed meanwhile: got %v, want ErrForeign", err)
	}

	data := make([]byte, 1<<20)
	big := finished(t, s, dir, "big", data)
	touched := time.Now().Add(-time.Hour).Truncate(time.Second)
	if err := os.Chtimes(big.Target, touched, touched); err != nil {
		t.Fatal(err)
	}
	if s.Intact(big) {
		t.Fatal("a touched file is as recorded")
	}
	seen, _ = s.Stamp(big.Target)
	if big, err = s.Adopt(big, "", seen); err != nil || !s.Intact(big) {
		t.Errorf("touched: got %v, intact %t", err, s.Intact(big))
	}
	if got, err := s.Damaged(t.Context(), big, big.Target); err != nil || got.Len() > 0 {
		t.Errorf("touched: got damage %v, %v", got, err)
	}
	moved := filepath.Join(dir, "moved")
	if err := os.Rename(big.Target, moved); err != nil {
		t.Fatal(err)
	}
	other := big
	other.ID, other.Target = "", moved
	if other, err = s.Adopt(other, big.ID, seen); err != nil || other.ID == big.ID {
		t.Errorf("moved: got %s, %v", other.ID, err)
	}
	if err := s.Remove(big.ID, false); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Damaged(t.Context(), other, moved); err != nil || got.Len() > 0 {
		t.Errorf("moved, and the old record is gone: got damage %v, %v", got, err)
	}
	for _, odd := range []string{dir, filepath.Join(dir, "missing")} {
		if _, ok := s.Stamp(odd); ok {
			t.Errorf("%q has a stamp", odd)
		}
	}
}
