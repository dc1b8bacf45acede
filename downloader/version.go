package downloader

// This file is about versions: whether an answer is of the one that the
// download has bytes of, and what follows if it is not.

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"pawl/chunk"
)

const (
	doubtsMost     = 3  // answers in a row of one other version are a change
	doubtsRotating = 20 // answers in a row of other versions, where the wanted one had come again
	doubtWait      = 30 * time.Millisecond
	maxChanges     = 3 // of the remote file; then one stream is asked for, which cannot mix
)

// errDoubt says that an answer is of another version. Machines that share a load
// may disagree about validators, so the next answer may be of the wanted one.
var errDoubt = errors.New("an answer of another version")

// doubts is what a download has seen of versions other than its own. Safe for
// concurrent use.
type doubts struct {
	mu     sync.Mutex
	row    int        // answers of other versions in a row
	last   identity   // of the last of them
	vary   bool       // they were of several
	rotate bool       // the wanted version came again after another one
	past   []identity // versions that were given up
}

// any reports whether there is reason for doubt.
func (d *doubts) any() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.row > 0 || d.rotate
}

// agreed notes an answer of the wanted version.
func (d *doubts) agreed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rotate = d.rotate || d.row > 0
	d.row = 0
}

// left notes that a version was given up for another one.
func (d *doubts) left(id identity) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.past = append(d.past, id)
	d.row, d.vary, d.rotate = 0, false, false
}

// disagreed notes an answer of version id, which differs from the wanted one as
// why says. It returns errDoubt to ask again; a restartError that keeps what is
// there, where versions come by turns; or one that does not, after a change.
func (d *doubts) disagreed(id identity, why string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.vary = d.row > 0 && (d.vary || id.differs(d.last) != "")
	d.row, d.last = d.row+1, id
	most := doubtsMost
	if d.rotate {
		most = doubtsRotating
	}
	known := slices.ContainsFunc(d.past, func(p identity) bool { return p == id })
	switch {
	case d.row < most:
		return errDoubt
	case d.vary || known: // else the wanted one, which had come again, is gone now
		return restartError{why: "the server has several versions of it, by turns", single: true, keep: true}
	}
	return restartError{why: why}
}

// compare checks that rep is of the version that the download has bytes of, and
// is no whole file for a worker that has its place in the middle. A whole file
// for one that begins at byte 0 may be of any version of the same size, as its
// bytes are compared.
func (j *job) compare(rep *reply, r chunk.Range) error {
	why := j.id.differs(rep.id)
	if err := j.id.strange(rep.id); err != nil {
		return err
	}
	if rep.whole && (r.Empty() || j.pool == nil && !rep.conditional) {
		if j.id.sizeDiffers(rep.id) {
			return j.doubts.disagreed(rep.id, why)
		}
		return nil
	}
	if why != "" {
		return j.doubts.disagreed(rep.id, why)
	}
	if err := j.id.samePart(rep, r); err != nil {
		return err
	}
	j.doubts.agreed()
	if j.id.strongETag() != "" && !j.id.proves(rep.id) {
		j.untagged.Store(true)
	}
	if rep.whole && r.Off > 0 && j.pool != nil {
		return fmt.Errorf("%w: the whole file, where %s were asked for", errLie, span(r))
	}
	return nil
}

// denied says what an answer means that there is no byte where there must be.
func (j *job) denied(rep *reply, r chunk.Range) error {
	if rep.id.size >= 0 && rep.id.size != j.id.size {
		return j.doubts.disagreed(rep.id, j.id.differs(rep.id))
	}
	return fmt.Errorf("%w: it says it has no %s", errLie, span(r))
}
