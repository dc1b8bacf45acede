package store

// This file decides which name a part file gets, and which names no download may have
// because another one's part file has it.

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// mostPartNames is how many names are tried for a part file. A list takes all of
// NAME.part, NAME.1.part and so on only if it means to.
const maxPartNames = 100

// ErrPartFile is an ErrIrregular: the target is the part file of another download, which
// is never replaced. It is free when that download ends.
var ErrPartFile error = partFileError{}

// partFile is the type of ErrPartFile.
type partFileError struct{}

func (partFileError) Error() string        { return "it is the part file of another download" }
func (partFileError) Is(target error) bool { return target == ErrIrregular || target == ErrForeign }

// errTaken says that a part file may not have a name.
var errNameTaken = errors.New("the name is taken")

const partSuffix = ".part"

// Part returns the path of the part file: NAME.part, or NAME.1.part and so on if
// that name belonged to another download, or to somebody else, when this one began.
func (r *Record) Part() string {
	if r.PartNumber == 0 {
		return r.Target + partSuffix
	}
	return r.Target + "." + strconv.Itoa(r.PartNumber) + partSuffix
}

// partOwner returns the unfinished download, other than that of r, whose part file is
// at path, or ErrNotFound.
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

// vacant returns ErrPartFile if the target of r is the part file of another download,
// and errTaken if the part file of r is the target or the part file of another one.
// It is the only place that compares names of different records. A download that writes
// its record must ask in the same transaction.
func (t tx) checkNames(r *Record) error {
	if owner, err := t.partOwner(r.Target, r); err == nil {
		return fmt.Errorf("%q: %w, %q", r.Target, ErrPartFile, owner.Target)
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

// vacant is that of a transaction of its own.
func (s *Store) checkNames(r *Record) error {
	return s.read(func(t tx) error { return t.checkNames(r) })
}

// ByPath returns the record whose finished file, or else whose part file, is at the
// absolute path, or ErrNotFound.
func (s *Store) ByPath(path string) (Record, error) {
	return s.find(func(t tx) (Record, error) {
		r, err := t.byTarget(path)
		if errors.Is(err, ErrNotFound) {
			r, err = t.partOwner(path, &Record{})
		}
		return r, err
	})
}

// nextPart gives r the next name for its part file, because of err. After the last one
// it returns an ErrForeign.
func (r *Record) nextPartName(err error) error {
	if r.PartNumber++; r.PartNumber >= maxPartNames {
		return fmt.Errorf("%w: no name is left for the part file: %w", ErrForeign, err)
	}
	return nil
}
