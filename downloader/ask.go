package downloader

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"pawl/chunk"
)

// A reply is a response whose header has been checked. Its body is open.
type reply struct {
	*http.Response
	answer
	ctx    context.Context // of the request
	cancel context.CancelCauseFunc
}

func (r *reply) close() {
	r.Body.Close()
	r.cancel(nil)
}

var (
	// errSeized is the cause of a request that ended because another
	// connection took over.
	errSeized = errors.New("another connection took over")
	// errSteppedDown says that the worker left the pool.
	errSteppedDown = errors.New("stepped down")
)

// A restartError says why the bytes so far cannot be used together with those
// that the server has now.
type restartError struct {
	why    string
	single bool  // this server is to be asked for one stream
	keep   bool  // the bytes so far are right: only ranges are no more asked for
	cause  error // what broke off, or nil
}

func (e restartError) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s (%v)", e.why, e.cause)
	}
	return e.why
}

// final is the error where there is no other attempt: of the kind of its cause,
// or else of kind.
func (e restartError) final(kind error) error {
	if e.cause != nil {
		return kindError{errors.New(e.why), e.cause}
	}
	return kindError{errors.New(e.why), kind}
}

// errCrowded says that the first connection of a download was refused while
// others have some.
var errCrowded = errors.New("the host has no connection left")

// request builds the request for r of the file, the whole if r is empty.
func (j *job) request(ctx context.Context, u *url.URL, r chunk.Range) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, kindError{err, ErrUsage}
	}
	for name, values := range j.req.Header {
		req.Header[name] = values
	}
	if !sameOrigin(u, j.asked) {
		dropSecrets(req.Header)
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", j.d.opts.UserAgent)
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	for _, ours := range []string{"Range", "If-Range", "If-Match"} { // what is asked for is not the user's to say
		req.Header.Del(ours)
	}
	req.Header.Set("Accept-Encoding", "identity")
	if !r.Empty() {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", r.Off, r.End-1))
		if tag := j.id.strongETag(); tag != "" {
			req.Header.Set("If-Range", tag)
		}
	}
	return req, nil
}

// ask requests r of the file, the whole if r is empty, and returns a checked
// reply of the wanted version. It obeys the host's waits, tries again while
// there is patience, and resolves the asked URL anew when the resolved one has
// expired. w is the worker that asks, nil before there is a pool.
//
// Apart from failures for good it returns restartError, errSteppedDown, and
// errUnsatisfiable along with a reply that has no body.
func (j *job) ask(ctx context.Context, w *worker, r chunk.Range) (*reply, error) {
	for {
		if err := sleep(ctx, j.host.held(time.Now())); err != nil {
			return nil, err
		}
		u, release, err := j.source(ctx)
		if err != nil {
			return nil, err
		}
		rep, err := j.askOnce(ctx, u, w, r)
		if err == nil {
			j.resolved(rep.Request.URL)
		}
		release()
		if err == nil {
			if err = j.compare(rep, r); err == nil {
				if !rep.whole {
					j.lies.Store(0)
				}
				return rep, nil
			}
			rep.close()
		}
		if errors.Is(err, errUnsatisfiable) && j.id.size > r.Off {
			err = j.denied(rep, r)
		}
		var status *StatusError
		switch {
		case errors.Is(err, errCrowded):
			if err := j.giveWay(ctx); err != nil {
				return nil, err
			}
		case errors.As(err, &status) && status.expired() && u != j.asked:
			j.expired(u) // signed links do
		case errors.As(err, &status) && status.expired() && j.stepDown(w, err):
			return nil, errSteppedDown
		case errors.Is(err, errLie):
			if err := j.lied(err); err != nil {
				return nil, err
			}
		default:
			return rep, err
		}
	}
}

// denied says what an answer means that there is no byte where there must be.
func (j *job) denied(rep *reply, r chunk.Range) error {
	if rep.id.size >= 0 && rep.id.size != j.id.size {
		return restartError{why: fmt.Sprintf("its size was %d and is %d", j.id.size, rep.id.size)}
	}
	return fmt.Errorf("%w: it has no range %s", errLie, r)
}

// giveWay hands back the download's first connection, and waits for another.
func (j *job) giveWay(ctx context.Context) error {
	h := j.host
	j.leave()
	h.refused(time.Now())
	j.emit(Event{Kind: Limited, Err: errCrowded})
	return j.enter(ctx, h)
}

// askOnce is one exchange, retries included. The request lives until the reply
// is closed.
func (j *job) askOnce(ctx context.Context, u *url.URL, w *worker, r chunk.Range) (_ *reply, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer func() {
		if err != nil {
			cancel(err)
		}
	}()
	if w != nil {
		j.pool.asking(w, cancel, time.Now())
	}
	req, err := j.request(ctx, u, r)
	if err != nil {
		return nil, err
	}
	var failed error // of the last attempt, in our terms
	var failures int
	resp, err := exchange(j.d.http, req, func(resp *http.Response, err error) verdict {
		if failed = outcome(resp, err); failed == nil {
			return verdict{}
		}
		failures++
		v, instead := j.judge(w, resp, failed)
		if instead != nil {
			failed = instead
		}
		return v
	})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err == nil && failed != nil {
		resp.Body.Close()
	}
	switch {
	case failed != nil:
		return nil, failed
	case err != nil:
		return nil, explain(err)
	}
	if failures > 0 {
		j.host.recovered()
	}
	a, err := readAnswer(resp, r)
	rep := &reply{resp, a, ctx, cancel}
	if errors.Is(err, errUnsatisfiable) {
		resp.Body.Close()
		return rep, err
	}
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	return rep, nil
}

// outcome returns the error of an attempt, nil if there is an answer to read.
func outcome(resp *http.Response, err error) error {
	if err != nil {
		return explain(err)
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusNotModified, http.StatusRequestedRangeNotSatisfiable:
		return nil
	}
	return &StatusError{Code: resp.StatusCode, Host: resp.Request.URL.Host}
}

// judge says whether a failed attempt is worth another, and notes what it tells
// about the host. instead is errSteppedDown if w has stepped down because of it,
// and errCrowded if others have the connections.
func (j *job) judge(w *worker, resp *http.Response, failed error) (v verdict, instead error) {
	if errors.Is(failed, ErrTLS) && j.stepDown(w, failed) { // one of several machines
		return verdict{}, errSteppedDown
	}
	if isPermanent(failed) {
		return verdict{}, nil
	}
	if resp != nil {
		j.obey(resp, w, time.Now())
	}
	if j.stepDown(w, failed) {
		return verdict{}, errSteppedDown
	}
	if w == nil && j.host.others() {
		return verdict{}, errCrowded
	}
	wait, again := j.setback(failed)
	return verdict{again, wait}, nil
}

// obey notes a Retry-After. That of a 429 is for all requests to the host; any
// other only says that there are enough connections, as long as there is one.
func (j *job) obey(resp *http.Response, w *worker, now time.Time) {
	d, ok := retryAfter(resp.Header, now)
	if !ok {
		return
	}
	until := now.Add(min(d, j.d.opts.RetryAfterMax))
	if resp.StatusCode == http.StatusTooManyRequests || w == nil || j.pool.conns() == 1 {
		j.host.hold(until)
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
		j.host.refused(time.Now())
		j.emit(Event{Kind: Limited, Conns: left, Err: err})
	}
	return ok
}

// unknownHostTries is how often a name without an address is looked up: it
// rarely gets one.
const unknownHostTries = 3

// setback counts a failure without a byte, and tells how long to wait before
// the next try, if there is to be one.
func (j *job) setback(err error) (wait time.Duration, again bool) {
	n, wait, again := j.patience.fail()
	if isUnknownHost(err) && n >= unknownHostTries && j.patience.tries > 0 {
		again = false
	}
	if again {
		wait = max(wait, j.host.held(time.Now()))
		j.emit(Event{Kind: Retrying, Err: err, Wait: wait, Attempt: n, Tries: j.patience.tries})
	}
	return wait, again
}

// compare checks that rep is of the version that the download has bytes of, and
// is no whole file for a worker that has its place in the middle.
func (j *job) compare(rep *reply, r chunk.Range) error {
	if why := j.id.differs(rep.id); why != "" {
		return restartError{why: why}
	}
	if rep.whole && r.Off > 0 && j.pool != nil {
		return fmt.Errorf("%w: the whole file, where the range %s was asked for", errLie, r)
	}
	return nil
}

// lied counts a lie about ranges. The second one ends the use of ranges.
func (j *job) lied(err error) error {
	if j.lies.Add(1) < 2 {
		j.emit(Event{Kind: Warning, Err: err})
		return nil
	}
	return restartError{why: err.Error(), single: true, keep: true}
}

// source returns the URL to ask: where the asked one led, if that is known. To
// find out anew is for one connection at a time, which has to call release
// when it has.
func (j *job) source(ctx context.Context) (u *url.URL, release func(), err error) {
	none := func() {}
	if u, redirects := j.target(); u != j.asked || !redirects {
		return u, none, nil
	}
	select {
	case j.resolving <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	release = func() { <-j.resolving }
	if u, _ := j.target(); u != j.asked { // another connection found out meanwhile
		release()
		return u, none, nil
	}
	return j.asked, release, nil
}

// target returns where to ask, as far as is known now, and whether the asked
// URL is known to redirect.
func (j *job) target() (u *url.URL, redirects bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.final != nil {
		return j.final, true
	}
	return j.asked, j.redirects
}

// resolved notes that u answered.
func (j *job) resolved(u *url.URL) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.final == nil && u.String() == j.asked.String() {
		return
	}
	j.final, j.redirects = u, true
}

// expired notes that u, where the asked URL led, holds no longer.
func (j *job) expired(u *url.URL) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.final == u {
		j.final = nil
	}
}
