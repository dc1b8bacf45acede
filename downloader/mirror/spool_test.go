package mirror

import (
	"bytes"
	"errors"
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

// A disk is a spoolFile in memory whose calls can be made to fail.
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

func (d *disk) open() (spoolFile, error) {
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

// TestSpool: items have the bytes that were stored, in memory and in the file, whatever their size,
// and a reset spool starts anew.
func TestSpool(t *testing.T) {
	d := &disk{noTrim: true}
	s := &spool{openFile: d.open, memory: 5000}
	rnd := rand.New(rand.NewPCG(1, 1))
	for round := range 3 {
		var items [][]byte
		var offsets []int64
		for _, n := range []int{0, 1, 100, firstRead - lengthSize, firstRead - lengthSize + 1, 4990, 5000, 20_000, 0, 10, 3000} {
			item := randomBytes(rnd, n)
			off, err := s.append(item)
			if err != nil {
				t.Fatal(err)
			}
			items, offsets = append(items, bytes.Clone(item)), append(offsets, off)
			clear(item) // the spool must not keep it
			for i, off := range offsets {
				if got, err := s.read(off); err != nil || !bytes.Equal(got, items[i]) {
					t.Fatalf("round %d, item %d of %d: got %d bytes, %v, want %d bytes", round, i, len(items), len(got), err, len(items[i]))
				}
			}
		}
		s.reset()
	}
	if d.opens != 1 || d.closed {
		t.Errorf("the file was opened %d times, closed %v, want once and false", d.opens, d.closed)
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

// randomBytes returns n random bytes.
func randomBytes(rnd *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}
