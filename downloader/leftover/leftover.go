// Package leftover finds out which bytes of an unfinished download of another program are there. It
// knows the names of the partial files of browsers and download managers, reads the control file of
// aria2, and finds the holes of a file that was filled in several places at once. It compares nothing
// with a server, so its results are guesses that the caller must prove.
package leftover

import (
	"bytes"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"pawl/chunk"
)

// suffixes are added to the name of a file while it is downloaded: by pawl, Firefox, yt-dlp and
// Transmission; by Chrome, Edge and others; by Opera; by old browsers; by WinSCP and Safari. pawl renames
// a foreign .part to .part.1 when it begins one of its own.
var suffixes = []string{".part", ".crdownload", ".opdownload", ".partial", ".filepart", ".download", ".part.1"}

// Names returns the paths at which a partial file of target may be: target itself, which curl,
// wget, aria2 and axel fill in place, and then target with the suffixes of others.
func Names(target string) []string {
	names := []string{target}
	for _, s := range suffixes {
		names = append(names, target+s)
	}
	return names
}

// Target returns the path of the finished file for the path of a partial file: the same path without
// its suffix, if it has one.
func Target(path string) string {
	for _, s := range suffixes {
		if t, ok := strings.CutSuffix(path, s); ok && filepath.Base(t) != string(filepath.Separator) && !strings.HasSuffix(t, string(filepath.Separator)) {
			return t
		}
	}
	return path
}

// saltLength is the number of letters that Firefox adds to a name.
const saltLength = 8

// SaltPrefix returns the beginning of the names that IsSalted accepts for a file of the name base.
func SaltPrefix(base string) string { return strings.TrimSuffix(base, filepath.Ext(base)) + "." }

// IsSalted reports whether Firefox may have chosen name for the partial file of base: it calls
// the partial file of a.iso, for example, a.Xy1Zk-3Q.iso.part.
func IsSalted(name, base string) bool {
	salt, begins := strings.CutPrefix(name, SaltPrefix(base))
	salt, ends := strings.CutSuffix(salt, filepath.Ext(base)+".part")
	return begins && ends && len(salt) == saltLength && !strings.ContainsAny(salt, ". ")
}

// Unconfirmed begins the names of partial files of Chrome that do not contain the name of the file.
const Unconfirmed = "Unconfirmed "

// IsUnconfirmed reports whether name is, for example, "Unconfirmed 123456.crdownload": Chrome names a
// partial file so until the name of the file is known from the server or the user.
func IsUnconfirmed(name string) bool {
	number, begins := strings.CutPrefix(name, Unconfirmed)
	number, ends := strings.CutSuffix(number, ".crdownload")
	return begins && ends && number != "" && strings.Trim(number, "0123456789") == ""
}

const (
	// minZeros is how many zeros in a row may be a hole, in bytes. A program that is killed may lack only the
	// last bytes of a range. Compressed bytes have no such rows by chance. At half, the scan is slower; at
	// double, more such holes are not seen.
	minZeros = 64
	// maxZeros is how many rows of zeros are remembered. A disk image may have millions, which
	// would fill the memory. Of more, the shorter half is taken for data.
	maxZeros = 4 << 10
	// scanBytes is how many bytes are read at a time.
	scanBytes = 256 << 10
)

// Zeros reads the first size bytes of a file and returns the ranges of at least 64 bytes in which
// all bytes are zero, in order. They are either data, or holes that no program has filled yet.
func Zeros(file io.Reader, size int64) ([]chunk.Range, error) {
	s := zeroScan{least: minZeros}
	buf := make([]byte, scanBytes)
	for off := int64(0); off < size; {
		n, err := io.ReadFull(file, buf[:min(int64(len(buf)), size-off)])
		if err != nil {
			return nil, err
		}
		s.add(buf[:n], off)
		off += int64(n)
	}
	s.end(size)
	return s.found, nil
}

// A zeroScan finds the rows of zeros in consecutive bytes.
type zeroScan struct {
	least int64 // shortest row that counts
	found []chunk.Range
	in    bool  // the last byte was zero
	start int64 // of the row, if in
}

// zeroBlock is compared with the bytes of a file, because that is faster than a loop.
var zeroBlock [minZeros]byte

// add scans b, which is at off.
func (s *zeroScan) add(b []byte, off int64) {
	for block := range slices.Chunk(b, len(zeroBlock)) {
		switch isZero := bytes.Equal(block, zeroBlock[:len(block)]); {
		case isZero && s.in:
		case isZero:
			s.in, s.start = true, off
		case s.in || block[len(block)-1] == 0: // a row ends or begins in the block
			s.addBytes(block, off)
		}
		off += int64(len(block))
	}
}

// addBytes is add byte by byte, for a block that is not zero as a whole.
func (s *zeroScan) addBytes(b []byte, off int64) {
	first := bytes.IndexFunc(b, func(r rune) bool { return r != 0 })
	if s.in {
		s.end(off + int64(first))
	}
	last := len(b)
	for b[last-1] == 0 {
		last--
	}
	if last < len(b) {
		s.in, s.start = true, off+int64(last)
	}
}

// end ends the row before off, if there is one.
func (s *zeroScan) end(off int64) {
	if s.in && off-s.start >= s.least {
		s.found = append(s.found, chunk.Range{Off: s.start, End: off})
	}
	s.in = false
	if len(s.found) > maxZeros {
		lengths := make([]int64, len(s.found))
		for i, r := range s.found {
			lengths[i] = r.Len()
		}
		slices.Sort(lengths)
		s.least = lengths[len(lengths)/2] + 1
		s.found = slices.DeleteFunc(s.found, func(r chunk.Range) bool { return r.Len() < s.least })
	}
}
