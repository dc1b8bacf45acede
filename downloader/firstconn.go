package downloader

import (
	"context"
	"sync/atomic"

	"pawl/downloader/hosts"
)

// maxYields is how often a download hands its first connection back to a host that refuses
// it before the refusals count as failures of the download. A guess; without a limit, a host
// that refuses everything would be asked for ever.
const maxYields = 5

// A firstConn is the permission for the first connection of a download. The scheduler of the
// transfer takes it over; before and after, requests for samples use it. It is for one
// goroutine at a time, except that any goroutine may read held.
type firstConn struct {
	host   *hosts.Host // that is asked
	held   atomic.Bool // the connection counts at the host
	yields int         // consecutive times that it was handed back
	large  bool        // the file is too large to be one of many small ones
}

// acquireFirst waits until host grants the first connection of the download.
func (d *download) acquireFirst(ctx context.Context, host *hosts.Host) error {
	defer d.waits(errNoRoom, 0)()
	return d.first.acquire(ctx, host, d.mayBeSmall())
}

// mayBeSmall reports whether the file is one of many that may be small, as far as is known.
func (d *download) mayBeSmall() bool {
	tooLarge := d.goal.listed != nil && d.goal.listed.Size > maxSmallFile
	return d.goal.released != nil && d.file.part == nil && !d.first.large && !tooLarge
}

// acquire waits until host grants a connection. small says that the file is one of many that may be small.
func (f *firstConn) acquire(ctx context.Context, host *hosts.Host, small bool) error {
	f.host = host
	err := host.Acquire(ctx, small)
	f.held.Store(err == nil)
	return err
}

// moveTo makes the connection count for host. It does not wait, because the caller has an open
// response, and its connection may be the only one that the host grants.
func (f *firstConn) moveTo(host *hosts.Host) {
	if host == f.host {
		return
	}
	f.release()
	host.Adopt()
	f.host = host
	f.held.Store(true)
}

// handOver leaves the connection to the scheduler, which gives it back.
func (f *firstConn) handOver() { f.held.Store(false) }

// release gives the connection back, if it is held.
func (f *firstConn) release() {
	if f.held.Swap(false) {
		f.host.Release()
	}
}
