package leftover

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"pawl/chunk"
)

// recorded are control files that aria2 1.36 left of a file of 8 MiB, in pieces of 1 MiB, with four
// connections: after SIGKILL, within the first second, and after SIGINT.
var recorded = map[string]struct{ hex, want string }{
	"killed": {"0001 00000000 00000000 00100000 0000000000800000 0000000000010000 00000001 00 00000001 " +
		"00000000 00100000 00000008 0000000000000000", ""},
	"interrupted": {"0001 00000000 00000000 00100000 0000000000800000 0000000000000000 00000001 aa 00000004 " +
		"00000001 00100000 00000008 ffff000000000000 00000003 00100000 00000008 ffff000000000000 " +
		"00000005 00100000 00000008 ffff000000000000 00000007 00100000 00000008 ffff800000000000",
		"0+1310720,2097152+1310720,4194304+1310720,6291456+1327104"},
}

func unhex(t *testing.T, text string) (b []byte) {
	t.Helper()
	digits := bytes.ReplaceAll([]byte(text), []byte(" "), nil)
	for i := 0; i+1 < len(digits); i += 2 {
		var v byte
		for _, d := range digits[i : i+2] {
			v = v<<4 | byte(bytes.IndexByte([]byte("0123456789abcdef"), d))
		}
		b = append(b, v)
	}
	return b
}

func TestParseControl(t *testing.T) {
	for name, tt := range recorded {
		got, err := ParseControl(unhex(t, tt.hex))
		if err != nil || got.Size != 8<<20 || got.Finished.String() != tt.want {
			t.Errorf("%s: got %d bytes, %v, %v, want %v", name, got.Size, got.Finished, err, tt.want)
		}
	}
}

// The last piece and its blocks end with the file.
func TestParseControlOfShortPiece(t *testing.T) {
	b := control(1<<20+5, 1<<20, []byte{0x40})
	got, err := ParseControl(b)
	if want := "1048576+5"; err != nil || got.Finished.String() != want {
		t.Errorf("got %v, %v, want %s", got.Finished, err, want)
	}
}

// control returns a control file without unfinished pieces.
func control(size, piece int64, bits []byte) []byte {
	b := append([]byte{0, 1}, make([]byte, 8)...)
	b = binary.BigEndian.AppendUint32(b, uint32(piece))
	b = binary.BigEndian.AppendUint64(b, uint64(size))
	b = append(b, make([]byte, 8)...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(bits)))
	return append(append(b, bits...), 0, 0, 0, 0)
}

// What is no control file of a single file is refused.
func TestParseControlRefused(t *testing.T) {
	good := unhex(t, recorded["interrupted"].hex)
	edit := func(at int, to byte) []byte { b := slices.Clone(good); b[at] = to; return b }
	for name, b := range map[string][]byte{
		"empty": nil, "version 0": edit(1, 0), "version 2": edit(1, 2), "torrent": edit(9, 4), "no pieces": edit(11, 0),
		"another size": edit(19, 1), "huge bitfield": edit(31, 0xff), "piece beyond the end": edit(42, 9),
	} {
		if got, err := ParseControl(b); !errors.Is(err, ErrControl) {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, ErrControl)
		}
	}
	for n := range good {
		if got, err := ParseControl(good[:n]); !errors.Is(err, ErrControl) {
			t.Errorf("%d bytes: got %v, %v, want %v", n, got, err, ErrControl)
		}
	}
}

// No control file makes a range beyond the end of the file.
func FuzzParseControl(f *testing.F) {
	for _, tt := range recorded {
		f.Add(unhex(&testing.T{}, tt.hex))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<12 {
			return
		}
		c, err := ParseControl(b)
		if whole := (chunk.NewSet(chunk.Range{End: c.Size})); err == nil {
			for r := range c.Finished.All() {
				if !whole.Contains(r) {
					t.Errorf("%v is not within %d bytes", r, c.Size)
				}
			}
		}
	})
}

func TestNames(t *testing.T) {
	for path, want := range map[string]string{
		"/d/a.iso": "/d/a.iso", "/d/a.iso.part": "/d/a.iso", "/d/a.iso.crdownload": "/d/a.iso", "/d/a.part.part": "/d/a.part", "/d/.part": "/d/.part",
	} {
		if got := Target(path); got != want {
			t.Errorf("Target(%q): got %q, want %q", path, got, want)
		}
	}
	for _, n := range Names("/d/a.iso") {
		if got := Target(n); got != "/d/a.iso" {
			t.Errorf("Target(%q): got %q", n, got)
		}
	}
	for name, want := range map[string]bool{
		"a.Xy1Zk-3Q.iso.part": true, "a.Xy1Zk-3Q.iso": false, "a.iso.part": false, "a.Xy1Zk-3Qx.iso.part": false, "b.Xy1Zk-3Q.iso.part": false, "a.Xy1.k-3Q.iso.part": false,
	} {
		if got := IsSalted(name, "a.iso"); got != want {
			t.Errorf("IsSalted(%q): got %v, want %v", name, got, want)
		}
	}
}

func TestIsUnconfirmed(t *testing.T) {
	for name, want := range map[string]bool{
		"Unconfirmed 123456.crdownload": true, "Unconfirmed .crdownload": false, "Unconfirmed 1a.crdownload": false, "Unconfirmed 123456": false, "a.crdownload": false,
	} {
		if got := IsUnconfirmed(name); got != want {
			t.Errorf("IsUnconfirmed(%q): got %v, want %v", name, got, want)
		}
	}
}

// Rows of zeros are found wherever they begin and end; short ones are data.
func TestZeros(t *testing.T) {
	const size = 1<<20 + 77
	rng := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		b := bytes.Repeat([]byte{1}, size)
		var want []chunk.Range
		for off := rng.Int64N(1 << 17); off < size; off += 1 + rng.Int64N(1<<18) {
			r := chunk.Range{Off: off, End: min(size, off+minZeros-2+rng.Int64N(5))}
			if n%2 == 0 {
				r.End = min(size, off+1+rng.Int64N(1<<18))
			}
			clear(b[r.Off:r.End])
			if r.Len() >= minZeros {
				want = append(want, r)
			}
			off = r.End
		}
		got, err := Zeros(bytes.NewReader(b), size)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("got %v, %v, want %v", got, err, want)
		}
	}
}

// However many rows there are, few are remembered, and those are the longest.
func TestManyZeros(t *testing.T) {
	b := bytes.Repeat([]byte{1}, 40<<20)
	for off := 0; off+6000 < len(b); off += 6000 {
		clear(b[off : off+4200])
	}
	long := chunk.Range{Off: 30 << 20, End: 30<<20 + 9000}
	clear(b[long.Off:long.End])
	got, err := Zeros(bytes.NewReader(b), int64(len(b)))
	if err != nil || len(got) > maxZeros || len(got) == 0 {
		t.Fatalf("got %d ranges, %v", len(got), err)
	}
	if !slices.ContainsFunc(got, func(r chunk.Range) bool { return r.Contains(long) }) {
		t.Error("the longest row is missing")
	}
}
