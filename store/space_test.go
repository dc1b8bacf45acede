package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"pawl/chunk"
)

// Reservations follow the received bytes, wherever these are.
func TestNextReservation(t *testing.T) {
	const mib = 1 << 20
	for _, tc := range []struct {
		held     []chunk.Range
		size     int64
		reserved int64
		want     chunk.Range
	}{
		{nil, 10 << 30, 0, chunk.Range{End: minReserveAhead}},
		{nil, 5 * mib, 0, chunk.Range{End: 5 * mib}},
		{nil, 5 * mib, 5 * mib, chunk.Range{}},
		{nil, chunk.Unbounded, 0, chunk.Range{}},
		{[]chunk.Range{{End: mib}}, 10 << 30, minReserveAhead, chunk.Range{}}, // too little is missing
		{[]chunk.Range{{End: 100 * mib}}, 10 << 30, 60 * mib, chunk.Range{Off: 60 * mib, End: 200 * mib}},
		{[]chunk.Range{{Off: 100 * mib, End: 200 * mib}}, 10 << 30, 50 * mib, chunk.Range{Off: 50 * mib, End: 100 * mib}},
		{[]chunk.Range{{Off: 50 * mib, End: 200 * mib}}, 10 << 30, 50 * mib, chunk.Range{Off: 50 * mib, End: 300 * mib}},
		{[]chunk.Range{{End: 5 << 30}}, 10 << 30, 5 << 30, chunk.Range{Off: 5 << 30, End: 6 << 30}},
		{[]chunk.Range{{End: 5 << 30}}, 5<<30 + 7, 5 << 30, chunk.Range{Off: 5 << 30, End: 5<<30 + 7}},
	} {
		p := &Part{size: tc.size, reserved: tc.reserved}
		p.written.set = chunk.NewSet(tc.held...)
		if got := p.nextReservation(); got != tc.want {
			t.Errorf("held %s of %d, reserved %d: got %s, want %s", p.written.set, tc.size, tc.reserved, got, tc.want)
		}
	}
}

// Close frees reserved blocks, inside the file and behind its end, also those of a killed
// process. The held bytes stay trusted.
func TestCloseReleasesSpace(t *testing.T) {
	for _, killed := range []bool{false, true} {
		l := newFixture(t)
		rec := l.record()
		rec.Size = 100 << 20
		p := l.opened(l.store.Create(rec))
		data := make([]byte, 64<<10)
		for _, off := range []int64{0, 10 << 20, 30 << 20} {
			_, err := p.WriteAt(data, off)
			must(t, err)
		}
		must(t, p.file.Reserve(0, 60<<20), p.Commit(0))
		info, err := os.Lstat(p.name)
		must(t, err)
		if n, known := allocated(info); !known || n < 60<<20 {
			t.Skip("this file system does not reserve")
		}
		if killed {
			p.file.Close()
			p.lock.Close()
			p.file, p.lock = nil, nil
			p = l.resume()
			must(t, p.Commit(0))
			if p.Dirty() {
				t.Errorf("the part file of a killed process is Dirty")
			}
		}
		must(t, p.Close())
		if info, err = os.Lstat(p.name); err != nil {
			t.Fatal(err)
		}
		if n, _ := allocated(info); n > 1<<20 || info.Size() != 30<<20+64<<10 {
			t.Errorf("killed %t: %d bytes are allocated for %d held, size %d", killed, n, 3*len(data), info.Size())
		}
		p = l.resume()
		rec = p.Record()
		if p.Dirty() || p.Lost() > 0 || rec.Held.Len() != int64(3*len(data)) {
			t.Errorf("killed %t: resumed: Dirty %t, lost %d, held %s", killed, p.Dirty(), p.Lost(), rec.Held)
		}
	}
}

// A download that would leave too little free space does not start, or fails while it
// runs.
func TestMinFree(t *testing.T) {
	w := newWorld(t, scenarioNamed(t, "straight"), 1)
	w.fs.space = 5000
	w.store.minFree = 2500
	s := &session{w: w}
	s.create("v1", 2900)
	if !errors.Is(s.err, ErrNoSpace) {
		t.Errorf("Create: got %v, want ErrNoSpace", s.err)
	}
	w.store.minFree = 2000
	s = &session{w: w}
	s.create("v1", 2900)
	s.write(0, 700)
	s.commit()
	if s.err != nil {
		t.Fatal(s.err)
	}
	w.fs.space = 1999
	if err := s.part.Reserve(); !errors.Is(err, ErrNoSpace) {
		t.Errorf("Reserve: got %v, want ErrNoSpace", err)
	}
	s.close()
	w.fs.space = 5000
	w.complete()
}

// TestCheckWritable checks directories in which files can and cannot be created. Nothing is left
// over.
func TestCheckWritable(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(filepath.Join(dir, "state"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, "file"), nil, 0o666)
	for path, want := range map[string]bool{"": true, "none/none": true, "file": false, "file/none": false} {
		if err := s.CheckWritable(filepath.Join(dir, path)); (err == nil) != want {
			t.Errorf("%q: got %v, want success: %v", path, err, want)
		}
	}
	if names, _ := filepath.Glob(filepath.Join(dir, ".*")); len(names) > 0 {
		t.Errorf("left over: %q", names)
	}
	os.RemoveAll(filepath.Join(dir, "state"))
	os.WriteFile(filepath.Join(dir, "state"), nil, 0o666)
	if err := s.CheckWritable(dir); err == nil {
		t.Error("without a state directory: got nil")
	}
}
