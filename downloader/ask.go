package downloader

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/transport"
)

// A reply is a response whose header has been checked. Its body is open.
type reply struct {
	*http.Response
	answer
	asked       chunk.Range // empty for the whole
	conditional bool        // it answers a request with If-Range
	unframed    bool        // the body ends with the connection, which may be a cut
	way         way
	info        *transport.RequestInfo
	ctx         context.Context // of the request
	cancel      context.CancelCauseFunc
}

// leadsTo returns where the request was answered, after redirects.
func (r *reply) leadsTo() destination {
	return destination{url: r.Request.URL, strayed: transport.LeftOrigin(r.Request), public: r.info.Restricted()}
}

// wanted returns the bytes of the body that were asked for.
func (r *reply) wanted() chunk.Range {
	if r.whole {
		return r.body
	}
	return r.body.Intersect(r.asked)
}

func (r *reply) close() {
	r.Body.Close()
	r.cancel(nil)
}

// liesMost is how often a server may lie to one that asks, whatever others get.
const liesMost = 5

var (
	// errSeized is the cause of a request that ended because another
	// connection took over.
	errSeized = errors.New("another connection took over")
	// errDrained ends the reading of unwanted bytes that took too long.
	errDrained = errors.New("nothing more of it is wanted")
	// errReplaced is the cause of a request that ended because its connection was
	// much slower than others.
	errReplaced = errors.New("much slower than others")
	// errHung is the cause of a request that ended because no answer came,
	// though others had theirs.
	errHung error = failure.New(failure.ErrNetwork, "no answer, while others have one")
	// errDrips is the cause of a request that ended because next to nothing came.
	errDrips error = failure.New(failure.ErrNetwork, "next to nothing arrives")
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
		return failure.New(e.cause, e.why)
	}
	if kind == failure.ErrChanged {
		return failure.Wrap(kind, fmt.Errorf("%w: %s", kind, e.why))
	}
	return failure.New(kind, e.why)
}

// A target is where a request goes, and what its failures mean.
type target struct {
	url     *url.URL
	asked   *url.URL // to whose origin the user's headers may go; nil for none
	host    *host
	public  bool                 // a public source named url
	ifRange string               // the strong entity tag that the file must have; "" for any
	timeout func() time.Duration // for a response and for each next byte; nil for that of the Options
	judge   func(*http.Response, error) (verdict, error)
}

// first is the target of a request to dest, where the URL asked leads.
func (j *job) first(dest destination) target {
	to := target{url: dest.url, asked: j.asked, host: j.host, public: dest.public, timeout: j.timeout}
	if dest.strayed {
		to.asked = nil
	}
	if tag := j.id.strongETag(); tag != "" && !j.doubts.any() { // its ETag is compared in any case
		to.ifRange = tag
	}
	return to
}

// timeout is that of a request to the URL asked. The only connection of a download has
// the patience of the download; one of several is replaced by the others.
func (j *job) timeout() time.Duration {
	if j.pool != nil && j.pool.conns() > 1 {
		return j.d.opts.StallTimeout
	}
	return j.patience.silence()
}

// request builds the request for r of the file, the whole if r is empty.
func (j *job) request(ctx context.Context, to target, r chunk.Range) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to.url.String(), nil)
	if err != nil {
		return nil, failure.Wrap(failure.ErrUsage, err)
	}
	if j.req.Credentials != nil {
		maps.Copy(req.Header, j.req.Credentials(transport.Origin(to.url)))
	}
	if j.basic != "" && transport.SameOrigin(to.url, j.asked) {
		req.Header.Set("Authorization", j.basic)
	}
	maps.Copy(req.Header, j.req.Header)
	if to.asked == nil || !transport.SameOrigin(to.url, to.asked) {
		transport.DropSecrets(req.Header)
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", j.d.opts.UserAgent)
	}
	if host := req.Header.Get("Host"); host != "" && transport.SameOrigin(to.url, j.asked) { // a mirror has its own
		req.Host = host
	}
	for _, ours := range []string{"Range", "If-Range", "If-Match"} { // what is asked for is not the user's to say
		req.Header.Del(ours)
	}
	req.Header.Set("Accept-Encoding", "identity")
	if !r.Empty() {
		req.Header.Set("Range", rangeField(r))
		if to.ifRange != "" {
			req.Header.Set("If-Range", to.ifRange)
		}
	}
	return req, nil
}

// rangeField is the value of a Range field, which may be without end (RFC 9110 §14.1.2).
func rangeField(r chunk.Range) string {
	if r.End == chunk.Unbounded {
		return fmt.Sprintf("bytes=%d-", r.Off)
	}
	return fmt.Sprintf("bytes=%d-%d", r.Off, r.End-1)
}

// ask requests r of the file, the whole if r is empty, and returns a checked
// reply of the wanted version. It obeys the host's waits, tries again while
// there is patience, and resolves the asked URL anew when the resolved one has
// expired; a second lie about ranges ends their use, unless others have
// had answers of use meanwhile. w is the worker that asks, nil before there is a pool.
//
// Apart from failures for good it returns restartError, errSteppedDown, and
// errUnsatisfiable along with a reply that has no body.
func (j *job) ask(ctx context.Context, w *worker, r chunk.Range) (*reply, error) {
	for lies, answers := 0, j.answers.Load(); ; {
		if err := sleep(ctx, j.host.held(time.Now())); err != nil {
			return nil, err
		}
		dest, release, err := j.source(ctx)
		if err != nil {
			return nil, err
		}
		to := j.first(dest)
		failures := 0
		to.judge = func(resp *http.Response, err error) (verdict, error) {
			if failures++; w == nil && j.mayRefuseRange(r, failures, err) {
				return verdict{}, rangeError{err}
			}
			return j.judge(w, resp, err)
		}
		rep, err := j.askOnce(ctx, to, w, r)
		if err == nil {
			j.resolved(dest, rep.leadsTo())
			if rep.ProtoMajor == 2 {
				j.host.multiplexes()
			}
		}
		release()
		if err == nil {
			if err = j.compare(rep, r); err == nil {
				j.answers.Add(1)
				if w == nil {
					j.gaveWay = 0
				}
				return rep, nil
			}
			rep.close()
		}
		if errors.Is(err, errUnsatisfiable) && j.id.size > r.Off {
			err = j.denied(rep, r)
		}
		var refused rangeError
		switch {
		case errors.Is(err, errCrowded):
			if err := j.giveWay(ctx); err != nil {
				return nil, err
			}
		case failure.MayBeExpired(err) && dest.url != j.asked:
			j.expired(dest.url) // signed links do
		case failure.MayBeExpired(err) && j.stepDown(w, err):
			return nil, errSteppedDown
		case errors.Is(err, errLie):
			if lies++; lies > liesMost || lies > 1 && j.answers.Load() == answers {
				return nil, restartError{why: err.Error(), single: true, keep: true}
			}
			j.emit(Event{Kind: Warning, Err: err})
		case errors.Is(err, errDoubt):
			if err := sleep(ctx, doubtWait); err != nil {
				return nil, err
			}
		case errors.As(err, &refused):
			if rep, err := j.askPlain(ctx, dest, refused.error); err == nil || !errors.Is(err, errAskAgain) {
				return rep, err
			}
		case errors.Is(err, errHung) && j.stepDown(w, err):
			return nil, errSteppedDown
		case errors.Is(err, errHung):
		case errors.Is(err, failure.ErrPage):
			if err := j.pause(ctx, w, err); err != nil {
				return nil, err
			}
		default:
			return rep, err
		}
	}
}

// A way is what an exchange tells of the connection to the server.
type way struct {
	took time.Duration // from the request to the first byte of the answer; 0 unknown
	new  bool          // the connection was opened for it
}

// traced returns a context of a request that notes the way of its last answer. Each time
// that it is sent, after a redirect or a failure again, wrote is called.
func traced(ctx context.Context, wrote func()) (context.Context, func() way) {
	var mu sync.Mutex // the answer may come before the whole request is sent
	var sent, answered time.Time
	var reused bool
	note := func(t *time.Time) {
		mu.Lock()
		defer mu.Unlock()
		*t = time.Now()
	}
	trace := &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			mu.Lock()
			defer mu.Unlock()
			reused = info.Reused
		},
		WroteRequest:         func(httptrace.WroteRequestInfo) { note(&sent); wrote() },
		GotFirstResponseByte: func() { note(&answered) },
	}
	return httptrace.WithClientTrace(ctx, trace), func() way {
		mu.Lock()
		defer mu.Unlock()
		if sent.IsZero() {
			return way{new: !reused}
		}
		return way{max(0, answered.Sub(sent)), !reused}
	}
}

// askOnce is one exchange, retries included. The request lives until the reply
// is closed.
func (j *job) askOnce(ctx context.Context, to target, w *worker, r chunk.Range) (_ *reply, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer func() {
		if err != nil {
			cancel(err)
		}
	}()
	info := &transport.RequestInfo{Timeout: to.timeout, Public: to.public}
	sent := func(bool) {}
	if w != nil {
		j.pool.asking(w, cancel, time.Now())
		sent = func(yes bool) { j.pool.sent(w, yes, time.Now()) }
		info.OnQueued = func(waits bool) { j.pool.queue(w, waits, time.Now()) }
	}
	ctx, traced := traced(transport.WithRequest(ctx, info), func() { sent(true) })
	req, err := j.request(ctx, to, r)
	if err != nil {
		return nil, err
	}
	var failed error // of the last attempt, in our terms
	var failures int
	http1 := j.d.transport.Client(false)
	client := http1
	if w == nil && j.req.ListEntry != nil {
		client = j.d.transport.Client(true)
	}
	resp, err := exchange(client, http1, req, func(resp *http.Response, err error) verdict {
		if resp != nil && info.Private() {
			j.private.Store(true)
		} else if resp != nil {
			j.public.Store(true)
		}
		if failed = j.outcome(to.host, resp, err); failed == nil {
			return verdict{}
		}
		sent(false)
		v, instead := to.judge(resp, failed)
		if !v.limit {
			failures++
		}
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
		return nil, failure.Explain(err)
	}
	if failures > 0 {
		to.host.recovered()
	}
	a, err := readAnswer(resp, r, j.knownForm())
	rep := &reply{Response: resp, answer: a, asked: r, conditional: req.Header.Get("If-Range") != "", way: traced(), info: info, ctx: ctx, cancel: cancel}
	rep.unframed = a.coding == "" && resp.TLS == nil && !transport.IsFramed(resp) // gzip marks its own end, and so does TLS
	if a.coding != "" {
		resp.Body = &decoded{ReadCloser: resp.Body, free: j.req.MaxSize > 0}
	}
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
