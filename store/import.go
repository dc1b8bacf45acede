package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pawl/chunk"
)

// Import records the download h of another machine, whose part file lies beside the absolute path
// target, so that Resume continues it. h must be complete (Handoff.Since is 0). If this state
// file has a newer record of an unfinished download to target, Import keeps that, and returns its ID.
//
// Import believes no more of h than it must. The target must be below Options.Root. The
// imported record has no Replace, no Mirrors and no Control. Resume reports the bytes as lost
// that have no checksum, or that the part file does not have. If the part file has another change
// time than h says, the Part is Dirty after Resume.
//
// The errors are ErrHandoff if h or target is not valid, ErrBusy if another process works on
// the download, fs.ErrNotExist if there is no part file, ErrNoDirectory if there is no
// directory, ErrForeign if the name of the part file or of the target belongs to another
// download, the errors for a part file that is not ours, and errors.ErrUnsupported if the file
// system cannot lock it. After an error, nothing was recorded.
func (s *Store) Import(h Handoff, target string) (ID, error) {
	if err := s.checkPath(target); err != nil {
		return "", fmt.Errorf("%w: %w", ErrHandoff, err)
	}
	if err := h.check(); err != nil {
		return "", fmt.Errorf("%w: %w", ErrHandoff, err)
	}
	rec := h.recordFor(target)
	rec.Root = s.root
	lock, err := s.lockImported(&rec)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	own, keep, err := s.ownOf(&rec)
	if err != nil {
		return "", err
	}
	err = s.write(func(t tx) error {
		now, err := t.unfinishedAt(target)
		if err == nil && now.ID != own.ID {
			return fmt.Errorf("%q: %w", target, ErrBusy)
		}
		if err == nil && keep {
			rec.ID = own.ID
			return nil
		}
		imported := rec
		if err := t.putNew(&imported, h.pages()); !errors.Is(err, errNameTaken) {
			return err
		}
		return fmt.Errorf("%q: %w", rec.Part(), ErrForeign)
	})
	if err != nil {
		return "", err
	}
	return rec.ID, nil
}

// ownOf returns the unfinished record that this state file has of the target of rec, the zero Record
// if there is none. keep reports whether it must be kept.
func (s *Store) ownOf(rec *Record) (own Record, keep bool, err error) {
	err = s.read(func(t tx) error {
		found, err := t.unfinishedAt(rec.Target)
		if err == nil {
			own = found
		}
		if errors.Is(err, ErrNewer) {
			return err
		}
		return nil // a damaged record is replaced
	})
	if err != nil || own.ID == "" {
		return own, false, err
	}
	if own.Part() != rec.Part() && s.fs.Locked(own.Part()) {
		return own, false, fmt.Errorf("%q: %w", rec.Target, ErrBusy)
	}
	return own, own.supersedes(rec) && s.existsAt(own.Part()), nil
}

// lockImported locks the part file of rec, which another machine has created. A lock that other machines
// do not see is no protection: both would write to the file.
func (s *Store) lockImported(rec *Record) (io.Closer, error) {
	lock, err := s.lock(rec, false)
	if errors.Is(err, fs.ErrNotExist) {
		if dir := filepath.Dir(rec.Target); !s.existsAt(dir) {
			return nil, fmt.Errorf("%q: %w", dir, ErrNoDirectory)
		}
	}
	if err != nil {
		return nil, err
	}
	if _, isFallback := lock.(fallbackLock); isFallback {
		lock.Close()
		return nil, fmt.Errorf("%q: this file system cannot lock files, so another machine may still be at work: %w", rec.Part(), errors.ErrUnsupported)
	}
	return lock, nil
}

// recordFor returns the record for the state file of this machine.
func (h *Handoff) recordFor(target string) Record {
	r := h.Record
	r.ID, r.Target, r.State = NewID(), target, Active
	r.Held = r.Held.Clone()
	r.Replace, r.Mirrors, r.Control, r.Credentials, r.Reason, r.Process = false, nil, "", nil, "", Process{}
	r.ModTime = time.Time{}
	r.CRC, r.Publishing, r.Replaces = 0, false, FileStamp{}
	return r
}

// supersedes reports whether r, a record of this state file, is at least as new as the imported o. The
// clocks of the two machines may differ, so the held ranges decide if they are of one version.
func (r *Record) supersedes(o *Record) bool {
	if r.URL == o.URL && r.Size == o.Size && r.ETag == o.ETag && r.LastModified == o.LastModified {
		switch {
		case r.holdsAll(&o.Held):
			return true
		case o.holdsAll(&r.Held):
			return false
		}
	}
	return !r.Updated.Before(o.Updated)
}

// holdsAll reports whether all bytes of set are held.
func (r *Record) holdsAll(set *chunk.Set) bool {
	for part := range set.All() {
		if !r.Held.Contains(part) {
			return false
		}
	}
	return true
}

// check returns an error unless h can be a result of Store.Handoff.
func (h *Handoff) check() error {
	r := &h.Record
	switch {
	case h.Since != 0:
		return errors.New("it has only the changes since another one")
	case r.URL == "" || hasUserinfo(r.URL):
		return errors.New("its URL is missing, or has a password")
	case r.textBytes() > maxHandoffText:
		return errors.New("its texts are too long")
	case !slices.Contains([]State{Active, Paused, Failed, Finishing}, r.State):
		return fmt.Errorf("its state is %q", r.State)
	case r.IsRepair():
		return errors.New("it is the repair of a finished file")
	case r.PartNumber < 0 || r.PartNumber >= maxPartNames:
		return fmt.Errorf("its part file has the number %d", r.PartNumber)
	case !r.Lists.areValid():
		return errors.New("the key of a list is not valid")
	}
	if err := r.checkHeld(); err != nil {
		return err
	}
	return h.checkPages()
}

// hasUserinfo reports whether a URL has a user or a password, which a record must not contain.
func hasUserinfo(u string) bool {
	_, rest, _ := strings.Cut(u, "//")
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	return strings.Contains(rest, "@")
}

// checkHeld returns an error unless the size, the held ranges and the pieces of r fit together.
func (r *Record) checkHeld() error {
	if r.Size < -1 || r.Size >= 0 && !r.Held.Equal(clip(r.Held, r.Size)) {
		return fmt.Errorf("it holds bytes beyond its size of %d bytes", r.Size)
	}
	if r.Held.Len() == 0 {
		return nil
	}
	if r.PieceLength <= 0 || r.PieceLength > max(pieceLength(r.Size), pieceLength(-1)) { // a size that was unknown at first does not change the pieces
		return fmt.Errorf("its pieces have %d bytes", r.PieceLength)
	}
	if !r.Held.Equal(r.portableHeld()) {
		return errors.New("it has too many pieces or ranges")
	}
	return nil
}

// checkPages returns an error unless all pages have checksums of held pieces. A page may have further
// checksums, which Resume ignores.
func (h *Handoff) checkPages() error {
	if len(h.Pages) > maxHandoffPages {
		return fmt.Errorf("it has %d pages of checksums", len(h.Pages))
	}
	last := -1
	for _, pg := range h.Pages {
		if !h.Record.holdsOfPage(pg.Number) || pg.Number <= last {
			return fmt.Errorf("page %d of its checksums is out of order, or none of its bytes are held", pg.Number)
		}
		if err := checkPage(sumPage{pg.Number, pg.Data}); err != nil {
			return err
		}
		last = pg.Number
	}
	return nil
}

// pages returns the pages as the state file stores them.
func (h *Handoff) pages() (pages []sumPage) {
	for _, pg := range h.Pages {
		pages = append(pages, sumPage{pg.Number, pg.Data})
	}
	return pages
}

// checkPath returns an error unless target, which another machine has named, can be the path of a
// file, below Options.Root if that is set.
func (s *Store) checkPath(target string) error {
	if !filepath.IsAbs(target) || filepath.Clean(target) != target || strings.ContainsRune(target, 0) || len(target) > maxKey-len(".99.part") {
		return fmt.Errorf("%.100q is not the absolute path of a file", target)
	}
	rel, err := filepath.Rel(s.root, target)
	if s.root != "" && (err != nil || rel == "." || !filepath.IsLocal(rel)) {
		return fmt.Errorf("%q is not below %q", target, s.root)
	}
	return nil
}
