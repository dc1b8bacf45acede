package downloader

import (
	"slices"
	"sync"
	"sync/atomic"

	"pawl/chunk"
	"pawl/store"
)

// progress counts the bytes and responses of one download. Connections update the counts without a
// lock, because they do so for each read. It also keeps the part of the
// state that a front end shows. Safe for concurrent use.
type progress struct {
	received  atomic.Int64  // bytes received by this run, including those received twice
	all       *atomic.Int64 // received bytes of all downloads of the process
	held      atomic.Int64  // bytes of the file that are here; those not yet written count
	resumed   atomic.Int64  // bytes of held that an earlier run received
	highWater atomic.Int64  // the most bytes that were ever written; bytes that are written again are no progress
	retries   atomic.Int64  // failures that were followed by another try
	useful    atomic.Int64  // responses whose bytes could be used
	public    atomic.Bool   // a response came from a public address
	private   atomic.Bool   // a response came from a private address
	surplus   atomic.Bool   // a body was longer than its header says, which is reported once

	pause atomic.Pointer[Pause] // why no byte has arrived since; nil if one has

	mu       sync.Mutex
	started  bool      // the event Started was sent; guarded by mu
	shown    Progress  // without its counts; guarded by mu
	begunBy  chunk.Set // held bytes at the begin of the attempt; immutable, the field is guarded by mu
	transfer *transfer // of the attempt, which may have ended; nil if there is none; guarded by mu
	mirrors  []*mirror // guarded by mu; nobody changes the elements
}

// receive counts n received bytes. A negative n takes bytes back that are going to be counted again.
func (p *progress) receive(n int64) {
	p.received.Add(n)
	p.all.Add(n)
	if p.pause.Load() != nil {
		p.pause.Store(nil)
	}
}

// setHeld makes n the number of held bytes. If there were more, the bytes of earlier runs are
// assumed to remain as far as possible.
func (p *progress) setHeld(n int64) {
	p.held.Store(n)
	p.resumed.Store(min(p.resumed.Load(), n))
}

// written notes that n bytes of the file are written. It returns how many more these are
// than ever before.
func (p *progress) written(n int64) (gained int64) {
	for {
		before := p.highWater.Load()
		if n <= before {
			return 0
		}
		if p.highWater.CompareAndSwap(before, n) {
			return n - before
		}
	}
}

// show makes the ID, target and size of a record visible.
func (p *progress) show(r store.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shown.ID, p.shown.Target, p.shown.Size = r.ID, r.Target, r.Size
	p.begunBy = r.Held.Clone()
}

// showMirrors makes the mirrors visible.
func (p *progress) showMirrors(all []*mirror) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mirrors = slices.Clone(all)
}

// begin begins an attempt with these held bytes, which has no transfer yet.
func (p *progress) begin(held chunk.Set) {
	p.setHeld(held.Len())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begunBy, p.transfer = held.Clone(), nil
}

// transferBy makes t the transfer of the attempt.
func (p *progress) transferBy(t *transfer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.transfer = t
}

// current returns the transfer of the attempt, which may have ended; nil if there is none.
func (p *progress) current() *transfer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.transfer
}

// connections returns how many connections the transfer has, 0 if there is none.
func (p *progress) connections() int {
	if t := p.current(); t != nil {
		return t.conns()
	}
	return 0
}

// isTransferring reports whether the attempt has a transfer, which may have ended.
func (p *progress) isTransferring() bool { return p.current() != nil }

// heldSet returns the bytes that are here, without those in buffers. Without a transfer, the bytes that
// have arrived since the begin of the attempt are the first ones of the file.
func (p *progress) heldSet() chunk.Set {
	p.mu.Lock()
	t, held := p.transfer, p.begunBy.Clone()
	p.mu.Unlock()
	if t != nil {
		return t.sched.Held()
	}
	if n := p.held.Load(); n > held.Len() {
		held.Add(chunk.Range{End: n})
	}
	return held
}

// start reports whether the transfer starts for the first time. held is how many bytes there are
// already.
func (p *progress) start(held int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := !p.started
	if p.started = true; first {
		p.resumed.Store(held)
	}
	return first
}

// snapshot returns the progress for a front end, without the first connection of the download.
func (p *progress) snapshot() Progress {
	p.mu.Lock()
	s := p.shown
	p.mu.Unlock()
	s.Have, s.Received, s.Retries, s.Conns = p.held.Load(), p.received.Load(), int(p.retries.Load()), p.connections()
	return s
}
