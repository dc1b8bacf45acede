package mirror

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
)

const (
	// maxSpoolMemory is how many bytes of items a spool keeps in memory: 4 MiB, a guess. Half
	// of it still avoids the file for a queue of 4,000 items. A run has three spools, so that
	// double costs up to 12 MiB more.
	maxSpoolMemory = 4 << 20

	// firstRead is the size in bytes of the first read of an item, which most items fit in.
	firstRead = 1 << 10

	lengthSize = 4 // bytes before an item: its length
)

// A spoolFile is the part of *os.File that a spool uses.
type spoolFile interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
}

// A spool stores items one behind another. The newest ones are in memory, the others in a
// temporary file, which it creates when it needs it. Space is only given back by reset.
//
// A spool is not safe for concurrent use.
type spool struct {
	openFile func() (spoolFile, error)
	memory   int // most bytes of tail, unless a single item is larger

	file    spoolFile // nil before the first write
	written int64     // bytes in the file
	tail    []byte    // the bytes behind those
}

// newSpool returns an empty spool, which will create its file in dir.
func newSpool(dir string) *spool {
	return &spool{openFile: func() (spoolFile, error) { return openTemp(dir) }, memory: maxSpoolMemory}
}

// append stores an item, which must be shorter than 4 GiB, and returns its offset. It does not
// keep item. An error of the file, for example because the disk is full, changes nothing.
func (s *spool) append(item []byte) (off int64, err error) {
	if len(s.tail) > 0 && len(s.tail)+lengthSize+len(item) > s.memory {
		if err := s.flush(); err != nil {
			return 0, err
		}
	}
	off = s.written + int64(len(s.tail))
	s.tail = binary.LittleEndian.AppendUint32(s.tail, uint32(len(item)))
	s.tail = append(s.tail, item...)
	return off, nil
}

// flush writes the tail to the file. After an error, the next flush overwrites the bytes of this one.
func (s *spool) flush() error {
	if s.file == nil {
		file, err := s.openFile()
		if err != nil {
			return err
		}
		s.file = file
	}
	if _, err := s.file.WriteAt(s.tail, s.written); err != nil {
		return err
	}
	s.written += int64(len(s.tail))
	s.tail = s.tail[:0]
	return nil
}

// read returns the item at the offset that append has returned. The caller may keep it.
func (s *spool) read(off int64) ([]byte, error) {
	if off >= s.written {
		b := s.tail[off-s.written:]
		return bytes.Clone(b[lengthSize:][:binary.LittleEndian.Uint32(b)]), nil
	}
	b := make([]byte, min(firstRead, s.written-off))
	if err := s.readFile(b, off); err != nil {
		return nil, err
	}
	size := int(binary.LittleEndian.Uint32(b))
	b = b[lengthSize:]
	if size <= len(b) {
		return b[:size], nil
	}
	item := make([]byte, size)
	n := copy(item, b)
	return item, s.readFile(item[n:], off+lengthSize+int64(n))
}

// readFile fills b with the bytes at off in the file.
func (s *spool) readFile(b []byte, off int64) error {
	n, err := s.file.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	return err
}

// reset discards all items.
func (s *spool) reset() {
	if s.written > 0 {
		s.file.Truncate(0) // a failure is harmless: later items overwrite the file
	}
	s.written, s.tail = 0, s.tail[:0]
}

// close discards all items and closes the file, which removes it. It may be called again.
func (s *spool) close() error {
	file := s.file
	s.file, s.written, s.tail = nil, 0, nil
	if file == nil {
		return nil
	}
	return file.Close()
}

// A tempFile is a file that no longer exists once it is closed.
type tempFile struct {
	*os.File
	named bool // the name could not be removed while the file is open, so Close must do it
}

// openTemp creates a file in dir with mode 0600. It removes the name at once if the system
// allows this for an open file, so that a crash leaves nothing behind.
func openTemp(dir string) (spoolFile, error) {
	f, err := os.CreateTemp(dir, ".pawl-queue-*")
	if err != nil {
		return nil, err
	}
	return tempFile{f, os.Remove(f.Name()) != nil}, nil
}

func (f tempFile) Close() error {
	err := f.File.Close()
	if f.named {
		if removeErr := os.Remove(f.Name()); err == nil {
			err = removeErr
		}
	}
	return err
}
