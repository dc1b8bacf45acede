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

// A disk is a pageFile in memory whose calls can be made to fail.
type disk struct {
	b      []byte
	room   int         // largest length of b; 0 for no limit
	breaks func() bool // reports whether a call fails; nil for never
	opens  int
	writes int
	failed int  // calls that returned errFull or errBroken
	noTrim bool // Truncate fails
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

// WriteAt writes half of p and zeros in place of the other half if it fails, because a full disk may
// leave any bytes.
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

// newTestPager returns a pager with at most so many pages in memory, and its disk.
func newTestPager(pages int) (*pager, *disk) {
	d := &disk{}
	s := newPager("")
	s.openFile, s.maxFrames = d.open, pages
	return s, d
}

// checkPager checks the invariants of a pager between two calls.
func checkPager(t *testing.T, s *pager) {
	t.Helper()
	held := 0
	for _, f := range s.frames {
		if f.inUse {
			held++
		}
		if f.inUse != (s.byPage[f.page] == f) {
			t.Errorf("page %d: inUse is %v, but byPage differs", f.page, f.inUse)
		}
	}
	if held != len(s.byPage) || held+len(s.freeFrames) != len(s.frames) || len(s.frames) > s.maxFrames {
		t.Errorf("of %d frames (at most %d), %d are in use, %d are in byPage and %d are free", len(s.frames), s.maxFrames, held, len(s.byPage), len(s.freeFrames))
	}
	for _, page := range s.freePages {
		if s.byPage[page] != nil || page >= s.pageCount {
			t.Errorf("free page %d of %d is in memory", page, s.pageCount)
		}
	}
}

// TestPagerModel: for random operations, pages hold the bytes that were written to them, even if some
// calls of the file fail.
func TestPagerModel(t *testing.T) {
	for _, limit := range []int{1, 2, 3, 7, 20} {
		for _, failing := range []int{0, 4} {
			t.Run(fmt.Sprintf("%d pages, %d in 10 calls fail", limit, failing), func(t *testing.T) {
				rnd := rand.New(rand.NewPCG(uint64(limit), uint64(failing)))
				s, d := newTestPager(limit)
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
					checkPager(t, s)
					if t.Failed() {
						return
					}
				}
				if d.writes == 0 || (failing > 0) != (d.failed > 0) {
					t.Errorf("got %d writes and %d failures, want some writes, and failures only if calls fail", d.writes, d.failed)
				}
			})
		}
	}
}

// writeOrRead appends random bytes to a page, or reads a random part of it and compares the part with
// the model.
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

// TestPagerWrites: contiguous pages are written together, even if they are not full, and pages that
// were only read are not written again.
func TestPagerWrites(t *testing.T) {
	s, d := newTestPager(maxMemoryPages)
	b := make([]byte, pageSize/3)
	for range 10 * maxMemoryPages {
		if err := s.write(s.alloc(), 0, b); err != nil {
			t.Fatal(err)
		}
	}
	written := len(d.b) / pageSize
	if limit := written / (maxWriteSize / pageSize) * 2; written < 9*maxMemoryPages || d.writes > limit {
		t.Errorf("got %d pages in %d writes, want at least %d pages in at most %d writes", written, d.writes, 9*maxMemoryPages, limit)
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
		t.Errorf("reading caused %d writes, want none", d.writes)
	}
}

// TestPagerTruncates: when no page is in use, the file is empty. If it cannot be truncated, later
// writes overwrite it.
func TestPagerTruncates(t *testing.T) {
	for _, noTrim := range []bool{false, true} {
		s, d := newTestPager(2)
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
				t.Errorf("truncate fails %v: the file has %d bytes", noTrim, got)
			}
			if s.pageCount != 0 || len(s.freePages) != 0 {
				t.Errorf("%d pages and %d free, want none", s.pageCount, len(s.freePages))
			}
		}
	}
}

// TestTempFile: other users cannot read the file, and it has no name, at the latest after Close.
func TestTempFile(t *testing.T) {
	dir := t.TempDir()
	f, err := openTemp(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := f.(tempFile).Stat(); err != nil {
		t.Error(err)
	} else if perm := info.Mode().Perm(); runtime.GOOS != "windows" && perm != 0o600 {
		t.Errorf("got mode %v, want 0600", perm)
	}
	if names := namesIn(t, dir); runtime.GOOS != "windows" && len(names) > 0 {
		t.Errorf("while open: got files %q, want none", names)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if names := namesIn(t, dir); len(names) > 0 {
		t.Errorf("after Close: got files %q, want none", names)
	}
}

// TestTempFileNamed: if the name could not be removed while the file was open, Close removes it.
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
		t.Errorf("after Close: got files %q, want none", names)
	}
}

// namesIn returns the names of the files in dir.
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
