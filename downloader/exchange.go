package downloader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/hosts"
	"pawl/downloader/response"
	"pawl/downloader/sched"
	"pawl/downloader/transport"
)

// A reply is a response whose header has been checked. Its body is open, and close must be
// called once.
type reply struct {
	*http.Response
	response.Content
	asked       chunk.Range // empty for the whole file
	conditional bool        // the request had an If-Range field
	unframed    bool        // the body ends with the connection, so that a cut looks like the end
	info        *transport.RequestInfo
	pace        transport.Pace
	source      *atomic.Int64   // counts the bytes of the source that was asked; nil for none
	ctx         context.Context // of the request
	cancel      context.CancelCauseFunc
}

// leadsTo returns the URL that answered, after redirects.
func (r *reply) leadsTo() destination {
	return destination{url: r.Request.URL, strayed: transport.LeftOrigin(r.Request), public: r.info.Restricted(), charset: r.Charset}
}

// forScheduler returns the properties of the response that the scheduler needs.
func (r *reply) forScheduler() sched.Response {
	return sched.Response{BodyEnd: r.wanted().End, Took: r.info.Took(), NewConn: r.info.NewConn()}
}

// wanted returns the requested bytes of the body.
func (r *reply) wanted() chunk.Range {
	if r.Whole {
		return r.Range
	}
	return r.Range.Intersect(r.asked)
}

func (r *reply) close() {
	r.Body.Close()
	r.cancel(nil)
}

// A target is the destination of a request, with a judge of its failures.
type target struct {
	url      *url.URL
	asked    *url.URL // URL of the user that leads to url, whose origin may get the user's headers; nil for none
	strayed  bool     // a redirect on the way left that origin, so only harmless headers may go to url
	host     *hosts.Host
	public   bool                 // a public source named url
	received *atomic.Int64        // counts the bytes of the source; nil for none
	extra    http.Header          // further fields, which replace the same fields of the user
	ifRange  string               // strong ETag that the file must have; "" for any version
	timeout  func() time.Duration // for a response and for each next byte; nil for Timeouts.Stall
	judge    func(*http.Response, error) (verdict, error)
}

// noRetry is the judge of a request that is not repeated.
func noRetry(*http.Response, error) (verdict, error) { return verdict{}, nil }

// newRequest builds the request.
func (x *exchange) newRequest(ctx context.Context) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, x.to.url.String(), nil)
	if err != nil {
		return nil, failure.Wrap(failure.ErrUsage, err)
	}
	req.Header = x.userFields()
	for name, value := range map[string]string{"User-Agent": x.engine.transport.UserAgent(x.to.url), "Accept": "*/*"} { // some firewalls refuse requests without Accept
		if req.Header.Get(name) == "" {
			req.Header.Set(name, value)
		}
	}
	if host := req.Header.Get("Host"); host != "" && transport.SameOrigin(x.to.url, x.origin.url) { // not for mirrors
		req.Host = host
	}
	for _, ours := range []string{"Range", "If-Range", "If-Match"} { // the user must not choose the bytes
		req.Header.Del(ours)
	}
	req.Header.Set("Accept-Encoding", "identity")
	if !x.r.Empty() {
		req.Header.Set("Range", rangeField(x.r))
		if x.to.ifRange != "" {
			req.Header.Set("If-Range", x.to.ifRange)
		}
	}
	return req, nil
}

// userFields returns the fields that the user has chosen for the request, and puts the user's login
// and cookies into the RequestInfo. The fields are added in this order, each one overriding those
// before: Credentials of the origin, Request.Header, and the fields of the target. Fields that may
// be secret are dropped, and there is no login and no cookie, if the request goes to an origin that
// the user has not named.
func (x *exchange) userFields() http.Header {
	h := make(http.Header)
	given := x.credentials(x.to.url)
	maps.Copy(h, given.Header)
	if x.origin.user != nil && transport.SameOrigin(x.to.url, x.origin.url) {
		given.User = x.origin.user
		h.Del("Authorization")
	}
	maps.Copy(h, x.req.Access.Header)
	maps.Copy(h, x.to.extra)
	asked := x.to.asked
	x.info.Login, x.info.Cookies = given.User, given.Cookies
	if asked == nil || x.to.strayed || !transport.SameOrigin(x.to.url, asked) {
		transport.DropSecrets(h)
		x.info.Login, x.info.Cookies = nil, nil
	}
	if asked == nil || x.to.url.String() != asked.String() { // a server has named the URL
		referer := h.Get("Referer")
		if referer == "" && asked != nil {
			referer = x.credentials(asked).Header.Get("Referer")
		}
		transport.SetReferer(h, referer, x.to.url)
	}
	return h
}

// credentials returns the credentials of the user for the origin of u.
func (d *download) credentials(u *url.URL) Credentials {
	if d.req.Access.Credentials == nil {
		return Credentials{}
	}
	return d.req.Access.Credentials(transport.Origin(u))
}

// rangeField returns the value of a Range field. The range may have no end (RFC 9110 §14.1.2).
func rangeField(r chunk.Range) string {
	if r.End == chunk.Unbounded {
		return fmt.Sprintf("bytes=%d-", r.Off)
	}
	return fmt.Sprintf("bytes=%d-%d", r.Off, r.End-1)
}

// A requester is a connection of a transfer, as its requests see it. *sched.Conn documents the
// methods that it has.
type requester interface {
	Requesting(stop func(sched.Reason), now time.Time)
	Queued(waits bool, now time.Time)
	Dialing(now time.Time)
	Sent(now time.Time)
	Retrying()
	MayRetry() bool

	stepDown(err error) bool // leaves the transfer because of err, if other connections go on
	others() bool            // reports whether the transfer goes on while the source of the connection pauses
}

// An exchange is one request with its repetitions, up to a response with a usable body.
type exchange struct {
	*download
	to   target
	conn requester   // of the transfer that asks; nil outside of a transfer
	r    chunk.Range // requested range; empty for the whole file
	info *transport.RequestInfo

	failed   error     // of the last attempt; nil if it succeeded
	failures int       // failed attempts; an attempt that only met a limit of connections does not count
	failing  time.Time // of the first of these, zero if the network was missing
}

// send requests range r, the whole file if r is empty, and repeats the request as to.judge
// says. It returns a response with a usable body, or an error; errUnsatisfiable comes with a
// reply whose body is closed.
func send(ctx context.Context, d *download, to target, c requester, r chunk.Range) (*reply, error) {
	x := &exchange{download: d, to: to, conn: c, r: r, info: &transport.RequestInfo{
		Timeout: to.timeout, Public: to.public, Proven: !d.goal.sum.IsZero(), Redirect: d.req.Access.Redirect, Small: c == nil && d.mayBeSmall(),
	}}
	ctx, cancel := context.WithCancelCause(ctx)
	rep, err := x.run(ctx, cancel)
	if err != nil {
		cancel(err)
	}
	return rep, err
}

// run sends the request until judge is content. cancel ends ctx, in which the body of the reply is
// read; it belongs to the reply if there is one.
func (x *exchange) run(ctx context.Context, cancel context.CancelCauseFunc) (*reply, error) {
	req, err := x.newRequest(x.context(ctx, cancel))
	if err != nil {
		return nil, err
	}
	// After a failure without a response, HTTP/1.1 is used: a server that breaks HTTP/2 may still
	// serve it, and each request then fails or succeeds by itself.
	http1 := x.engine.transport.Client(false)
	client := http1
	if x.conn == nil && x.goal.listed != nil { // perhaps a small file, for which HTTP/2 is better
		client = x.engine.transport.Client(true)
	}
	resp, err := sendUntil(client, http1, req, x.judge)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err == nil && x.failed != nil {
		resp.Body.Close()
	}
	switch {
	case x.failed != nil:
		return nil, x.failed
	case err != nil:
		return nil, failure.Explain(err)
	}
	if x.failures > 0 { // it was an outage or a ban
		x.to.host.Recovered(time.Now(), x.failing)
	}
	return x.read(req.Context(), cancel, resp)
}

// context returns the context of the request, with its properties for the transport.
func (x *exchange) context(ctx context.Context, cancel context.CancelCauseFunc) context.Context {
	ended := func() {}
	x.info.OnQueued = func(waits bool) {
		if ended(); waits {
			ended = x.waits(errRequestRate, 0)
		}
	}
	if c := x.conn; c != nil {
		c.Requesting(func(r sched.Reason) { cancel(stopError(r)) }, time.Now())
		x.info.OnSent = func() { c.Sent(time.Now()) }
		noted := x.info.OnQueued
		x.info.OnQueued = func(waits bool) { c.Queued(waits, time.Now()); noted(waits) }
		x.info.OnSlot = func() { c.Dialing(time.Now()) }
	}
	return transport.WithRequest(ctx, x.info)
}

// judge returns the next step after an attempt.
func (x *exchange) judge(resp *http.Response, err error) verdict {
	if resp != nil {
		x.progress.responded(x.info.Private())
	}
	if x.failed = x.outcome(resp, err); x.failed == nil {
		return verdict{}
	}
	if x.conn != nil {
		x.conn.Retrying()
	}
	v, instead := x.to.judge(resp, x.failed)
	if !v.limit {
		x.countFailure(time.Now())
	}
	if instead != nil {
		x.failed = instead
	}
	return v
}

// countFailure counts a failed attempt.
func (x *exchange) countFailure(now time.Time) {
	if x.failures++; x.failures == 1 {
		x.failing = now
	}
	if transport.IsUnreachable(x.failed) {
		x.failing = time.Time{}
	}
}

// read checks the header of resp, the last response.
func (x *exchange) read(ctx context.Context, cancel context.CancelCauseFunc, resp *http.Response) (*reply, error) {
	content := response.Read(resp, x.r, x.known())
	rep := &reply{Response: resp, Content: content, asked: x.r, info: x.info, pace: x.pace(resp.Request.URL), source: x.to.received, ctx: ctx, cancel: cancel}
	rep.conditional = !x.r.Empty() && x.to.ifRange != ""
	rep.unframed = !content.Gzip && resp.TLS == nil && !transport.IsFramed(resp) // gzip and TLS mark the end themselves
	if content.Gzip {
		resp.Body = &gzipBody{ReadCloser: resp.Body, free: x.req.MaxSize > 0}
	}
	err := meaningError(resp, content)
	if err != nil {
		resp.Body.Close()
		if !errors.Is(err, errUnsatisfiable) {
			return nil, err
		}
	}
	return rep, err
}

// outcome returns the error of an attempt, nil if there is a response to read. It updates
// the state of the host and of the network.
func (x *exchange) outcome(resp *http.Response, err error) error {
	if err != nil || resp.StatusCode >= 500 {
		x.to.host.Address.Forget() // another machine behind this name may do better
	}
	if err != nil {
		return failure.Explain(err)
	}
	x.engine.network.Responded()
	x.to.host.Responded()
	if resp.StatusCode == http.StatusPartialContent {
		x.to.host.Ranges.Served()
	}
	if response.Complete(resp) {
		return nil
	}
	return statusError(resp)
}

// known returns the facts about the file that are known before any response.
func (x *exchange) known() response.Known {
	k := response.Known{Size: -1, Digest: !x.goal.sum.IsZero(), WrongCoded: x.wrong.decode()}
	if x.goal.named {
		k.Name = path.Base(strings.ReplaceAll(x.goal.output, `\`, "/"))
	}
	if x.goal.listed != nil {
		k.Size = x.goal.listed.Size
	}
	return k
}

// A pacedReader reads the body of a reply, whose bytes are not written to the file. It counts them,
// and keeps to the rate limits.
type pacedReader struct {
	ctx context.Context
	d   *download
	rep *reply
}

// paced returns a reader of the body of rep, which stops when ctx ends.
func (d *download) paced(ctx context.Context, rep *reply) pacedReader {
	return pacedReader{ctx, d, rep}
}

func (r pacedReader) Read(p []byte) (int, error) {
	n, err := r.rep.pace.Read(r.ctx, r.rep.Body, p)
	r.d.receive(r.rep, int64(n))
	return n, err
}

// noEOF turns an end that comes too early into io.ErrUnexpectedEOF.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
