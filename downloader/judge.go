package downloader

// This file is about what a failed attempt means: for the host, for the
// connection that made it, and for whether there is another one.

import (
	"context"
	"errors"
	"net/http"
	"time"

	"pawl/downloader/failure"
	"pawl/downloader/transport"
)

// errCrowded says that the first connection of a download was refused while
// others have some.
var errCrowded = errors.New("the host has no connection left")

// outcome returns the error of an attempt, nil if there is an answer to read.
func (j *job) outcome(h *host, resp *http.Response, err error) error {
	if err != nil || resp.StatusCode >= 500 {
		h.addr.Forget() // it may be one of several machines
	}
	if err != nil {
		return failure.Explain(err)
	}
	j.d.network.Responded()
	h.answered()
	if resp.StatusCode == http.StatusPartialContent {
		h.rangeServed()
	}
	switch code := resp.StatusCode; {
	case code == http.StatusAccepted && resp.Header.Get("Retry-After") != "": // the server prepares the file
	case isWhole(code), code == http.StatusPartialContent, code == http.StatusNotModified, code == http.StatusRequestedRangeNotSatisfiable:
		return nil
	}
	return &failure.StatusError{Code: resp.StatusCode, Host: resp.Request.URL.Host}
}

// judge says whether a failed attempt is worth another, and notes what it tells
// about the host. instead is errSteppedDown if w has stepped down because of it,
// and errCrowded if others have the connections.
func (j *job) judge(w *worker, resp *http.Response, failed error) (v verdict, instead error) {
	if errors.Is(failed, failure.ErrTLS) && j.stepDown(w, failed) { // one of several machines
		return verdict{}, errSteppedDown
	}
	if failure.IsPermanent(failed) {
		return verdict{}, nil
	}
	if resp != nil {
		j.obey(resp, failed, w, time.Now())
	}
	if w != nil && failure.MayBeLimit(failed) && !saysWhen(resp) && j.pool.again(w) {
		return verdict{again: true, wait: max(againAfter, j.host.held(time.Now())), limit: true}, nil
	}
	if j.stepDown(w, failed) {
		return verdict{}, errSteppedDown
	}
	if w == nil && j.gaveWay < mostGiveWay && failure.MayBeLimit(failed) && j.host.others() {
		return verdict{}, errCrowded
	}
	wait, again := j.setback(failed)
	return verdict{again: again, wait: wait}, nil
}

// saysWhen reports whether an answer, which may be nil, has a Retry-After.
func saysWhen(resp *http.Response) bool {
	if resp == nil {
		return false
	}
	_, ok := retryAfter(resp.Header, time.Now())
	return ok
}

// againAfter is how long a connection that has worked waits before it asks again
// when it is refused: the server may not have noticed yet that its last one is closed.
const againAfter = 100 * time.Millisecond

// longHold is how long all connections of a host wait because of one of several,
// which may be one too many. For longer, none is opened, and the others go on.
const longHold = 10 * time.Second

// mostGiveWay is how often a download hands back its first connection before its
// failures count as its own.
const mostGiveWay = 5

// obey notes a Retry-After. That of a 429 is for all requests to the host, unless
// it is long; any other only says that there are enough connections, as long as
// there is one.
func (j *job) obey(resp *http.Response, failed error, w *worker, now time.Time) {
	d, ok := retryAfter(resp.Header, now)
	if !ok {
		return
	}
	until := now.Add(min(d, j.d.opts.RetryAfterMax))
	if w == nil || j.pool.conns() == 1 || resp.StatusCode == http.StatusTooManyRequests && d <= longHold {
		if j.host.hold(until) && w != nil && j.pool.conns() > 1 { // or the retry tells it
			j.emit(Event{Kind: Waiting, Err: failed, Wait: until.Sub(now)})
		}
	} else {
		j.host.holdGrowth(until)
	}
}

// stepDown ends w's part in the download because of err, if others go on.
func (j *job) stepDown(w *worker, err error) bool {
	if w == nil {
		return false
	}
	left, ok := j.pool.stepDown(w)
	if ok {
		w.lane.host.refused(time.Now())
		j.emit(Event{Kind: Limited, Conns: left, Err: err})
	}
	return ok
}

// setback counts a failure without a byte, and tells how long to wait before
// the next try, if there is to be one.
func (j *job) setback(err error) (wait time.Duration, again bool) {
	if offline, first := j.d.network.IsDown(err); offline {
		if first {
			j.emit(Event{Kind: Offline, Err: err})
		}
		return transport.NetworkPollInterval, true
	}
	most := j.triesFor(err)
	n, wait, again := j.patience.fail(err, most)
	if again {
		j.retries.Add(1)
		wait = max(wait, j.host.held(time.Now()))
		j.emit(Event{Kind: Retrying, Err: err, Wait: wait, Attempt: n, Tries: most})
	}
	return wait, again
}

// triesFor returns how many consecutive failures end the download if the last one is err, 0
// for no limit. A name that had an address before is looked up as often as others, because a
// network that comes and goes loses its name server, too.
func (j *job) triesFor(err error) int {
	if failure.IsUnknownHost(err) && (j.isResumed() || j.host.addr.HasResolved()) {
		return j.patience.tries
	}
	return failure.MaxTries(err, j.patience.tries)
}

// giveWay hands back the download's first connection, and waits for another.
func (j *job) giveWay(ctx context.Context) error {
	h := j.host
	j.gaveWay++
	j.leave()
	h.refused(time.Now())
	j.emit(Event{Kind: Limited, Err: errCrowded})
	return j.enter(ctx, h)
}
