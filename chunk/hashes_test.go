package chunk

import (
	"bytes"
	"crypto/sha1"
	"testing"
)

func TestPieceHashes(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 25) // 250 bytes are 3 pieces of 100
	var digests []byte
	for _, b := range [][]byte{data[:100], data[100:200], data[200:]} {
		sum := sha1.Sum(b)
		digests = append(digests, sum[:]...)
	}
	p, err := NewPieceHashes("sha1", 100, digests)
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.MarshalText()
	var back PieceHashes
	if err := errorsOf(err, back.UnmarshalText(text)); err != nil || back != p {
		t.Errorf("got %v, error %v from %q, want the same hashes", back, err, text)
	}
	for size, want := range map[int64]bool{-1: false, 0: false, 200: false, 201: true, 300: true, 301: false} {
		if got := p.Fits(size); got != want {
			t.Errorf("Fits(%d): got %v, want %v", size, got, want)
		}
	}
	for off := range int64(250) {
		r := p.Piece(off, 250)
		h := p.Sum(r.Off).NewHash()
		h.Write(data[r.Off:r.End])
		if !p.Sum(off).Matches(h) || off < r.Off || off >= r.End {
			t.Fatalf("byte %d: piece %v with digest %v does not match", off, r, p.Sum(off))
		}
	}
	if p.Size() != 60 || p.Algorithm() != "sha1" || p.IsZero() || !(PieceHashes{}).IsZero() {
		t.Errorf("got %d bytes of %s", p.Size(), p.Algorithm())
	}
}

func errorsOf(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestPieceHashesInvalid(t *testing.T) {
	for _, tt := range []struct {
		algorithm string
		length    int64
		digests   int
	}{{"sha1", 0, 20}, {"sha1", -1, 20}, {"sha1", 1, 19}, {"sha1", 1, 0}, {"tiger", 1, 24}} {
		if p, err := NewPieceHashes(tt.algorithm, tt.length, make([]byte, tt.digests)); err == nil {
			t.Errorf("%v: got %v, want an error", tt, p)
		}
	}
	for _, text := range []string{"x", "sha1", "sha1:", "sha1:5:", "sha1:5:!", "sha1:x:AAAA", ":5:AAAA", "sha1:0:AAAAAAAAAAAAAAAAAAAAAAAAAAA="} {
		if err := new(PieceHashes).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("UnmarshalText(%q): got no error", text)
		}
	}
	if text, err := (PieceHashes{}).MarshalText(); len(text) > 0 || err != nil {
		t.Errorf("zero value: got %q, %v", text, err)
	}
}
