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

// blockSize is how many bytes are written at once. Where it is more, file systems look
// for larger pieces of memory, which a virtual machine may first have to get from its
// host: with 256 KiB, and without turns, loopback to ext4 took 1.2 to 1.9 times as long,
// and 1.5 to 2.6 times the CPU.
const blockSize = 64 << 10

// errFinished is what a Part says when its file has gone to its final name.
var errFinished = errors.New("the download is finished")

// A Part is an open download: a locked part file and its record. The step
// numbers in this file are those of the commit protocol in the package comment.
//
// WriteAt, ReadAt, Record, Update, Commit and VerifyNext may be called concurrently;
// the other methods by one goroutine at a time.
type Part struct {
	store *Store
	name  string    // path of the part file; immutable
	lock  io.Closer // held until Close
	file  File      // nil once the download is done
	lost  int64     // immutable after Resume

	dirSynced bool // step 2 has synced the directory; of Commit alone

	// broken is the failed sync or truncation that ended trust. It has no lock,
	// so that WriteAt does not wait for a transaction.
	brokenBy atomic.Pointer[error]

	// suspect says that the part file was touched since the last commit.
	dirty atomic.Bool

	commitMu  sync.Mutex // of Commit, Restart and what gives up bytes; taken before the others
	allocated int64      // bytes of the disk at the last commit; guarded by committing

	writeMu   sync.Mutex   // to write to the part file
	writtenMu sync.Mutex   // is never held while something waits for the disk
	written   writtenBytes // guarded by writing
	size      int64        // of the finished file, chunk.Unbounded if not known; guarded by writing

	reserved int64 // bytes from the beginning that Reserve has asked for; guarded by writing

	mu  sync.Mutex
	rec Record // as in the state file; guarded by mu
}

// Lost returns how many recorded bytes the part file no longer had when it was
// resumed.
func (p *Part) Lost() int64 { return p.lost }

// Record returns the record as it stands in the state file.
func (p *Part) Record() Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.rec
	r.Held = r.Held.Clone()
	return r
}

// Update changes the record by fn, durably. The bytes held are Commit's and
// Restart's business.
func (p *Part) Update(fn func(*Record)) error {
	p.mu.Lock()
	err := p.updateLocked(fn, nil, false)
	p.mu.Unlock()
	if !errors.Is(err, errStateReplaced) {
		return err
	}
	if err := p.usable(); err != nil { // what was written may not be there, and is not to be claimed
		return err
	}
	p.commitMu.Lock()
	defer p.commitMu.Unlock()
	return p.commitOnce(fn, true)
}

// errNewState says that the state file does not have the record: somebody has
// taken it away, and there is a new one.
var errStateReplaced = errors.New("the state file is another one")

// update is Update with mu held, which writes pages, too. They are all there are
// if all is set; else a state file that is a new one is an error. The record
// changes only if the transaction succeeds.
func (p *Part) updateLocked(fn func(*Record), pages []sumPage, all bool) error {
	rec, err := p.changed(fn)
	if err != nil {
		return err
	}
	if err := p.store.write(func(t tx) error { return p.putRecord(t, &rec, pages, all) }); err != nil {
		return err
	}
	p.adopt(rec)
	return nil
}

// next returns the record as fn changes it, with mu held.
func (p *Part) changed(fn func(*Record)) (Record, error) {
	rec := p.rec
	rec.Held = rec.Held.Clone()
	fn(&rec)
	rec.Updated = time.Now()
	if rec.Size >= 0 && !rec.Held.Equal(clip(rec.Held, rec.Size)) {
		return rec, fmt.Errorf("record %q: a size of %d bytes is less than what is held", rec.Target, rec.Size)
	}
	return rec, nil
}

// put writes rec, which is to be the Part's, and pages. With errNewState nothing is
// written.
func (p *Part) putRecord(t tx, rec *Record, pages []sumPage, all bool) error {
	claims := rec.Held.Len() > 0 && rec.State != Done // which would have no sums there
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

// took takes over a record that has been written, with mu held.
func (p *Part) adopt(rec Record) {
	p.rec = rec
	p.adoptSize()
}

// setSize takes over the size of the record.
func (p *Part) adoptSize() {
	p.writtenMu.Lock()
	defer p.writtenMu.Unlock()
	if p.size = p.rec.Size; p.size < 0 {
		p.size = chunk.Unbounded
	}
}

// ReadAt reads bytes that were written, durable or not.
func (p *Part) ReadAt(b []byte, off int64) (int, error) {
	if err := p.usable(); err != nil {
		return 0, err
	}
	return p.file.ReadAt(b, off)
}

// WriteAt writes b at its final offset (step 1). No byte may be written twice,
// and none beyond the end. After an error nothing of b counts as written.
func (p *Part) WriteAt(b []byte, off int64) (int, error) {
	if err := p.usable(); err != nil {
		return 0, err
	}
	r := chunk.Range{Off: off, End: off + int64(len(b))}
	p.writtenMu.Lock()
	wrong := off < 0 || r.End > p.size || p.written.overlaps(r)
	length := p.written.sums.Length()
	p.writtenMu.Unlock()
	if wrong {
		return 0, fmt.Errorf("write %q: %s is beyond its end, or written already", p.name, r)
	}
	if err := p.writeBlocks(b, off); err != nil {
		return 0, err
	}
	var few [4]pieceSum // rarely more
	sums := few[:0]
	for i, sum := range chunk.PieceSums(length, off, b) {
		sums = append(sums, pieceSum{i, sum})
	}
	p.writtenMu.Lock()
	defer p.writtenMu.Unlock()
	p.written.add(r, sums)
	return len(b), nil
}

// writeBlocks writes b, one caller after another: so does the kernel, for each file,
// but there those who wait spin.
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

// trust returns the error that ended trust in the part file, if any.
func (p *Part) usable() error {
	if err := p.brokenBy.Load(); err != nil {
		return *err
	}
	return nil
}

// inPlace returns what the part file is like, or ErrGone where another file or
// none is at its path.
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

// syncDir makes the part file's name durable, once.
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

func (p *Part) breakWith(err error) error {
	p.brokenBy.CompareAndSwap(nil, &err)
	return err
}

// Restart forgets all bytes, durably, changes the record by fn and empties the
// part file.
func (p *Part) Restart(fn func(*Record)) error {
	if err := p.usable(); err != nil {
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
	p.written = newWrittenBytes(p.rec.PieceLength) // the pages on record are those of nothing held
	p.reserved = 0
	p.writtenMu.Unlock()
	p.dirty.Store(false)
	if err := p.file.Truncate(0); err != nil && !errors.Is(err, errors.ErrUnsupported) { // nothing of it is held
		return p.breakWith(err)
	}
	info, err := p.file.Stat()
	if err != nil {
		return err
	}
	n, _ := allocated(info) // what was reserved may still be
	return p.checkSpace(n)
}

// Close releases the lock and the file, and gives back disk space of bytes that have not
// arrived. What was committed stays, and nothing else is promised. It returns nil: what was committed is synced, so a failure to
// close loses nothing, and the end of the process releases the lock.
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
