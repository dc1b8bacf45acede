package downloader

// This file handles failed attempts: it updates the retry budget and the pauses of hosts.

import (
	"context"
	"errors"
	"net/http"
	"time"

	"pawl/downloader/failure"
	"pawl/downloader/hosts"
	"pawl/downloader/response"
	"pawl/downloader/transport"
)

const (
	// refusedDelay is the pause before a connection that has worked asks again when it is
	// refused: the server may not have noticed yet that the last connection is closed. A guess.
	refusedDelay = 100 * time.Millisecond
	// maxSharedPause is the longest Retry-After of a 429 that pauses all connections to a host
	// because of one of several, which may be one too many. For longer ones, no connection is
	// opened, and the others go on. A guess.
	maxSharedPause = 10 * time.Second
)

// errSteppedDown means that the connection left the transfer, and that others go on.
var errSteppedDown = errors.New("the connection left the transfer")

// hasRetryAfter reports whether a response, which may be nil, has a valid Retry-After field.
func hasRetryAfter(resp *http.Response) bool {
	if resp == nil {
		return false
	}
	_, ok := response.RetryAfter(resp.Header, time.Now())
	return ok
}

// waitForHost waits while the host wants no request.
func (d *download) waitForHost(ctx context.Context, h *hosts.Host) error {
	wait := h.PausedFor(time.Now())
	if known := d.progress.pause.Load(); wait > 0 && (known == nil || known.Until.Before(time.Now())) { // otherwise it is most likely the same pause, with its cause
		d.waits(errResting, wait)
	}
	return sleep(ctx, wait)
}

// obey applies the Retry-After of a response from h. With status 429 it pauses all requests to
// the host, unless it is long. With another status it means that there are enough connections, if
// other connections of the source go on. It returns how long all requests pause, if that is news.
func (d *download) obey(h *hosts.Host, c requester, resp *http.Response) (pause time.Duration) {
	now := time.Now()
	wish, ok := response.RetryAfter(resp.Header, now)
	if !ok {
		return 0
	}
	pause = min(wish, d.engine.opts.Retry.MaxRetryAfter)
	short := resp.StatusCode == http.StatusTooManyRequests && wish <= maxSharedPause // also if our limit is shorter
	if c != nil && c.others() && !short {
		h.PauseOpening(now.Add(pause))
		return 0
	}
	if h.PauseUntil(now.Add(pause)) {
		return pause
	}
	return 0
}

const (
	// maxPreparation is how long a server may answer one request that the file is not ready, for
	// example with 202, before that counts as failures. A guess: archives of hundreds of gigabytes are made within an hour; double only
	// delays the error of a server that never ends.
	maxPreparation = time.Hour
	// preparationNews is the time between two events that the server is still preparing the file.
	preparationNews = time.Minute
	// minPreparationWait is the shortest wait before the same request after a 202, doubled each time
	// up to maxPreparationWait: some servers say Retry-After: 0. A guess: with half, a server gets
	// twice the requests for an answer that it has not, and with double the user waits up to a
	// minute for a file that is ready.
	minPreparationWait = time.Second
	maxPreparationWait = 30 * time.Second
)

// A preparation is the wait for a file that the server is still making. The zero preparation has
// not begun.
type preparation struct {
	begun, told time.Time     // told is the time of the last event
	wait        time.Duration // the last wait, unless the server wished a longer one
}

// goesOn reports whether the server may still be waited for.
func (p *preparation) goesOn(now time.Time) bool {
	if p.begun.IsZero() {
		p.begun = now
	}
	return now.Sub(p.begun) < maxPreparation
}

// next returns the shortest wait before the next request.
func (p *preparation) next() time.Duration {
	p.wait = min(max(minPreparationWait, 2*p.wait), maxPreparationWait)
	return p.wait
}

// awaitPreparation returns when to ask again after resp, which says that the file is not ready. It
// costs no try.
func (d *download) awaitPreparation(p *preparation, resp *http.Response, failed error) verdict {
	now := time.Now()
	wish, _ := response.RetryAfter(resp.Header, now)
	wait := max(p.next(), min(max(wish, d.engine.opts.Retry.Wait), d.engine.opts.Retry.MaxRetryAfter))
	d.waits(failed, wait)
	if now.Sub(p.told) >= preparationNews {
		p.told = now
		d.emit(Event{Kind: Waiting, Err: failed, Retry: Retry{Wait: wait}})
	}
	return verdict{again: true, wait: wait, limit: true}
}

// stepDown takes connection c out of its transfer because of err, if others go on.
func (d *download) stepDown(c requester, err error) bool { return c != nil && c.stepDown(err) }

// pause handles a body that ended with few bytes or none: the other connections go on without
// c, or c waits, or the retry budget is exhausted, and err is returned. A connection that was taken
// away is no failure: the next request waits for another one.
func (d *download) pause(ctx context.Context, c requester, err error) error {
	if errors.Is(err, transport.ErrTaken) {
		return nil
	}
	if d.stepDown(c, err) {
		return errSteppedDown
	}
	wait, again := d.setback(err)
	if !again {
		return err
	}
	return sleep(ctx, wait)
}

// setback counts a failure without a byte. It returns how long to wait before the next try, and
// whether there is one. While the machine is offline and Options.WaitNetwork is set, failures
// do not count. Neither do connections that were taken away.
func (d *download) setback(err error) (wait time.Duration, again bool) {
	if errors.Is(err, transport.ErrTaken) {
		return 0, true
	}
	if offline, first := d.engine.network.IsDown(err); offline {
		d.waits(err, 0)
		if first {
			d.emit(Event{Kind: Offline, Err: err})
		}
		return transport.NetworkPollInterval, true
	}
	limit := d.triesFor(err)
	n, wait, again := d.budget.failed(err, limit)
	if again {
		d.progress.retries.Add(1)
		wait = max(wait, d.first.host.PausedFor(time.Now()))
		d.waits(err, wait)
		d.emit(Event{Kind: Retrying, Err: err, Retry: Retry{Wait: wait, Attempt: n, Tries: limit}})
	}
	return wait, again
}

// triesFor returns how many consecutive failures end the download if the last one is err, 0
// for no limit. A name that had an address before is looked up as often as others, because a
// network that comes and goes loses its name server, too.
func (d *download) triesFor(err error) int {
	if failure.IsUnknownHost(err) && (d.file.isResumed() || d.first.host.Address.HasResolved()) {
		return d.budget.tries
	}
	return failure.MaxTries(err, d.budget.tries)
}

// tryAgain counts a failure that may pass, and waits before the next try, if there is one. A
// permanent failure costs nothing.
func (d *download) tryAgain(ctx context.Context, failed error) (again bool, err error) {
	if failure.IsPermanent(failed) {
		return true, nil
	}
	wait, again := d.setback(failed)
	if !again {
		return false, nil
	}
	return true, sleep(ctx, wait)
}
