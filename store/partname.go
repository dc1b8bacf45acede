package store

// This file chooses the name of a part file. It also decides which targets are forbidden
// because another download has its part file there.

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// maxPartNames is the number of names that Create tries for a part file. A guess: only a
// hostile list occupies NAME.part, NAME.1.part and so on up to it.
const maxPartNames = 100

// ErrPartFile is an ErrIrregular: the target is the part file of another download and
// must never be replaced. The target becomes free when that download ends.
var ErrPartFile error = partFileError{}

// partFileError is the type of ErrPartFile.
type partFileError struct{}

func (partFileError) Error() string        { return "it is the part file of another download" }
func (partFileError) Is(target error) bool { return target == ErrIrregular || target == ErrForeign }

// errNameTaken reports that a part file must not have its name, so that the caller may
// try the next one.
var errNameTaken = errors.New("the name is taken")

const partSuffix = ".part"

// Part returns the path of the part file: NAME.part, or NAME.1.part and so on if that
// name was taken when the download was created.
func (r *Record) Part() string {
	if r.PartNumber == 0 {
		return r.Target + partSuffix
	}
	return r.Target + "." + strconv.Itoa(r.PartNumber) + partSuffix
}

// partOwner returns the unfinished download, other than r, that has its part file at
// path, or ErrNotFound.
func (t tx) partOwner(path string, r *Record) (Record, error) {
	stem, isPart := strings.CutSuffix(path, partSuffix)
	if !isPart {
		return Record{}, ErrNotFound
	}
	stems := []string{stem}
	if ext := filepath.Ext(stem); ext != "" {
		if n, err := strconv.Atoi(ext[1:]); err == nil && n > 0 {
			stems = append(stems, strings.TrimSuffix(stem, ext))
		}
	}
	for _, target := range stems {
		owner, err := t.unfinishedAt(target)
		if err == nil && owner.Part() == path && owner.Target != r.Target {
			return owner, nil
		}
	}
	return Record{}, ErrNotFound
}

// checkNames returns ErrPartFile if the target of r is the part file of another download.
// It returns errNameTaken if the part file of r is the target or the part file of another
// download. Only checkNames and checkTargetName compare the names of different records. A download that
// writes its record must call checkNames in the same transaction, or two processes could
// choose the same name.
func (t tx) checkNames(r *Record) error {
	if err := t.checkTargetName(r); err != nil {
		return err
	}
	_, err := t.byTarget(r.Part())
	var bad damagedRecordError
	if err == nil || errors.As(err, &bad) || errors.Is(err, ErrNewer) {
		return fmt.Errorf("%q: %w", r.Part(), errNameTaken)
	}
	if _, err := t.partOwner(r.Part(), r); err == nil {
		return fmt.Errorf("%q: %w", r.Part(), errNameTaken)
	}
	return nil
}

// checkTargetName returns ErrPartFile if the target of r is the part file of another download.
func (t tx) checkTargetName(r *Record) error {
	if owner, err := t.partOwner(r.Target, r); err == nil {
		return fmt.Errorf("%q: %w, %q", r.Target, ErrPartFile, owner.Target)
	}
	return nil
}

// checkNames runs tx.checkNames in a transaction of its own. The answer may be outdated
// when it returns.
func (s *Store) checkNames(r *Record) error {
	return s.read(func(t tx) error { return t.checkNames(r) })
}

// ByPath returns the record whose finished file is at the absolute path, or else the
// record whose part file is there, or ErrNotFound.
func (s *Store) ByPath(path string) (Record, error) {
	return s.find(func(t tx) (Record, error) {
		r, err := t.byTarget(path)
		if errors.Is(err, ErrNotFound) {
			r, err = t.partOwner(path, &Record{})
		}
		return r, err
	})
}

// nextPartName gives r the next name for its part file, after the present one failed with
// err. After the last name it returns an ErrForeign.
func (r *Record) nextPartName(err error) error {
	if r.PartNumber++; r.PartNumber >= maxPartNames {
		return fmt.Errorf("%w: all names for the part file are taken: %w", ErrForeign, err)
	}
	return nil
}
