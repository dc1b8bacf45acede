package fleet

// This file leaves the part files of a batch to the next worker, and takes over those of the one before.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"pawl/downloader/mirror"
	"pawl/store"
)

// longestBegin limits how long a file waits for the checkpoint that names its part file. A guess, longer than a session without the broker
// lasts: with less, the part file of a worker that is killed soon after stays; more would keep a file waiting whose
// checkpoint can never be written.
const longestBegin = time.Minute

// maxPartOfFailed limits the JSON of a Handoff in the log. It is enough for the first 90 GB of a file. With half of it, more of a larger
// file is fetched again; double does not fit into an entry with others.
const maxPartOfFailed = 128 << 10

// prepare imports what an earlier worker has of a file, and returns what fetches it.
func (b *batchRun) prepare(i int, file *mirror.Item) (*mirror.Worker, error) {
	fetch := b.m.fetchers(b.r, b.batch.Items[i].Private)
	b.mu.Lock()
	part, hasPart := b.cp.Parts[i]
	b.mu.Unlock()
	if !b.later && !hasPart {
		return fetch.first, nil
	}
	worker, err := b.prepareBegun(i, file, fetch, part, hasPart)
	if err != nil {
		return nil, err
	}
	return worker, mirror.LookUp(b.m.o.Store, file)
}

// prepareBegun is prepare for a file that an earlier worker may have begun, with the part that the checkpoint names, if hasPart.
func (b *batchRun) prepareBegun(i int, file *mirror.Item, fetch *fetchers, part partOnDisk, hasPart bool) (*mirror.Worker, error) {
	st, it := b.m.o.Store, &b.batch.Items[i]
	if !b.m.o.Shared {
		if own, err := st.ByTarget(file.Path); hasPart && (err != nil || own.State == store.Done) {
			b.m.o.OnNote(fmt.Sprintf("%q begins anew: its bytes are on a local disk of %s", it.File.Path, part.Owner))
		}
		return fetch.again, nil
	}
	own, err := st.ByTarget(file.Path)
	if err == nil && own.State == store.Done {
		if st.Intact(own) {
			return fetch.again, nil
		}
		st.Forget([]store.Record{own}) // best effort: it is of an earlier file
	}
	asQueued := b.isAsQueued(i, file.Path)
	replaces := b.later && !asQueued // an ended worker has put it there
	if replaces {
		file.Record = store.Record{}
	}
	if hasPart && part.Handoff != nil {
		replaces = replaces || asQueued && part.Handoff.Record.Replace
		if err := b.importPart(i, part, file, replaces); errors.Is(err, store.ErrBusy) {
			return nil, err
		}
	}
	switch {
	case replaces:
		return fetch.over, nil
	case b.later:
		return fetch.again, nil
	}
	return fetch.first, nil
}

// importPart imports the part file of an earlier worker. An error other than store.ErrBusy means that the file begins anew.
func (b *batchRun) importPart(i int, part partOnDisk, file *mirror.Item, replaces bool) error {
	h, err := b.readHandoff(i, part)
	if err != nil {
		return err
	}
	id, err := b.m.o.Store.Import(h, file.Path)
	switch {
	case err == nil:
	case errors.Is(err, store.ErrBusy), errors.Is(err, fs.ErrNotExist): // finished, or that of a worker that still ends
		return err
	default:
		b.m.o.OnNote(fmt.Sprintf("%q begins anew: %v", b.batch.Items[i].File.Path, err))
		return err
	}
	if replaces || file.Record.State == store.Done {
		return b.m.o.Store.AllowReplace(id)
	}
	return nil
}

// readHandoff returns a Handoff with its pages.
func (b *batchRun) readHandoff(i int, part partOnDisk) (store.Handoff, error) {
	ctx, cancel := context.WithTimeout(b.ctx, saveTime)
	defer cancel()
	return b.checks.handoff(ctx, i, part)
}

// hasNewPart reports whether a file in work has a part file that no checkpoint names as it is.
func (b *batchRun) hasNewPart() bool {
	b.mu.Lock()
	var paths []string
	var saved []partOnDisk
	for i, run := range b.running {
		if p, ok := b.cp.Parts[i]; !ok || p.Handoff != nil {
			paths, saved = append(paths, run.path), append(saved, p)
		}
	}
	b.mu.Unlock()
	if len(paths) == 0 {
		return false
	}
	records, err := b.m.o.Store.LookupTargets(paths)
	if err != nil {
		return false
	}
	for i, r := range records {
		if r.ID != "" && r.State != store.Done && !saved[i].names(&r) {
			return true
		}
	}
	return false
}

// names reports whether a worker that continues p finds the part file of r, which may have further bytes since, and no bytes
// of another version in it.
func (p *partOnDisk) names(r *store.Record) bool {
	if p.Handoff == nil {
		return false
	}
	was := &p.Handoff.Record
	return r.PartNumber == was.PartNumber && r.Held.Len() >= was.Held.Len() && r.URL == was.URL && r.ETag == was.ETag && r.LastModified == was.LastModified
}

// begin returns when a checkpoint, or for a local disk the note of this machine, names the part file of a file, so that bytes may be
// written to it. Without a checkpoint, the next
// worker begins anew and leaves the part file behind, because it may be that of a user; with that of another version, it fetches
// wrong pieces again. Small files have no part file, so a checkpoint for each large one costs little.
//
// While the broker is away, the file waits. A checkpoint that cannot be written for another reason is no reason to fail: it is tried
// again every second.
func (b *batchRun) begin(i int, rec store.Record) error {
	if !b.m.o.Shared {
		return b.noteLocal(i, &rec)
	}
	b.mu.Lock()
	b.begins[i] = true
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.begins, i)
	}()
	isUnnamed := func() bool {
		part := b.cp.Parts[i]
		return !part.names(&rec)
	}
	for end := time.Now().Add(longestBegin); ; {
		err := b.saveIf(b.ctx, isUnnamed, func(i int) bool { return b.begins[i] })
		if b.ctx.Err() != nil {
			return context.Cause(b.ctx)
		}
		if err == nil || time.Now().After(end) {
			return nil
		}
		b.m.sleep(time.Second)
	}
}

// addParts adds the part files of the files in work to a checkpoint, and returns their Handoffs.
func (b *batchRun) addParts(ctx context.Context, cp *checkpoint, running map[int]*fileRun) (map[int]store.Handoff, error) {
	all := make(map[int]store.Handoff)
	room := cp.room(func(i int) bool { return running[i] != nil })
	for _, i := range slices.Sorted(maps.Keys(running)) {
		h, err := b.addPart(ctx, &b.checks, cp, i, running[i], &room)
		if err != nil {
			return nil, err
		}
		if h.Seq != 0 {
			all[i] = h
		}
	}
	return all, nil
}

// addPart adds the part file of a file, if it has one, to a checkpoint, as file i. It returns the Handoff with all pages, the zero one
// if the part file is on a local disk. room is how many bytes further Handoffs may have within the checkpoint.
func (b *batchRun) addPart(ctx context.Context, checks *checkpoints, cp *checkpoint, i int, run *fileRun, room *int) (h store.Handoff, err error) {
	st := b.m.o.Store
	rec, err := st.ByTarget(run.path)
	if err != nil || rec.State == store.Done {
		return h, nil
	}
	if !b.m.o.Shared {
		cp.setPart(i, partOnDisk{Owner: b.m.o.Name, Held: rec.Held.Len()})
		return h, nil
	}
	next, err := st.Handoff(rec.ID, run.saved.Seq)
	h = run.saved
	if err == nil && !h.Merge(next) {
		if next, err = st.Handoff(rec.ID, 0); err == nil {
			h = next
		}
	}
	if err != nil {
		return store.Handoff{}, nil
	}
	changed := h.Pages
	if run.paged && next.Since != 0 {
		changed = next.Pages
	}
	return h, checks.addPart(ctx, cp, i, h, changed, run.paged, room)
}

// passParts leaves the part files of files to the batch of the next round, whose files they are in this order: it writes the first
// checkpoint of that batch.
func (b *batchRun) passParts(ctx context.Context, batch string, files []int) error {
	checks := checkpoints{bucket: b.checks.bucket, batch: batch, owner: b.checks.owner}
	var cp checkpoint
	room := maxCheckpoint
	note := partsNote{Run: b.batch.Run, Batch: batch, Parts: make(map[int]store.ID)}
	noted := b.notedParts()
	for n, i := range files {
		if id, ok := noted[i]; ok {
			note.Parts[n] = id
		}
		path := filepath.Join(b.m.o.Dir, filepath.FromSlash(b.batch.Items[i].File.Path))
		if _, err := b.addPart(ctx, &checks, &cp, n, &fileRun{path: path}, &room); err != nil {
			return err
		}
	}
	// The note comes last: without the checkpoint, its files would count as ended.
	if err := checks.begin(ctx, cp); err != nil {
		return err
	}
	return note.write(b.m.o.StateDir)
}

// partOfFailed returns the part file of a file that has failed, for the submitter of the run: a later run goes on with it. It is nil if
// there is none, or if it is on a local disk.
func (b *batchRun) partOfFailed(i int, path string) *store.Handoff {
	if !b.m.o.Shared {
		return nil
	}
	b.mu.Lock()
	part := b.cp.Parts[i]
	b.mu.Unlock()
	h, err := store.Handoff{}, store.ErrNotFound
	if rec, recErr := b.m.o.Store.ByTarget(path); recErr == nil && rec.State != store.Done {
		h, err = b.m.o.Store.Handoff(rec.ID, 0)
	}
	if err != nil && part.Handoff != nil { // this worker has not begun the file
		h, err = b.readHandoff(i, part)
	}
	if err != nil || !h.Shorten(maxPartOfFailed) {
		return nil
	}
	return &h
}
