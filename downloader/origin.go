package downloader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
	// errSteppedDown means that the connection left the transfer, and that others go on.
	errSteppedDown = errors.New("the connection left the transfer")
	// errCrowded means that the host refused the first connection of a download, while other
	// downloads have connections to it.
	errCrowded = errors.New("the host has no connection left")
	// errAskAgain means that the same request may be sent again.
	errAskAgain = errors.New("ask again")
)

// A restartError says why the held bytes cannot be used together with those of the server, or
// why the transfer must begin again. The job starts another attempt.
type restartError struct {
	why    string
	single bool  // use one stream from now on
	keep   bool  // the held bytes are right
	cause  error // the failure behind it, or nil
}

func (e restartError) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s (%v)", e.why, e.cause)
	}
	return e.why
}

// final returns the error of the download if there is no other attempt: of the kind of its
// cause, or else of this kind.
func (e restartError) final(kind error) error {
	if e.cause != nil {
		return failure.Wrap(e.cause, errors.New(e.why))
	}
	if kind == failure.ErrChanged {
		return failure.Wrap(kind, fmt.Errorf("%w: %s", kind, e.why))
	}
	return failure.New(kind, e.why)
}

// ask makes the origin a source of a transfer.
func (o *origin) ask(ctx context.Context, c *conn, r chunk.Range) (*reply, error) {
	return c.t.ask(ctx, c, r)
}

// A rangeError is the failure of a request that the Range field may have caused.
type rangeError struct{ error }

// originTarget returns the target of a request to dest, to which the URL of the request leads.
func (j *job) originTarget(dest destination) target {
	to := target{url: dest.url, asked: j.origin.url, host: j.first.host, public: dest.public, timeout: j.originTimeout}
	if dest.strayed {
		to.asked = nil
	}
	if tag := j.version.StrongETag(); tag != "" && !j.version.evidence.Uncertain() { // the ETag of the response is compared in any case
		to.ifRange = tag
	}
	return to
}

// originTimeout returns the timeout of a request to the origin. The only connection of a
// download may be silent for longer, because no other connection could replace it.
func (j *job) originTimeout() time.Duration {
	if j.transfer != nil && j.transfer.conns() > 1 {
		return j.d.opts.StallTimeout
	}
	return j.budget.silenceTimeout()
}

// ask is askWith without further header fields.
func (j *job) ask(ctx context.Context, c *conn, r chunk.Range) (*reply, error) {
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
func (j *job) askWith(ctx context.Context, extra http.Header, c *conn, r chunk.Range) (*reply, error) {
	for lies, useful := 0, j.progress.useful.Load(); ; {
		if err := sleep(ctx, j.first.host.PausedFor(time.Now())); err != nil {
			return nil, err
		}
		dest, rep, err := j.askResolved(ctx, extra, c, r)
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
		case failure.MayBeExpired(err) && c.stepDown(err):
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
		case errors.Is(err, errOverdue) && c.stepDown(err):
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

// askResolved sends the request to the final URL, as far as it is known, and compares the
// response with the held bytes. It returns the URL that it asked.
func (j *job) askResolved(ctx context.Context, extra http.Header, c *conn, r chunk.Range) (dest destination, rep *reply, err error) {
	dest, release, err := j.origin.resolve(ctx)
	if err != nil {
		return dest, nil, err
	}
	to, failures := j.originTarget(dest), 0
	to.extra = extra
	to.judge = func(resp *http.Response, err error) (verdict, error) {
		if failures++; c == nil && j.mayRefuseRange(r, failures, err) {
			return verdict{}, rangeError{err}
		}
		return j.judge(c, resp, err)
	}
	rep, err = j.exchange(ctx, to, c, r)
	if err == nil {
		j.origin.resolved(dest, rep.leadsTo())
		if rep.ProtoMajor == 2 {
			j.first.host.SpeaksHTTP2()
		}
	}
	release()
	if errors.Is(err, errUnsatisfiable) && j.version.Size > r.Off {
		return dest, rep, decided(j.version.evidence.JudgeUnsatisfiable(j.version.Version, rep.Content, response.Request{Range: r}))
	}
	if err != nil {
		return dest, rep, err
	}
	if err := j.compare(rep, r); err != nil {
		rep.close()
		return dest, rep, err
	}
	j.progress.useful.Add(1)
	if c == nil {
		j.first.yields = 0
	}
	return dest, rep, nil
}

// mayRefuseRange reports whether a failure of a request for r may be caused by its Range field.
// failures counts those of the request. The question arises once, at the first byte, and only
// while no range has worked on the host, so that a missing file of a list does not cost two
// requests. A download that began without ranges may ask at any byte.
func (j *job) mayRefuseRange(r chunk.Range, failures int, err error) bool {
	middle := r.Off > 0 && (j.file.part == nil || !j.file.record().NoRanges)
	if r.Empty() || middle || j.origin.plainTried || j.first.host.Ranges.Use() > hosts.RangesDoubted {
		return false
	}
	return failure.MayRefuseRange(err) || failures >= maxBrokenOff && failure.IsBrokenOff(err)
}

// askPlain sends one request without a Range field to dest, because a request with the field
// failed. If that works, the host is asked for no more ranges. If both failures may pass, they
// cost two tries, and the error is errAskAgain while there are tries left.
func (j *job) askPlain(ctx context.Context, extra http.Header, dest destination, failed error) (*reply, error) {
	j.origin.plainTried = true
	again, err := j.tryAgain(ctx, failed)
	if err != nil {
		return nil, err
	}
	to := j.originTarget(dest)
	to.extra, to.judge = extra, noRetry
	rep, err := j.exchange(ctx, to, nil, chunk.Range{})
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
