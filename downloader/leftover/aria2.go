package leftover

import (
	"encoding/binary"
	"errors"
	"fmt"

	"pawl/chunk"
)

// ControlSuffix is the suffix that aria2 adds to the name of a file for its control file.
const ControlSuffix = ".aria2"

// MaxControl is the size of the largest control file that is read, in bytes. A file of 16 TiB in
// pieces of 1 MiB has a control file of 2 MiB.
const MaxControl = 16 << 20

// inFlightBlock is the length of the blocks of a piece that aria2 has not finished, in bytes
// (BLOCK_LENGTH in its source).
const inFlightBlock = 16 << 10

// A Control is the content of a control file.
type Control struct {
	Size     int64     // of the file
	Finished chunk.Set // bytes that are in the file
}

// ErrControl means that a control file cannot be used.
var ErrControl = errors.New("unknown form of a control file")

// ParseControl reads a control file of aria2 in version 1, as "Control File (*.aria2) Format" in
// the technical notes of its manual describes it: all numbers are in network byte order. The
// error is an ErrControl.
func ParseControl(b []byte) (Control, error) {
	r := reader{b: b}
	version, _, hash := r.number(2), r.number(4), r.bytes(r.number(4))
	piece, size, _ := int64(r.number(4)), int64(r.number(8)), r.number(8)
	bits := r.bytes(r.number(4))
	switch {
	case r.failed:
		return Control{}, fmt.Errorf("%w: it is truncated", ErrControl)
	case version != 1:
		return Control{}, fmt.Errorf("%w: version %d", ErrControl, version)
	case len(hash) > 0:
		return Control{}, fmt.Errorf("%w: it is of a torrent", ErrControl)
	case piece <= 0 || size <= 0 || int64(len(bits)) != ((size+piece-1)/piece+7)/8:
		return Control{}, fmt.Errorf("%w: its lengths contradict each other", ErrControl)
	}
	c := Control{Size: size}
	c.add(bits, chunk.Range{End: size}, piece)
	for range r.number(4) {
		index, length, bits := int64(r.number(4)), int64(r.number(4)), r.bytes(r.number(4))
		if r.failed || index > size/piece || length > piece {
			return Control{}, fmt.Errorf("%w: its unfinished pieces cannot be read", ErrControl)
		}
		c.add(bits, chunk.Range{Off: index * piece, End: min(index*piece+length, size)}, inFlightBlock)
	}
	if r.failed {
		return Control{}, fmt.Errorf("%w: it is truncated", ErrControl)
	}
	return c, nil
}

// add adds the blocks of the range in whose bit is set. The highest bit of the first byte stands
// for the first block.
func (c *Control) add(bits []byte, in chunk.Range, block int64) {
	for i := range int64(len(bits)) * 8 {
		r := chunk.Range{Off: in.Off + i*block, End: min(in.Off+(i+1)*block, in.End)}
		if r.Empty() {
			return
		}
		if bits[i/8]&(0x80>>(i%8)) != 0 {
			c.Finished.Add(r)
		}
	}
}

// A reader reads numbers. After a failure all methods return zero values.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.failed, r.b = true, nil
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

// number reads a number of n bytes, at most 8.
func (r *reader) number(n int) uint64 {
	b := r.bytes(uint64(n))
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint64(append(make([]byte, 8-n), b...))
}
