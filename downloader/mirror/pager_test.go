package mirror

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
)

var (
	errFull   = errors.New("disk full")
	errBroken = errors.New("disk broken")
)

// A disk is a spillFile in memory that may refuse.
type disk struct {
	b      []byte
	room   int         // length that b cannot exceed; 0 for no limit
	breaks func() bool // whether a read or a write fails; nil for never
	opens  int
	writes int
	failed int // calls that returned errFull or errBroken
	noTrim bool
	closed bool
}

func (d *disk) open() (pageFile, error) {
	if d.broken() {
		return nil, errBroken
	}
	d.opens++
	return d, nil
}

func (d *disk) broken() bool {
	if d.breaks == nil || !d.breaks() {
		return false
	}
	d.failed++
	return true
}

func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, d.b[min(off, int64(len(d.b))):])
	if d.broken() {
		clear(p[n/2:])
		return n / 2, errBroken
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt that fails has written half, as a full disk does, and ruined the rest.
func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	end, err := int(off)+len(p), error(nil)
	switch {
	case d.room > 0 && end > d.room:
		d.failed++
		end, err = max(int(off), d.room), errFull
	case d.broken():
		err = errBroken
	}
	if end > len(d.b) {
		d.b = append(d.b, make([]byte, end-len(d.b))...)
	}
	n := copy(d.b[off:end], p)
	d.writes++
	if err != nil {
		clear(d.b[int(off)+n/2 : end])
		return n / 2, err
	}
	return n, nil
}

func (d *disk) Truncate(size int64) error {
	if d.noTrim {
		return errBroken
	}
	d.b = d.b[:size]
	return nil
}

func (d *disk) Close() error {
	d.closed = true
	return nil
}

// newTestSpill returns a spill with so many pages in memory, and its disk.
func newTestSpill(pages int) (*pager, *disk) {
	d := &disk{}
	s := newPager("")
	s.openFile, s.maxFrames = d.open, pages
	return s, d
}

// checkSpill tests what must hold between any two calls.
func checkSpill(t *testing.T, s *pager) {
	t.Helper()
	held := 0
	for _, f := range s.frames {
		if f.inUse {
			held++
		}
		if f.inUse != (s.byPage[f.page] == f) {
			t.Errorf("page %d: held %v, and not so found", f.page, f.inUse)
		}
	}
	if held != len(s.byPage) || held+len(s.freeFrames) != len(s.frames) || len(s.frames) > s.maxFrames {
		t.Errorf("of %d frames of %d, %d have a page, %d are found and %d idle", len(s.frames), s.maxFrames, held, len(s.byPage), len(s.freeFrames))
	}
	for _, page := range s.freePages {
		if s.byPage[page] != nil || page >= s.pageCount {
			t.Errorf("free page %d of %d is in memory", page, s.pageCount)
		}
	}
}

// TestSpillModel: pages that grow, are read anywhere and are given back hold
// what was written, whatever fails between.
func TestSpillModel(t *testing.T) {
	for _, limit := range []int{1, 2, 3, 7, 20} {
		for _, failing := range []int{0, 4} {
			t.Run(fmt.Sprintf("%d pages, %d in 10 calls fail", limit, failing), func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(uint64(limit), uint64(failing)))
				s, d := newTestSpill(limit)
				d.breaks = func() bool { return rnd.IntN(10) < failing }
				model := make(map[uint32][]byte)
				var pages []uint32
				for range 20_000 {
					switch k := rnd.IntN(10); {
					case len(pages) == 0 || k == 0 && len(pages) < 40:
						page := s.alloc()
						if _, ok := model[page]; ok {
							t.Fatalf("page %d is in use", page)
						}
						model[page], pages = nil, append(pages, page)
					case k == 1:
						i := rnd.IntN(len(pages))
						s.release(pages[i])
						delete(model, pages[i])
						pages[i] = pages[len(pages)-1]
						pages = pages[:len(pages)-1]
					default:
						writeOrRead(t, s, rnd, model, pages[rnd.IntN(len(pages))])
					}
					checkSpill(t, s)
					if t.Failed() {
						return
					}
				}
				if d.writes == 0 || (failing > 0) != (d.failed > 0) {
					t.Errorf("%d writes, %d failures", d.writes, d.failed)
				}
			})
		}
	}
}

// writeOrRead does one of them at random, and compares with the model.
func writeOrRead(t *testing.T, s *pager, rnd *rand.Rand, model map[uint32][]byte, page uint32) {
	t.Helper()
	has := model[page]
	if rnd.IntN(2) == 0 && len(has) < pageSize {
		b := randomBytes(rnd, 1+rnd.IntN(pageSize-len(has)))
		off := len(has)
		if err := s.write(page, off, b); err == nil {
			model[page] = append(has, b...)
		} else if !errors.Is(err, errBroken) {
			t.Errorf("write: %v", err)
		}
		return
	}
	off := rnd.IntN(len(has) + 1)
	got := make([]byte, rnd.IntN(len(has)-off+1))
	if len(got) == 0 {
		return
	}
	if err := s.read(page, off, got); err == nil {
		if want := has[off : off+len(got)]; !bytes.Equal(got, want) {
			t.Errorf("page %d from %d: got %.20x…, want %.20x…", page, off, got, want)
		}
	} else if !errors.Is(err, errBroken) {
		t.Errorf("read: %v", err)
	}
}

func randomBytes(rnd *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// TestSpillWrites: pages that follow each other are one write even if they are
// not full, and those that were only read are not written again.
func TestSpillWrites(t *testing.T) {
	s, d := newTestSpill(maxMemoryPages)
	b := make([]byte, pageSize/3)
	for range 10 * maxMemoryPages {
		if err := s.write(s.alloc(), 0, b); err != nil {
			t.Fatal(err)
		}
	}
	written := len(d.b) / pageSize
	if most := written / (maxWriteSize / pageSize) * 2; written < 9*maxMemoryPages || d.writes > most {
		t.Errorf("%d pages in %d writes, want at most %d", written, d.writes, most)
	}
	for i := range 2 * uint32(written) {
		if i == uint32(written) {
			d.writes = 0
		}
		if err := s.read(i%uint32(written), 0, b); err != nil {
			t.Fatal(err)
		}
	}
	if d.writes > 0 {
		t.Errorf("reading wrote %d times", d.writes)
	}
}

// TestSpillTruncates: without a page in use, the file is empty; where it cannot
// be, it is written over.
func TestSpillTruncates(t *testing.T) {
	for _, noTrim := range []bool{false, true} {
		s, d := newTestSpill(2)
		d.noTrim = noTrim
		for range 3 {
			for range 10 {
				if err := s.write(s.alloc(), 0, make([]byte, pageSize)); err != nil {
					t.Fatal(err)
				}
			}
			for page := range uint32(10) {
				s.release(page)
			}
			if got := len(d.b); got > 10*pageSize || !noTrim && got != 0 {
				t.Errorf("without truncate %v: the file has %d bytes", noTrim, got)
			}
			if s.pageCount != 0 || len(s.freePages) != 0 {
				t.Errorf("%d pages and %d free, want none", s.pageCount, len(s.freePages))
			}
		}
	}
}

// TestTempFile: nobody else can read the file, and nothing is left of it.
func TestTempFile(t *testing.T) {
	dir := t.TempDir()
	f, err := openTemp(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := f.(tempFile).Stat(); err != nil {
		t.Error(err)
	} else if perm := info.Mode().Perm(); runtime.GOOS != "windows" && perm != 0o600 {
		t.Errorf("mode is %v", perm)
	}
	if names := namesIn(t, dir); runtime.GOOS != "windows" && len(names) > 0 {
		t.Errorf("while open: %q", names)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if names := namesIn(t, dir); len(names) > 0 {
		t.Errorf("when closed: %q", names)
	}
}

// TestTempFileNamed: where an open file has to have a name, closing removes it.
func TestTempFileNamed(t *testing.T) {
	dir := t.TempDir()
	f, err := os.CreateTemp(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := (tempFile{f, true}).Close(); err != nil {
		t.Error(err)
	}
	if names := namesIn(t, dir); len(names) > 0 {
		t.Errorf("left: %q", names)
	}
}

func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}
