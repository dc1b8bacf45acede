package store

// This file takes over the partial file of another program; see "Partial files of other
// programs" in the package comment.

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"pawl/chunk"
)

// A Leftover is a partial file that another program has left.
type Leftover struct {
	Path    string    // absolute; in the directory of the target, perhaps the target itself
	Stamp   FileStamp // of the file when its bytes were compared with the server's
	Held    chunk.Set // ranges that have the bytes of the wanted file
	Control string    // absolute path of a file that describes it; see Record.Control
}

// TakeOver starts a download with the bytes of a partial file, which becomes its part file. The
// caller must have compared its bytes with the server's, and sets the same fields of rec as for
// Create. An empty file at the target, which browsers put there, is removed. If the file was
// changed since it was compared, the error is ErrBusy, because its program may still be at work;
// the other errors are as for Create. After an error the file is at its old path.
func (s *Store) TakeOver(rec Record, left Leftover) (*Part, error) {
	if err := s.checkID(&rec); err != nil {
		return nil, err
	}
	info, err := s.fs.Lstat(left.Path)
	if err != nil {
		return nil, err
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%q: %w: it is not a regular file", left.Path, ErrIrregular)
	case !left.Stamp.is(info):
		return nil, fmt.Errorf("%q: it is being changed by another program: %w", left.Path, ErrBusy)
	}
	if err := s.fs.CheckPrivate(left.Path, info); err != nil {
		return nil, notOursError{err}
	}
	rec.PartNumber, rec.Root, rec.Mixed, rec.Control = 0, s.root, true, left.Control
	for {
		p, err := s.tryTakeOver(rec, left, info.Mode().Perm())
		if !errors.Is(err, errNameTaken) {
			return p, err
		}
		if err := rec.nextPartName(err); err != nil {
			return nil, err
		}
	}
}

// tryTakeOver is TakeOver with the part file name that rec.PartNumber says. It returns
// errNameTaken if that name cannot be used. mode is the mode of the partial file.
func (s *Store) tryTakeOver(rec Record, left Leftover, mode fs.FileMode) (_ *Part, err error) {
	if err := s.checkNames(&rec); err != nil {
		return nil, err
	}
	if left.Path != rec.Part() && s.existsAt(rec.Part()) {
		return nil, fmt.Errorf("%q: %w", rec.Part(), errNameTaken)
	}
	if left.Path != rec.Target {
		if err := s.RemovePlaceholder(rec.Target); err != nil {
			return nil, err
		}
		if err := s.checkTarget(&rec); err != nil {
			return nil, err
		}
	}
	if left.Path != rec.Part() {
		if err := s.fs.Rename(left.Path, rec.Part(), false); err != nil {
			return nil, err
		}
	}
	var p *Part
	defer func() {
		if err == nil {
			return
		}
		if f, openErr := s.fs.Open(rec.Part()); openErr == nil {
			f.Chmod(mode)
			f.Close()
		}
		if left.Path != rec.Part() {
			err = errors.Join(err, s.fs.Rename(rec.Part(), left.Path, false))
		}
		if p != nil {
			p.Close()
		}
	}()
	lock, err := s.lock(&rec, false)
	if err != nil {
		return nil, err
	}
	p = s.newPart(rec, lock)
	return p, p.takeOver(left.Held)
}

// takeOver makes the ranges of held, which are in the locked part file, bytes of the download,
// and records it.
func (p *Part) takeOver(held chunk.Set) error {
	if err := p.openNew(); err != nil {
		return err
	}
	if err := p.file.Chmod(partMode); err != nil {
		return err
	}
	buf := make([]byte, 256<<10)
	for r := range held.All() {
		if err := p.addSums(r, buf); err != nil {
			return err
		}
	}
	if err := p.file.DataSync(); err != nil {
		return p.breakWith(err)
	}
	if err := p.syncDirOnce(); err != nil {
		return p.breakWith(err)
	}
	info, err := p.statInPlace()
	if err != nil {
		return err
	}
	n, _ := allocated(info)
	if err := p.checkSpace(max(n, held.Len())); err != nil {
		return err
	}
	p.allocated = n
	p.rec.Held, p.rec.ChangeTime = held.Clone(), changeTime(info)
	return p.recordNew(p.written.takeUnsaved(true))
}

// addSums adds the bytes of r, which are in the part file, to the written ones.
func (p *Part) addSums(r chunk.Range, buf []byte) error {
	if r.Off < 0 || r.End > p.size {
		return fmt.Errorf("take over %q: range %s is beyond the end", p.name, r)
	}
	for r.Off < r.End {
		n, err := p.file.ReadAt(buf[:min(int64(len(buf)), r.Len())], r.Off)
		if n == 0 {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		var sums []pieceSum
		for i, sum := range chunk.PieceSums(p.written.sums.Length(), r.Off, buf[:n]) {
			sums = append(sums, pieceSum{i, sum})
		}
		p.written.add(chunk.Range{Off: r.Off, End: r.Off + int64(n)}, sums)
		r.Off += int64(n)
	}
	return nil
}

// RemovePlaceholder removes an empty file of this user at the absolute path target. Firefox puts
// one there while it downloads to another name. The new part file of another download, which is empty,
// too, is none. Without such a file it does nothing.
func (s *Store) RemovePlaceholder(target string) error {
	info, err := s.fs.Lstat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	if info.Mode().IsRegular() && info.Size() == 0 && !strings.HasSuffix(target, partSuffix) && s.fs.CheckPrivate(target, info) == nil && !s.fs.Locked(target) {
		return s.fs.Remove(target)
	}
	return nil
}

// NamesWith returns the names in dir that begin with prefix, in any order.
func (s *Store) NamesWith(dir, prefix string) ([]string, error) {
	return s.fs.NamesWith(filepath.Clean(dir), prefix)
}
