package downloader

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/hosts"
	"pawl/downloader/response"
)

const (
	// conflictDelay is the pause before the next request after a response of another version.
	// A guess: long enough that a load balancer may choose another machine, and too short to be
	// noticed.
	conflictDelay = 30 * time.Millisecond
	// maxLies is how often a server may send wrong responses to one connection, even if other
	// connections get useful ones. A guess; without a limit, a connection to one bad machine of
	// several would ask for ever.
	maxLies = 5
	// maxBrokenOff is how often a server may close the connection instead of responding, until
	// that counts as its refusal of the Range field. With one, a server that restarts would lose
	// its ranges; with six, the user waits twice as long for the first byte.
	maxBrokenOff = 3
)

var (
	// errCrowded means that the host refused the first connection of a download, while other
	// downloads have connections to it.
	errCrowded = errors.New("the host has no connection left")
	// errAskAgain means that the same request may be sent again.
	errAskAgain = errors.New("ask again")
)

// A rangeError is the failure of a request that the Range field may have caused.
type rangeError struct{ error }

// A conditionError is the failure of a request that its conditions may have caused.
type conditionError struct{ error }

// isConditional reports whether further header fields of a request make it conditional.
func isConditional(extra http.Header) bool {
	return extra.Get("If-None-Match") != "" || extra.Get("If-Modified-Since") != ""
}

// An asker requests the file from its origin. c is the connection of a transfer that asks, nil
// outside of a transfer.
type asker struct{ *download }

// target returns the target of a request to dest, to which the URL of the request leads.
func (a asker) target(dest destination) target {
	to := target{url: dest.url, asked: a.origin.url, strayed: dest.strayed, host: a.first.host, public: dest.public, timeout: a.timeout, received: &a.origin.received}
	tag := a.version.StrongETag()
	if tag != "" && !a.version.evidence.Uncertain() && !a.first.host.Ranges.AreUnconditional() { // the ETag of the response is compared in any case
		to.ifRange = tag
	}
	return to
}

// timeout returns the timeout of a request to the origin. The only connection of a
// download may be silent for longer, because no other connection could replace it.
func (a asker) timeout() time.Duration {
	if a.progress.connections() > 1 {
		return a.engine.opts.Timeouts.Stall
	}
	return a.budget.silenceTimeout()
}

// ask is askWith without further header fields.
func (a asker) ask(ctx context.Context, c requester, r chunk.Range) (*reply, error) {
	return a.askWith(ctx, nil, c, r)
}

// askOnce requests range r of the file from the origin, without a retry. The error is errConflict if the
// response has another version or the whole file.
func (a asker) askOnce(ctx context.Context, r chunk.Range) (*reply, error) {
	dest, _ := a.origin.current()
	to := a.target(dest)
	to.judge = noRetry
	rep, err := send(ctx, a.download, to, nil, r)
	if err != nil {
		return nil, err
	}
	if rep.Whole || a.version.Differs(rep.Version) != "" {
		rep.close()
		return nil, errConflict
	}
	return rep, nil
}

// askWith requests range r of the file from the origin, the whole file if r is empty, with
// these further header fields, which are conditions. It leaves them out if the server refuses them. It returns a response of the wanted version. It waits as the
// host asks, repeats the request while the retry budget lasts, and resolves the URL of the
// request again if the final URL has expired. c is the connection that asks, nil outside of
// a transfer.
//
// Besides permanent failures, the errors are a restartError; errSteppedDown; and
// errUnsatisfiable with a reply whose body is closed.
func (a asker) askWith(ctx context.Context, extra http.Header, c requester, r chunk.Range) (*reply, error) {
	for lies, useful := 0, a.progress.useful.Load(); ; {
		if err := a.waitForHost(ctx, a.first.host); err != nil {
			return nil, err
		}
		dest, release, err := a.origin.resolve(ctx)
		if err != nil {
			return nil, err
		}
		rep, err := a.askAt(ctx, dest, release, extra, c, r)
		var refused rangeError
		switch {
		case err == nil:
			return rep, nil
		case errors.As(err, new(conditionError)):
			extra = nil
		case errors.Is(err, errCrowded):
			if err := a.yieldFirst(ctx); err != nil {
				return nil, err
			}
		case failure.MayBeExpired(err) && dest.url != a.origin.url: // signed URLs expire
			a.origin.expired(dest.url)
		case failure.IsPermanent(err) && a.stepDown(c, err):
			return nil, errSteppedDown
		case a.isFurtherRefusal(c, r, err):
			if a.target(dest).ifRange != "" && a.first.host.Ranges.DropCondition() {
				continue
			}
			return nil, restartError{why: "the server refuses further ranges of it", single: true, keep: true, cause: err}
		case errors.Is(err, errLie):
			if lies++; lies > maxLies || lies > 1 && a.progress.useful.Load() == useful {
				if a.stepDown(c, err) {
					return nil, errSteppedDown
				}
				return nil, restartError{why: err.Error(), single: true, keep: true}
			}
			a.emit(Event{Kind: Warning, Err: err})
		case errors.Is(err, errConflict):
			if err := sleep(ctx, conflictDelay); err != nil {
				return nil, err
			}
		case errors.As(err, &refused):
			if rep, err := a.askPlain(ctx, extra, dest, refused.error); err == nil || !errors.Is(err, errAskAgain) {
				return rep, err
			}
		case errors.Is(err, errOverdue) && a.stepDown(c, err):
			return nil, errSteppedDown
		case errors.Is(err, errOverdue):
		case errors.Is(err, failure.ErrPage):
			if err := a.pause(ctx, c, err); err != nil {
				return nil, err
			}
		default:
			return rep, err
		}
	}
}

// askAt sends the request to dest, and compares the response with the held bytes. It calls release
// once, when it has a response or an error, or before it waits for a file that the server is making.
func (a asker) askAt(ctx context.Context, dest destination, release func(), extra http.Header, c requester, r chunk.Range) (*reply, error) {
	release = sync.OnceFunc(release)
	to, failures := a.target(dest), 0
	to.extra = extra
	var p preparation
	to.judge = func(resp *http.Response, err error) (verdict, error) {
		if failure.IsPreparing(err) && p.goesOn(time.Now()) {
			release()
			return a.awaitPreparation(&p, resp, err), nil
		}
		if isConditional(extra) && failure.MayRefuseCondition(err) {
			return verdict{}, conditionError{err}
		}
		if failures++; c == nil && a.mayRefuseRange(r, failures, err) {
			return verdict{}, rangeError{err}
		}
		expired := failure.MayBeExpired(err) && dest.url != a.origin.url
		if failure.MayBeBan(err) && (expired || to.ifRange != "") { // askWith has a better request
			return verdict{}, nil
		}
		return a.judge(c, resp, err)
	}
	rep, err := send(ctx, a.download, to, c, r)
	if err == nil {
		a.origin.resolved(dest, rep.leadsTo())
		if rep.ProtoMajor == 2 {
			a.first.host.SpeaksHTTP2()
		}
	}
	release()
	if errors.Is(err, errUnsatisfiable) && a.version.Size > r.Off {
		return rep, decided(a.version.evidence.JudgeUnsatisfiable(a.version.Version, rep.Content, response.Request{Range: r}))
	}
	if err != nil {
		return rep, err
	}
	if err := a.compare(rep, r); err != nil {
		rep.close()
		return rep, err
	}
	a.progress.useful.Add(1)
	if c == nil {
		a.first.yields = 0
	}
	return rep, nil
}

// mayRefuseRange reports whether a failure of a request for r may be caused by its Range field.
// failures counts the failures of the request. The question arises once, at the first byte, and only
// while no range has worked on the host, so that a missing file of a list does not cost two
// requests. A download that began without ranges may ask at any byte.
func (a asker) mayRefuseRange(r chunk.Range, failures int, err error) bool {
	middle := r.Off > 0 && (a.file.part == nil || !a.file.record().NoRanges)
	if r.Empty() || middle || a.origin.plainTried || a.first.host.Ranges.Use() > hosts.RangesDoubted {
		return false
	}
	return failure.MayRefuseRange(err) || failures >= maxBrokenOff && failure.IsBrokenOff(err)
}

// isFurtherRefusal reports whether the server refuses a range although bytes of the file have
// arrived, in this run or an earlier one: it may serve each URL once, or refuse closed ranges or
// the If-Range field. Before a transfer, a status that says that the file is gone is believed.
func (a asker) isFurtherRefusal(c requester, r chunk.Range, err error) bool {
	if r.Empty() || a.file.moved || !failure.IsRefusal(err) {
		return false
	}
	return c != nil || r.Off > 0 && !failure.MayBeExpired(err)
}

// mayBeBan reports whether err, with which the host refuses the last connection of a transfer, may
// be its ban for a while because there were more.
func (a asker) mayBeBan(c requester, err error) bool {
	return c != nil && !c.others() && failure.MayBeBan(err) && a.first.host.HasRefused()
}

// askPlain sends one request without a Range field to dest, because a request with the field
// failed. If that works, the host is asked for no more ranges. If both failures may pass, they
// cost two tries, and the error is errAskAgain while there are tries left.
func (a asker) askPlain(ctx context.Context, extra http.Header, dest destination, failed error) (*reply, error) {
	a.origin.plainTried = true
	again, err := a.tryAgain(ctx, failed)
	if err != nil {
		return nil, err
	}
	to := a.target(dest)
	to.extra, to.judge = extra, noRetry
	rep, err := send(ctx, a.download, to, nil, chunk.Range{})
	if err == nil {
		if err = a.compare(rep, chunk.Range{}); err != nil {
			rep.close()
		}
	}
	if err == nil {
		a.origin.resolved(dest, rep.leadsTo())
		a.first.host.Ranges.Failed(!failure.IsPermanent(failed))
		if final := a.engine.host(rep.Request.URL); final != a.first.host {
			final.Ranges.Failed(!failure.IsPermanent(failed))
		}
		a.progress.useful.Add(1)
		return rep, nil
	}
	if ctx.Err() != nil || failure.IsPermanent(err) || !again {
		return nil, err
	}
	if again, sleepErr := a.tryAgain(ctx, err); sleepErr != nil || !again {
		return nil, cmp.Or(sleepErr, err)
	}
	return nil, errAskAgain
}

// compare returns an error if rep cannot be used for range r together with the held bytes.
func (a asker) compare(rep *reply, r chunk.Range) error {
	return decided(a.version.evidence.Judge(a.version.Version, rep.Content, response.Request{Range: r, Conditional: rep.conditional, InTransfer: a.progress.isTransferring()}))
}

// judge returns the next step after a failed attempt, and updates the state of the host. instead
// is errSteppedDown if the connection c has left the transfer because of it, and errCrowded if
// other downloads have the connections.
func (a asker) judge(c requester, resp *http.Response, failed error) (v verdict, instead error) {
	if failure.OfConnection(failed) && a.stepDown(c, failed) {
		return verdict{}, errSteppedDown
	}
	if failure.IsPermanent(failed) && !a.mayBeBan(c, failed) {
		return verdict{}, nil
	}
	if resp != nil {
		if until := a.obey(a.first.host, c, resp); until > 0 && c != nil && a.progress.connections() > 1 { // otherwise the event of the retry has it
			a.waits(failed, until)
			a.emit(Event{Kind: Waiting, Err: failed, Retry: Retry{Wait: until}})
		}
	}
	if c != nil && failure.MayBeLimit(failed) && !hasRetryAfter(resp) && c.MayRetry() {
		return verdict{again: true, wait: max(refusedDelay, a.first.host.PausedFor(time.Now())), limit: true}, nil
	}
	if a.stepDown(c, failed) {
		return verdict{}, errSteppedDown
	}
	if c == nil && a.first.yields < maxYields && failure.MayBeLimit(failed) && a.first.host.HasOthers() {
		return verdict{}, errCrowded
	}
	wait, again := a.setback(failed)
	return verdict{again: again, wait: wait}, nil
}

// yieldFirst hands the first connection of the download back to the host, and waits for another
// one.
func (a asker) yieldFirst(ctx context.Context) error {
	h := a.first.host
	a.first.yields++
	a.first.release()
	h.Refused(time.Now())
	a.emit(Event{Kind: Limited, Err: errCrowded})
	return a.acquireFirst(ctx, h)
}
