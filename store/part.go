package store

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"pawl/chunk"
)

// errFinished is what a Part says when its file has gone to its final name.
var errFinished = errors.New("the download is finished")

// A Part is an open download: a locked part file and its record. The step
// numbers in this file are those of the commit protocol in the package comment.
//
// WriteAt and ReadAt may be called concurrently with each other and with
// Commit; the other methods by one goroutine at a time.
type Part struct {
	store *Store
	lock  io.Closer // held until Close
	file  File      // nil once the download is done
	lost  int64     // immutable after Resume

	dirSynced bool // step 2 has synced the directory; of Commit alone

	// broken is the failed sync or truncation that ended trust. It has no lock,
	// so that WriteAt does not wait for a transaction.
	broken atomic.Pointer[error]

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
	defer p.mu.Unlock()
	return p.update(fn)
}

// update is Update with mu held. The record changes only if the transaction
// succeeds.
func (p *Part) update(fn func(*Record)) error {
	rec := p.rec
	rec.Held = rec.Held.Clone()
	fn(&rec)
	rec.Updated = time.Now()
	err := p.store.write(func(t tx) error {
		if rec.URL != p.rec.URL {
			if err := t.unindex(&p.rec); err != nil {
				return err
			}
			if err := t.index(&rec); err != nil {
				return err
			}
		}
		return t.put(&rec)
	})
	if err != nil {
		return err
	}
	p.rec = rec
	return nil
}

// Reserve asks for the blocks of r beforehand, where that is free of cost.
func (p *Part) Reserve(r chunk.Range) error {
	if err := p.trust(); err != nil {
		return err
	}
	return p.file.Reserve(r.Off, r.Len())
}

// ReadAt reads bytes that were written, durable or not.
func (p *Part) ReadAt(b []byte, off int64) (int, error) {
	if err := p.trust(); err != nil {
		return 0, err
	}
	return p.file.ReadAt(b, off)
}

// WriteAt writes b at its final offset (step 1).
func (p *Part) WriteAt(b []byte, off int64) (int, error) {
	if err := p.trust(); err != nil {
		return 0, err
	}
	return p.file.WriteAt(b, off)
}

// trust returns the error that ended trust in the part file, if any.
func (p *Part) trust() error {
	if err := p.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// Commit makes held durable and records it (steps 2 and 3), along with rate in
// bytes per second. Every byte of held must have been written before the call;
// bytes committed earlier stay held. After a failed sync the Part is broken and
// every later call fails; after a failed transaction Commit may be called again.
func (p *Part) Commit(held chunk.Set, rate int64) error {
	if err := p.trust(); err != nil {
		return err
	}
	if err := p.sync(); err != nil {
		return p.breakWith(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rec.Size >= 0 && !held.Equal(clip(held, p.rec.Size)) {
		return fmt.Errorf("commit %q: bytes beyond the end", p.rec.Target)
	}
	return p.update(func(r *Record) {
		for x := range held.All() {
			r.Held.Add(x)
		}
		r.Rate = rate
	})
}

// sync is step 2.
func (p *Part) sync() error {
	if err := p.file.DataSync(); err != nil {
		return fmt.Errorf("sync %q: %w", p.rec.Part(), err)
	}
	return p.syncDir()
}

// syncDir makes the part file's name durable, once.
func (p *Part) syncDir() error {
	if p.dirSynced {
		return nil
	}
	if err := p.store.fs.SyncDir(filepath.Dir(p.rec.Target)); err != nil {
		return err
	}
	p.dirSynced = true
	return nil
}

func (p *Part) breakWith(err error) error {
	p.broken.CompareAndSwap(nil, &err)
	return err
}

// Restart forgets all bytes, durably, changes the record by fn and empties the
// part file.
func (p *Part) Restart(fn func(*Record)) error {
	if err := p.trust(); err != nil {
		return err
	}
	err := p.Update(func(r *Record) {
		fn(r)
		r.Held, r.State, r.Reason = chunk.Set{}, Active, ""
	})
	if err != nil {
		return err
	}
	if err := p.file.Truncate(0); err != nil {
		return p.breakWith(err)
	}
	info, err := p.file.Stat()
	if err != nil {
		return err
	}
	n, _ := allocated(info) // what was reserved may still be
	return p.checkSpace(n)
}

// Close releases the lock and the file. What was committed stays, and nothing
// else is promised.
func (p *Part) Close() error {
	var errs []error
	if p.file != nil {
		errs = append(errs, p.file.Close())
		p.file = nil
	}
	if p.lock != nil {
		errs = append(errs, p.lock.Close())
		p.lock = nil
	}
	return errors.Join(errs...)
}
