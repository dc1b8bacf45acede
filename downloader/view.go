package downloader

import (
	"slices"
	"sync"

	"pawl/chunk"
	"pawl/store"
)

// A view is the parts of a download that a front end may look at while the download runs: the goroutine
// of the download changes them here only. Safe for concurrent use.
type view struct {
	mu       sync.Mutex
	shown    Progress  // without its counts; guarded by mu
	base     chunk.Set // held bytes of the record, or at the begin of the attempt; guarded by mu
	transfer *transfer // of the attempt, which may have ended; nil if there is none; guarded by mu
	mirrors  []*mirror // guarded by mu; nobody changes the elements
}

// identity returns the fields of Progress that describe the file, without counts.
func (v *view) identity() Progress {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.shown
}

// show makes the ID, target and size of a record visible.
func (v *view) show(r store.Record) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shown.ID, v.shown.Target, v.shown.Size = r.ID, r.Target, r.Size
	v.base = r.Held.Clone()
}

// showMirrors makes the mirrors visible.
func (v *view) showMirrors(all []*mirror) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mirrors = slices.Clone(all)
}

// transferBy makes t the transfer of the attempt.
func (v *view) transferBy(t *transfer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.transfer = t
}

// current returns the transfer of the attempt, which may have ended; nil if there is none.
func (v *view) current() *transfer {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.transfer
}

// connections returns how many connections the transfer has, 0 if there is none.
func (v *view) connections() int {
	if t := v.current(); t != nil {
		return t.conns()
	}
	return 0
}

// isTransferring reports whether the attempt has a transfer, which may have ended.
func (v *view) isTransferring() bool { return v.current() != nil }

// begin begins an attempt with these held bytes, which has no transfer yet.
func (v *view) begin(held chunk.Set) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.base, v.transfer = held.Clone(), nil
}

// knownHeld returns the bytes that are here, and whether these are all: without a transfer, further ones may
// have arrived.
func (v *view) knownHeld() (held chunk.Set, complete bool) {
	v.mu.Lock()
	t, base := v.transfer, v.base.Clone()
	v.mu.Unlock()
	if t != nil {
		return t.sched.Held(), true
	}
	return base, false
}

// sources returns the transfer and the mirrors of the attempt.
func (v *view) sources() (*transfer, []*mirror) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.transfer, v.mirrors
}
