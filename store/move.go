package store

// This file continues a download whose part file somebody has moved, for example with its
// directory.

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"pawl/chunk"
)

// FindMoved returns the unfinished download whose part file was moved to the directory of the
// absolute path, which names the finished file or the part file there, or ErrNotFound. The part
// file must be gone from its old place, and have the recorded change time or bytes. A file of
// which no piece is right is none.
func (s *Store) FindMoved(path string) (Record, error) {
	records, err := s.Unfinished()
	if err != nil {
		return Record{}, err
	}
	for _, r := range records {
		moved := r.movedTo(filepath.Join(filepath.Dir(path), filepath.Base(r.Target)))
		if (path == moved.Target || path == moved.Part()) && s.isMoved(&r, &moved) {
			return r, nil
		}
	}
	return Record{}, fmt.Errorf("%q: %w", path, ErrNotFound)
}

// FindMovedBelow returns the targets that the unfinished downloads have now whose part files were
// moved to the absolute directory dir, or to directories below it that have kept their names, by
// their IDs.
func (s *Store) FindMovedBelow(dir string) (map[ID]string, error) {
	records, err := s.Unfinished()
	if err != nil {
		return nil, err
	}
	found := make(map[ID]string)
	for _, r := range records {
		rest := r.Target
		for rel := ""; filepath.Dir(rest) != rest && found[r.ID] == ""; rest = filepath.Dir(rest) {
			rel = filepath.Join(filepath.Base(rest), rel)
			if moved := r.movedTo(filepath.Join(dir, rel)); s.isMoved(&r, &moved) {
				found[r.ID] = moved.Target
			}
		}
	}
	return found, nil
}

// movedTo returns r with the target at another path.
func (r *Record) movedTo(target string) Record {
	moved := *r
	moved.Target = target
	if r.Control != "" {
		moved.Control = filepath.Join(filepath.Dir(target), filepath.Base(r.Control))
	}
	if rel, err := filepath.Rel(r.Root, r.Target); r.Root != "" && err == nil {
		root, ok := strings.CutSuffix(target, string(filepath.Separator)+rel)
		if !ok {
			root = filepath.Dir(target)
		}
		moved.Root = root
	}
	return moved
}

// isMoved reports whether the part file of r is at the place that moved says.
func (s *Store) isMoved(r, moved *Record) bool {
	if moved.Target == r.Target || r.Held.Len() == 0 || s.existsAt(r.Part()) {
		return false
	}
	info, err := s.fs.Lstat(moved.Part())
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	if !r.ChangeTime.IsZero() && changeTime(info).Equal(r.ChangeTime) {
		return true
	}
	f, err := s.fs.OpenRead(moved.Part())
	if err != nil {
		return false
	}
	defer f.Close()
	wrong, err := s.wrongIn(*r, f)
	return err == nil && wrong.Len() < r.Held.Len()
}

// wrongIn compares the held ranges of an unfinished download with the bytes of f.
func (s *Store) wrongIn(r Record, f io.ReaderAt) (wrong chunk.Set, err error) {
	c, err := s.NewCheck(r)
	if err != nil {
		return wrong, err
	}
	buf := make([]byte, 256<<10)
	for held := range r.Held.All() {
		for held.Off < held.End {
			n, _ := f.ReadAt(buf[:min(int64(len(buf)), held.Len())], held.Off)
			if n == 0 { // bytes that cannot be read are not added, so they count as wrong
				break
			}
			c.Add(held.Off, buf[:n])
			held.Off += int64(n)
		}
	}
	return c.Wrong(), nil
}

// Move records that the unfinished download id, which FindMoved has found, has its target at the
// absolute path target from now on, and its part file beside it. The held bytes are made durable
// there. The errors are ErrBusy, ErrForeign and errors of the file system and the state file.
func (s *Store) Move(id ID, target string) error {
	rec, err := s.Get(id)
	if err != nil {
		return err
	}
	moved := rec.movedTo(target)
	s = s.forRecord(&moved)
	lock, err := s.lock(&moved, false)
	if err != nil {
		return err
	}
	defer lock.Close()
	if !s.isMoved(&rec, &moved) {
		return fmt.Errorf("%q: %w", target, ErrNotFound)
	}
	if err := s.checkTarget(&moved); err != nil {
		return err
	}
	f, err := s.fs.Open(moved.Part())
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.DataSync(); err != nil { // it may be a copy on another disk
		return err
	}
	if err := s.fs.SyncDir(filepath.Dir(target)); err != nil {
		return err
	}
	return s.write(func(t tx) error {
		now, err := t.get(id)
		if err != nil {
			return err
		}
		if now.Target != rec.Target {
			return fmt.Errorf("%q: %w", target, ErrBusy)
		}
		moved := now.movedTo(target)
		switch err := t.checkNames(&moved); {
		case errors.Is(err, errNameTaken): // the file there belongs to another download
			return fmt.Errorf("%q: %w", moved.Part(), ErrForeign)
		case err != nil:
			return err
		}
		if _, err := t.unfinishedAt(target); err == nil {
			return fmt.Errorf("%q: %w", target, ErrBusy)
		}
		if err := t.dropIndex(&now); err != nil {
			return err
		}
		if err := t.put(&moved); err != nil {
			return err
		}
		return t.putIndex(&moved)
	})
}
