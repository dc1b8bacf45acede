package downloader

import (
	"cmp"
	"context"
	"errors"
	"net/http"
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

// An asker requests the file from its origin. c is the connection of a transfer that asks, nil
// outside of a transfer.
type asker struct{ *download }

// target returns the target of a request to dest, to which the URL of the request leads.
func (j asker) target(dest destination) target {
	to := target{url: dest.url, asked: j.origin.url, host: j.first.host, public: dest.public, timeout: j.timeout}
	if dest.strayed {
		to.asked = nil
	}
	if tag := j.version.StrongETag(); tag != "" && !j.version.evidence.Uncertain() { // the ETag of the response is compared in any case
		to.ifRange = tag
	}
	return to
}

// timeout returns the timeout of a request to the origin. The only connection of a
// download may be silent for longer, because no other connection could replace it.
func (j asker) timeout() time.Duration {
	if j.progress.connections() > 1 {
		return j.d.opts.StallTimeout
	}
	return j.budget.silenceTimeout()
}

// ask is askWith without further header fields.
func (j asker) ask(ctx context.Context, c requester, r chunk.Range) (*reply, error) {
	return j.askWith(ctx, nil, c, r)
}

// askWith requests range r of the file from the origin, the whole file if r is empty, with
// these further header fields. It returns a response of the wanted version. It waits as the
// host asks, repeats the request while the retry budget lasts, and resolves the URL of the
// request again if the final URL has expired. w is the connection that asks, nil outside a
// transfer.
//
// Besides permanent failures, the errors are a restartError; errSteppedDown; and
// errUnsatisfiable with a reply whose body is closed.
func (j asker) askWith(ctx context.Context, extra http.Header, c requester, r chunk.Range) (*reply, error) {
	for lies, useful := 0, j.progress.useful.Load(); ; {
		if err := sleep(ctx, j.first.host.PausedFor(time.Now())); err != nil {
			return nil, err
		}
		dest, release, err := j.origin.resolve(ctx)
		if err != nil {
			return nil, err
		}
		rep, err := j.askAt(ctx, dest, release, extra, c, r)
		var refused rangeError
		switch {
		case err == nil:
			return rep, nil
		case errors.Is(err, errCrowded):
			if err := j.yieldFirst(ctx); err != nil {
				return nil, err
			}
		case failure.MayBeExpired(err) && dest.url != j.origin.url: // signed URLs expire
			j.origin.expired(dest.url)
		case failure.MayBeExpired(err) && j.stepDown(c, err):
			return nil, errSteppedDown
		case errors.Is(err, errLie):
			if lies++; lies > maxLies || lies > 1 && j.progress.useful.Load() == useful {
				return nil, restartError{why: err.Error(), single: true, keep: true}
			}
			j.emit(Event{Kind: Warning, Err: err})
		case errors.Is(err, errConflict):
			if err := sleep(ctx, conflictDelay); err != nil {
				return nil, err
			}
		case errors.As(err, &refused):
			if rep, err := j.askPlain(ctx, extra, dest, refused.error); err == nil || !errors.Is(err, errAskAgain) {
				return rep, err
			}
		case errors.Is(err, errOverdue) && j.stepDown(c, err):
			return nil, errSteppedDown
		case errors.Is(err, errOverdue):
		case errors.Is(err, failure.ErrPage):
			if err := j.pause(ctx, c, err); err != nil {
				return nil, err
			}
		default:
			return rep, err
		}
	}
}

// askAt sends the request to dest, and compares the response with the held bytes. It calls release
// when it has a response, or an error.
func (j asker) askAt(ctx context.Context, dest destination, release func(), extra http.Header, c requester, r chunk.Range) (*reply, error) {
	to, failures := j.target(dest), 0
	to.extra = extra
	to.judge = func(resp *http.Response, err error) (verdict, error) {
		if failures++; c == nil && j.mayRefuseRange(r, failures, err) {
			return verdict{}, rangeError{err}
		}
		return j.judge(c, resp, err)
	}
	rep, err := send(ctx, j.download, to, c, r)
	if err == nil {
		j.origin.resolved(dest, rep.leadsTo())
		if rep.ProtoMajor == 2 {
			j.first.host.SpeaksHTTP2()
		}
	}
	release()
	if errors.Is(err, errUnsatisfiable) && j.version.Size > r.Off {
		return rep, decided(j.version.evidence.JudgeUnsatisfiable(j.version.Version, rep.Content, response.Request{Range: r}))
	}
	if err != nil {
		return rep, err
	}
	if err := j.compare(rep, r); err != nil {
		rep.close()
		return rep, err
	}
	j.progress.useful.Add(1)
	if c == nil {
		j.first.yields = 0
	}
	return rep, nil
}

// mayRefuseRange reports whether a failure of a request for r may be caused by its Range field.
// failures counts those of the request. The question arises once, at the first byte, and only
// while no range has worked on the host, so that a missing file of a list does not cost two
// requests. A download that began without ranges may ask at any byte.
func (j asker) mayRefuseRange(r chunk.Range, failures int, err error) bool {
	middle := r.Off > 0 && (j.file.part == nil || !j.file.record().NoRanges)
	if r.Empty() || middle || j.origin.plainTried || j.first.host.Ranges.Use() > hosts.RangesDoubted {
		return false
	}
	return failure.MayRefuseRange(err) || failures >= maxBrokenOff && failure.IsBrokenOff(err)
}

// askPlain sends one request without a Range field to dest, because a request with the field
// failed. If that works, the host is asked for no more ranges. If both failures may pass, they
// cost two tries, and the error is errAskAgain while there are tries left.
func (j asker) askPlain(ctx context.Context, extra http.Header, dest destination, failed error) (*reply, error) {
	j.origin.plainTried = true
	again, err := j.tryAgain(ctx, failed)
	if err != nil {
		return nil, err
	}
	to := j.target(dest)
	to.extra, to.judge = extra, noRetry
	rep, err := send(ctx, j.download, to, nil, chunk.Range{})
	if err == nil {
		if err = j.compare(rep, chunk.Range{}); err != nil {
			rep.close()
		}
	}
	if err == nil {
		j.origin.resolved(dest, rep.leadsTo())
		j.first.host.Ranges.Failed(!failure.IsPermanent(failed))
		if final := j.d.host(rep.Request.URL); final != j.first.host {
			final.Ranges.Failed(!failure.IsPermanent(failed))
		}
		j.progress.useful.Add(1)
		return rep, nil
	}
	if ctx.Err() != nil || failure.IsPermanent(err) || !again {
		return nil, err
	}
	if again, sleepErr := j.tryAgain(ctx, err); sleepErr != nil || !again {
		return nil, cmp.Or(sleepErr, err)
	}
	return nil, errAskAgain
}

// compare returns an error if rep cannot be used for range r together with the held bytes.
func (j asker) compare(rep *reply, r chunk.Range) error {
	return decided(j.version.evidence.Judge(j.version.Version, rep.Content, response.Request{Range: r, Conditional: rep.conditional, InTransfer: j.progress.isTransferring()}))
}

// judge returns the next step after a failed attempt, and updates the state of the host. instead
// is errSteppedDown if the connection c has left the transfer because of it, and errCrowded if
// other downloads have the connections.
func (j asker) judge(c requester, resp *http.Response, failed error) (v verdict, instead error) {
	if errors.Is(failed, failure.ErrTLS) && j.stepDown(c, failed) { // another machine has a certificate that works
		return verdict{}, errSteppedDown
	}
	if failure.IsPermanent(failed) {
		return verdict{}, nil
	}
	if resp != nil {
		if until := j.obey(j.first.host, c, resp); until > 0 && c != nil && j.progress.connections() > 1 { // otherwise the event of the retry has it
			j.emit(Event{Kind: Waiting, Err: failed, Wait: until})
		}
	}
	if c != nil && failure.MayBeLimit(failed) && !hasRetryAfter(resp) && c.MayRetry() {
		return verdict{again: true, wait: max(refusedDelay, j.first.host.PausedFor(time.Now())), limit: true}, nil
	}
	if j.stepDown(c, failed) {
		return verdict{}, errSteppedDown
	}
	if c == nil && j.first.yields < maxYields && failure.MayBeLimit(failed) && j.first.host.HasOthers() {
		return verdict{}, errCrowded
	}
	wait, again := j.setback(failed)
	return verdict{again: again, wait: wait}, nil
}

// yieldFirst hands the first connection of the download back to the host, and waits for another
// one.
func (j asker) yieldFirst(ctx context.Context) error {
	h := j.first.host
	j.first.yields++
	j.first.release()
	h.Refused(time.Now())
	j.emit(Event{Kind: Limited, Err: errCrowded})
	return j.first.acquire(ctx, h)
}
