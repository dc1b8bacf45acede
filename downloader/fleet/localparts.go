package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pawl/store"
)

const (
	// noteSuffix ends the names of the files in the state directory of a worker with a local disk that name its part files.
	noteSuffix = ".fleet-parts"
	// localPartsInterval is how often a worker looks whether files, of which it has a part file and which were given to others, have
	// ended there. At half, it asks the broker twice as often for nothing; double keeps the disk full for longer.
	localPartsInterval = time.Minute
	// unknownRunWait is how long part files stay whose run the broker does not know: it may be another one than before. With less, a
	// wrong --queue costs what was fetched; with more, they take space for longer.
	unknownRunWait = 24 * time.Hour
)

// A partsNote names the part files on a local disk that belong to a batch. It is a file in the state directory from before the first byte
// of a part file until the batch has ended: if the worker is killed, or gives the batch back, the files may end elsewhere, and nobody
// would delete the part files here.
type partsNote struct {
	Run   string           `json:"run"`
	Batch string           `json:"batch"`
	Parts map[int]store.ID `json:"parts"` // by the number of the file in the batch
}

func (n *partsNote) path(dir string) string { return filepath.Join(dir, n.Run+"."+n.Batch+noteSuffix) }

// write replaces the file of the note, or removes it if no part file is left.
func (n *partsNote) write(dir string) error {
	if dir == "" {
		return nil
	}
	path := n.path(dir)
	if len(n.Parts) == 0 {
		os.Remove(path)
		return nil
	}
	if err := os.WriteFile(path+".new", encode(n), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// readNotes returns the notes in a state directory.
func readNotes(dir string) (notes []*partsNote) {
	if dir == "" {
		return nil
	}
	names, _ := filepath.Glob(filepath.Join(escapeGlob(dir), "*"+noteSuffix))
	for _, name := range names {
		if n := readNote(name); n.path(dir) == name {
			notes = append(notes, &n)
		}
	}
	return notes
}

// readNote returns the note in a file, the zero one if it cannot be read.
func readNote(name string) (n partsNote) {
	b, err := os.ReadFile(name)
	if err != nil || json.Unmarshal(b, &n) != nil {
		return partsNote{}
	}
	return n
}

func escapeGlob(dir string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(dir)
}

// noteLocal notes a part file on a local disk.
func (b *batchRun) noteLocal(i int, rec *store.Record) error {
	b.noting.Lock()
	defer b.noting.Unlock()
	b.readNoteLocked()
	if b.note.Parts[i] == rec.ID {
		return nil
	}
	b.note.Parts[i] = rec.ID
	return b.note.write(b.m.o.StateDir)
}

// notedParts returns the part files on a local disk that this delivery of the batch and earlier ones have noted.
func (b *batchRun) notedParts() map[int]store.ID {
	b.noting.Lock()
	defer b.noting.Unlock()
	b.readNoteLocked()
	return maps.Clone(b.note.Parts)
}

// readNoteLocked reads the note of an earlier delivery, once. The caller must hold noting.
func (b *batchRun) readNoteLocked() {
	if b.note.Parts != nil {
		return
	}
	b.note = readNote((&partsNote{Run: b.batch.Run, Batch: b.batch.ID}).path(b.m.o.StateDir))
	b.note.Run, b.note.Batch = b.batch.Run, b.batch.ID
	if b.note.Parts == nil {
		b.note.Parts = make(map[int]store.ID)
	}
}

// forgetLocal forgets the part files on a local disk: the batch has ended, and what is left of failed files stays as on one machine.
func (b *batchRun) forgetLocal() {
	note := partsNote{Run: b.batch.Run, Batch: b.batch.ID}
	note.write(b.m.o.StateDir) // best effort: it only removes a file
}

// keepLocalPartsTidy calls tidyLocalParts from time to time.
func (m *membership) keepLocalPartsTidy() {
	for m.ctx.Err() == nil {
		m.sleep(localPartsInterval)
		m.tidyLocalParts()
	}
}

// tidyLocalParts removes the part files of files that have ended elsewhere.
func (m *membership) tidyLocalParts() {
	for _, n := range readNotes(m.o.StateDir) {
		if m.isInHand(n) {
			continue
		}
		hasEnded, err := m.endedElsewhere(m.ctx, n)
		if err != nil || m.isInHand(n) { // later; a batch that was taken meanwhile may have noted further part files
			continue
		}
		for i, id := range n.Parts {
			if hasEnded(i) && m.removeLocalPart(id) {
				delete(n.Parts, i)
			}
		}
		n.write(m.o.StateDir) // best effort: it only names what is gone
	}
}

// isInHand reports whether the worker has the batch of a note now.
func (m *membership) isInHand(n *partsNote) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.batches[n.Run+"/"+n.Batch] != nil
}

// endedElsewhere returns a function that reports whether a file of the batch of a note has ended.
func (m *membership) endedElsewhere(ctx context.Context, n *partsNote) (func(i int) bool, error) {
	all := func(int) bool { return true }
	run, err := ReadRun(ctx, m.o.Broker, n.Run)
	switch {
	case errors.Is(err, ErrNoRun):
		if info, statErr := os.Stat(n.path(m.o.StateDir)); statErr == nil && time.Since(info.ModTime()) > unknownRunWait {
			return all, nil
		}
		return nil, err
	case err != nil:
		return nil, err
	case run.State == Complete, run.Control == Cancelled:
		return all, nil
	}
	checks := checkpoints{batch: n.Batch}
	if checks.bucket, err = m.o.Broker.Bucket(ctx, runBucketPrefix+n.Run, 0); err != nil {
		return nil, err
	}
	cp, err := checks.read(ctx)
	if err != nil {
		return nil, err
	}
	if checks.revision == 0 { // it is written before a file begins, and deleted when all have ended
		return all, nil
	}
	return cp.Done.has, nil
}

// removeLocalPart removes a part file and its record. It reports whether there is nothing more to do.
func (m *membership) removeLocalPart(id store.ID) bool {
	rec, err := m.o.Store.Get(id)
	if errors.Is(err, store.ErrNotFound) || err == nil && rec.State == store.Done {
		return true
	}
	if err == nil {
		err = m.o.Store.Remove(id, true)
	}
	if err != nil { // in work, in another batch, or the disk is not there
		return false
	}
	m.o.OnNote(fmt.Sprintf("%q has ended on another machine; what was fetched of it here was removed", rec.Target))
	return true
}
