package downloader

import (
	"sync/atomic"

	"pawl/chunk"
)

// progress counts the bytes and responses of one download. Connections update the counts without a
// lock, because they do so for each read. Safe for concurrent use.
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
	started   atomic.Bool   // the event Started was sent
	surplus   atomic.Bool   // a body was longer than its header says, which is reported once

	pause atomic.Pointer[Pause] // why no byte has arrived since; nil if one has
	view
}

// receive counts n received bytes. A negative n takes bytes back that are going to be counted again.
func (p *progress) receive(n int64) {
	p.received.Add(n)
	p.all.Add(n)
	if p.pause.Load() != nil {
		p.pause.Store(nil)
	}
}

// responded notes that a host has responded, at a private address or a public one: a pause without a known
// end is over.
func (p *progress) responded(private bool) {
	if private {
		p.private.Store(true)
	} else {
		p.public.Store(true)
	}
	if known := p.pause.Load(); known != nil && known.Until.IsZero() {
		p.pause.CompareAndSwap(known, nil)
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

// begin begins an attempt with these held bytes, which has no transfer yet.
func (p *progress) begin(held chunk.Set) {
	p.setHeld(held.Len())
	p.view.begin(held)
}

// start reports whether the transfer starts for the first time. held is how many bytes there are
// already.
func (p *progress) start(held int64) bool {
	first := !p.started.Swap(true)
	if first {
		p.resumed.Store(held)
	}
	return first
}

// heldSet returns the bytes that are here, without those in buffers. Without a transfer, the bytes that
// have arrived since the begin of the attempt are the first ones of the file.
func (p *progress) heldSet() chunk.Set {
	held, complete := p.knownHeld()
	if n := p.held.Load(); !complete && n > held.Len() {
		held.Add(chunk.Range{End: n})
	}
	return held
}

// snapshot returns the progress for a front end, without the first connection of the download.
func (p *progress) snapshot() Progress {
	s := p.identity()
	s.Have, s.Received, s.Retries, s.Conns = p.held.Load(), p.received.Load(), int(p.retries.Load()), p.connections()
	return s
}
