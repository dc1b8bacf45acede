package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pawl/chunk"
)

// blockSize is the number of bytes per write call. For larger writes, file systems
// allocate larger pieces of memory, which a virtual machine may first have to get from
// its host. Measured on ext4 with a source on loopback: with 256 KiB, and without
// writeMu, a download took 1.2 to 1.9 times as long and 1.5 to 2.6 times the CPU time.
// Half of it doubles the number of system calls.
const blockSize = 64 << 10

// errFinished is the error of a Part whose file has its final name.
var errFinished = errors.New("download is finished")

// A Part is an open download: a locked part file and its record. The step numbers in this
// file refer to the commit protocol in the package comment.
//
// WriteAt, ReadAt, Record, Update, Commit and VerifyNext may be called concurrently. The
// other methods must be called by one goroutine at a time. Close must be called once the
// download ends, whether it is finished or not; no other method may run during it.
//
// Locks must be taken in this order: commitMu, mu, writtenMu.
type Part struct {
	store *Store
	name  string    // path of the part file; immutable
	lock  io.Closer // the advisory lock, held until Close
	file  File      // nil once the download is done
	lost  int64     // see Lost; immutable after Resume

	dirSynced bool // see syncDirOnce; guarded by commitMu, or by Finish being alone

	// brokenBy is the error after which the part file cannot be trusted any more: a
	// failed sync, a failed truncation, or ErrGone. It is atomic, so that WriteAt need
	// not wait for a transaction.
	brokenBy atomic.Pointer[error]

	dirty atomic.Bool // see Dirty

	commitMu  sync.Mutex // held during Commit, Restart, Discard and VerifyNext
	allocated int64      // bytes on the disk at the last commit; guarded by commitMu

	writeMu   sync.Mutex   // serialises writes to the file; see writeBlocks
	writtenMu sync.Mutex   // must not be held while waiting for the disk
	written   writtenBytes // guarded by writtenMu
	size      int64        // bytes of the finished file, chunk.Unbounded if unknown; guarded by writtenMu
	reserved  int64        // Reserve has asked for all blocks below this offset; guarded by writtenMu

	mu  sync.Mutex
	rec Record // as in the state file; written under mu, see adopt
}

// Lost returns how many recorded bytes the part file no longer had when Resume opened it,
// because it was truncated, replaced or deleted. These bytes are missing again.
func (p *Part) Lost() int64 { return p.lost }

// Record returns a copy of the record as the state file has it.
func (p *Part) Record() Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.rec
	r.Held = r.Held.Clone()
	return r
}

// Update applies fn to the record and makes the change durable. fn must not change Held,
// which belongs to Commit, Discard and Restart.
func (p *Part) Update(fn func(*Record)) error {
	p.mu.Lock()
	err := p.updateLocked(fn, nil, false)
	p.mu.Unlock()
	if !errors.Is(err, errStateReplaced) {
		return err
	}
	if err := p.checkUsable(); err != nil { // a broken part file may not have the bytes, so a new state file must not claim them
		return err
	}
	p.commitMu.Lock()
	defer p.commitMu.Unlock()
	return p.commitOnce(fn, true)
}

// errStateReplaced reports that the state file does not have the record of a running
// download, because somebody removed or replaced the file. A new file also lacks the
// checksums of the pieces.
var errStateReplaced = errors.New("state file was replaced")

// updateLocked is Update for callers that hold mu. It also writes pages. If allSums is
// false and the state file was replaced, it returns errStateReplaced. The record in
// memory changes only if the transaction succeeds.
func (p *Part) updateLocked(fn func(*Record), pages []sumPage, all bool) error {
	rec, err := p.changedRecord(fn)
	if err != nil {
		return err
	}
	if err := p.store.write(func(t tx) error { return p.putRecord(t, &rec, pages, all) }); err != nil {
		return err
	}
	p.adopt(rec)
	return nil
}

// changedRecord returns a copy of the record with fn applied. The caller must hold mu.
func (p *Part) changedRecord(fn func(*Record)) (Record, error) {
	rec := p.rec
	rec.Held = rec.Held.Clone()
	fn(&rec)
	rec.Updated = time.Now()
	if rec.Size >= 0 && !rec.Held.Equal(clip(rec.Held, rec.Size)) {
		return rec, fmt.Errorf("record %q: size of %d bytes is smaller than the held ranges", rec.Target, rec.Size)
	}
	return rec, nil
}

// putRecord writes rec as the Part's record, its index keys and pages. If it returns
// errStateReplaced, it has written nothing.
func (p *Part) putRecord(t tx, rec *Record, pages []sumPage, all bool) error {
	claims := rec.Held.Len() > 0 && rec.State != Done // ranges without checksums would be lost at the next Resume
	if claims && !all && t.Bucket(recordBucket).Get([]byte(rec.ID)) == nil {
		return errStateReplaced
	}
	if rec.URL != p.rec.URL {
		if err := t.dropIndex(&p.rec); err != nil {
			return err
		}
		if err := t.putIndex(rec); err != nil {
			return err
		}
	}
	if err := t.restoreIndex(rec); err != nil {
		return err
	}
	if err := t.putPages(rec.ID, pages); err != nil {
		return err
	}
	return t.put(rec)
}

// adopt makes rec, which was written, the record in memory. The caller must hold mu.
func (p *Part) adopt(rec Record) {
	p.rec = rec
	p.adoptSize()
}

// adoptSize sets the size that WriteAt checks to the size of the record. The caller must
// hold mu, or must be the only user of the Part.
func (p *Part) adoptSize() {
	p.writtenMu.Lock()
	defer p.writtenMu.Unlock()
	if p.size = p.rec.Size; p.size < 0 {
		p.size = chunk.Unbounded
	}
}

// ReadAt reads written bytes, whether they are durable or not.
func (p *Part) ReadAt(b []byte, off int64) (int, error) {
	if err := p.checkUsable(); err != nil {
		return 0, err
	}
	return p.file.ReadAt(b, off)
}

// WriteAt writes b at its final offset (step 1). The range must not overlap a range that
// was written before, and must not go beyond the end of the file. If it returns an error,
// no byte of b counts as written.
func (p *Part) WriteAt(b []byte, off int64) (int, error) {
	if err := p.checkUsable(); err != nil {
		return 0, err
	}
	r := chunk.Range{Off: off, End: off + int64(len(b))}
	p.writtenMu.Lock()
	wrong := off < 0 || r.End > p.size || p.written.overlaps(r)
	length := p.written.sums.Length()
	p.writtenMu.Unlock()
	if wrong {
		return 0, fmt.Errorf("write %q: range %s is beyond the end or already written", p.name, r)
	}
	if err := p.writeBlocks(b, off); err != nil {
		return 0, err
	}
	var few [4]pieceSum // enough for a write of four pieces without an allocation
	sums := few[:0]
	for i, sum := range chunk.PieceSums(length, off, b) {
		sums = append(sums, pieceSum{i, sum})
	}
	p.writtenMu.Lock()
	defer p.writtenMu.Unlock()
	p.written.add(r, sums)
	return len(b), nil
}

// writeBlocks writes b. It serialises the writers, because the kernel would do the same
// for each file, but there the waiting writers spin.
func (p *Part) writeBlocks(b []byte, off int64) error {
	p.writeMu.Lock()
	defer p.writeMu.Unlock()
	for block := range slices.Chunk(b, blockSize) {
		if _, err := p.file.WriteAt(block, off); err != nil {
			return err
		}
		off += int64(len(block))
	}
	return nil
}

// checkUsable returns the error that made the part file unusable, or nil.
func (p *Part) checkUsable() error {
	if err := p.brokenBy.Load(); err != nil {
		return *err
	}
	return nil
}

// statInPlace returns the file information of the open part file. It returns ErrGone if
// another file, or none, is at its path.
func (p *Part) statInPlace() (fs.FileInfo, error) {
	info, err := p.file.Stat()
	if err != nil {
		return nil, err
	}
	there, err := p.store.fs.Lstat(p.name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !p.store.fs.SameFile(info, there) {
		return nil, fmt.Errorf("%q: %w", p.name, ErrGone)
	}
	return info, err
}

// syncDirOnce makes the name of the part file durable. After its first success it does
// nothing.
func (p *Part) syncDirOnce() error {
	if p.dirSynced {
		return nil
	}
	if err := p.store.fs.SyncDir(filepath.Dir(p.name)); err != nil {
		return err
	}
	p.dirSynced = true
	return nil
}

// breakWith makes the part file unusable because of err, and returns err. The first error
// stays.
func (p *Part) breakWith(err error) error {
	p.brokenBy.CompareAndSwap(nil, &err)
	return err
}

// Restart discards all bytes for a new version of the file. It applies fn to the record
// and removes all held ranges, durably, and only then truncates the part file. The state
// becomes Active. No WriteAt may run during Restart.
func (p *Part) Restart(fn func(*Record)) error {
	if err := p.checkUsable(); err != nil {
		return err
	}
	p.commitMu.Lock()
	defer p.commitMu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.updateLocked(func(r *Record) {
		fn(r)
		r.Held, r.PieceLength, r.State, r.Reason = chunk.Set{}, pieceLength(r.Size), Active, ""
	}, nil, false)
	if err != nil {
		return err
	}
	p.allocated = 0
	p.writtenMu.Lock()
	p.written = newWrittenBytes(p.rec.PieceLength) // pages on record are harmless: no byte of their pieces is held
	p.reserved = 0
	p.writtenMu.Unlock()
	p.dirty.Store(false)
	// Old bytes in the file are harmless, because none is held.
	if err := p.file.Truncate(0); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return p.breakWith(err)
	}
	info, err := p.file.Stat()
	if err != nil {
		return err
	}
	n, _ := allocated(info) // the file may still have reserved blocks
	return p.checkSpace(n)
}

// Close frees reserved disk blocks that hold no bytes, releases the lock and closes the
// file. Bytes that were not committed may be lost. Close may be called again. It always
// returns nil: the committed bytes are synced, so a failed close loses nothing, and the
// end of the process releases the lock in any case.
func (p *Part) Close() error {
	if p.file != nil {
		p.releaseSpace()
		p.file.Close()
		p.file = nil
	}
	if p.lock != nil {
		p.lock.Close()
		p.lock = nil
	}
	return nil
}
