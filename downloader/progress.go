package downloader

import (
	"sync"
	"sync/atomic"

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

	mu      sync.Mutex
	started bool       // the event Started was sent; guarded by mu
	shown   Progress   // without its counts; guarded by mu
	conns   func() int // of the transfer under way; nil if there is none; guarded by mu
}

// receive counts n received bytes. A negative n takes bytes back that are going to be counted again.
func (p *progress) receive(n int64) {
	p.received.Add(n)
	p.all.Add(n)
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
}

// countConns makes conns the function that counts the open connections; nil for none.
func (p *progress) countConns(conns func() int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = conns
}

// connections returns how many connections the transfer has, 0 if there is none.
func (p *progress) connections() int {
	p.mu.Lock()
	conns := p.conns
	p.mu.Unlock()
	if conns == nil {
		return 0
	}
	return conns()
}

// isTransferring reports whether the attempt has a transfer, which may have ended.
func (p *progress) isTransferring() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conns != nil
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
