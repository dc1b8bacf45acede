package transport

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"pawl/downloader/failure"
)

// trialTime is how long other requests wait for the first response of a proxy; then one of them tries
// the proxy, too. A guess: a proxy refuses a user at once, and a response that takes longer is the
// server's. At half, a distant proxy may be asked twice; double makes the others wait for a slow
// server.
const trialTime = 5 * time.Second

// proxyPoll is the time between two signs that a request waits for the first response of a proxy.
// It must be shorter than any timeout of the watchdog, which takes the wait for a silence of the
// server otherwise. Half wakes twice as often for nothing.
const proxyPoll = 200 * time.Millisecond

// proxies remember whether each proxy accepts its user and password. Some accounts are locked after
// three wrong passwords, so a proxy that has refused them is never asked again, and until it has
// accepted them only one request is under way. A refusal after that is the end of its request only,
// because it may be the server's. Safe for concurrent use.
type proxies struct {
	choose func(*http.Request) (*url.URL, error) // nil for no proxy

	mu    sync.Mutex
	known map[string]*proxyState // by URL, with the user; guarded by mu
}

// A proxyState is the state of one proxy.
type proxyState struct {
	refused  error  // the refusal, nil if there is none
	accepted bool   // a request has passed
	trial    *trial // the request that tries the user, nil if none is under way
}

// A trial is the first request through a proxy, which others wait for.
type trial struct {
	ended chan struct{} // closed at its end
	timer *time.Timer   // ends it after trialTime
	err   error         // the proxy cannot be used now, which is the end of the waiting requests, too; set before ended is closed
}

func newProxies(choose func(*http.Request) (*url.URL, error)) *proxies {
	return &proxies{choose: choose, known: make(map[string]*proxyState)}
}

// wrap returns the stage before next.
func (p *proxies) wrap(next http.RoundTripper) http.RoundTripper {
	if p.choose == nil {
		return next
	}
	return proxied{p, next}
}

// A proxied sends requests through a proxy, and reports failures of the proxy as such.
type proxied struct {
	*proxies
	next http.RoundTripper
}

func (p proxied) RoundTrip(req *http.Request) (*http.Response, error) {
	u, err := p.choose(req)
	if err != nil || u == nil {
		return p.next.RoundTrip(req)
	}
	mine, err := p.begin(req.Context(), u)
	if err != nil {
		return nil, err
	}
	resp, err := p.next.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusProxyAuthRequired { // to a plain http request; CONNECT ends in checkTunnel
		resp.Body.Close()
		resp, err = nil, failure.WantsUser(u.Host, u.User != nil, resp.Header.Values("Proxy-Authenticate"))
	}
	if err != nil {
		err = failure.ExplainProxy(err, u.Host, u.User != nil)
	}
	p.end(u, mine, err)
	return resp, err
}

// checkTunnel is for http.Transport.OnProxyConnectResponse. The response is the proxy's, so a 401
// refuses its user, too: tinyproxy 1.11 sends it.
func (p *proxies) checkTunnel(ctx context.Context, u *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusProxyAuthRequired || resp.StatusCode == http.StatusUnauthorized {
		return failure.WantsUser(u.Host, u.User != nil, resp.Header.Values("Proxy-Authenticate"))
	}
	p.end(u, nil, nil)
	if c := attemptOf(ctx).dialed.Load(); c != nil {
		c.tunnelled.Store(true)
	}
	if resp.StatusCode != http.StatusOK {
		return failure.RefusedTunnel(u.Host, resp.StatusCode)
	}
	return nil
}

// begin waits until a request may go through the proxy u. It returns the trial if the request is
// the first one, and an error if the proxy has refused the user.
func (p *proxies) begin(ctx context.Context, u *url.URL) (*trial, error) {
	for {
		p.mu.Lock()
		s := p.state(u)
		t := s.trial
		switch {
		case s.refused != nil:
			p.mu.Unlock()
			return nil, s.refused
		case s.accepted:
			p.mu.Unlock()
			return nil, nil
		case t == nil:
			t = &trial{ended: make(chan struct{})}
			t.timer = time.AfterFunc(trialTime, func() { p.expire(u, t) })
			s.trial = t
			p.mu.Unlock()
			return t, nil
		}
		p.mu.Unlock()
		if err := t.wait(ctx); err != nil {
			return nil, err
		}
	}
}

// wait waits for the end of the trial. It returns an error if the proxy cannot be used now.
func (t *trial) wait(ctx context.Context) error {
	tick := time.NewTicker(proxyPoll)
	defer tick.Stop()
	for {
		select {
		case <-t.ended:
			return t.err
		case <-tick.C:
			attemptOf(ctx).notSilent(false)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// state returns the state of the proxy u. The caller holds mu.
func (p *proxies) state(u *url.URL) *proxyState {
	key := u.String()
	if p.known[key] == nil {
		p.known[key] = new(proxyState)
	}
	return p.known[key]
}

// end notes the outcome of a request through the proxy u; mine is the trial that begin returned for
// it. The outcome of any request ends a trial, except that an error which says nothing about the
// proxy only ends its own.
func (p *proxies) end(u *url.URL, mine *trial, err error) {
	var proxyFailed *failure.ProxyError
	isProxys := errors.As(err, &proxyFailed)
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.state(u)
	switch {
	case s.refused != nil:
	case isProxys && errors.Is(err, failure.ErrAuth) && !s.accepted:
		s.refused = err
	case err == nil:
		s.accepted = true
	case mine == nil || mine != s.trial:
		return
	case isProxys:
		mine.err = err
	}
	s.endTrial()
}

// expire ends the trial t of the proxy u, if it is under way. Another request may then try the proxy.
func (p *proxies) expire(u *url.URL, t *trial) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.state(u); s.trial == t {
		s.endTrial()
	}
}

// endTrial ends the trial that is under way, if there is one. The caller holds proxies.mu.
func (s *proxyState) endTrial() {
	if s.trial != nil {
		s.trial.timer.Stop()
		close(s.trial.ended)
		s.trial = nil
	}
}
