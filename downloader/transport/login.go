package transport

import (
	"crypto/rand"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"

	"pawl/downloader/credentials"
	"pawl/downloader/recent"
)

const (
	// maxStale is how often one request may be refused because of its nonce. A server with many
	// connections may take requests in another order than they were sent, and refuse the older
	// one. A guess; with one, a busy server ends downloads, and a hostile one gets so many requests
	// for nothing.
	maxStale = 4
	// maxIdleNonces is how many nonces are kept for later requests to an origin, as many as there are
	// streams over HTTP/2 at once. With half, some requests need another challenge; each takes some
	// hundred bytes.
	maxIdleNonces = 256
	// maxRefusal is how many bytes of a refused response are read so that its connection can be used
	// again. The pages of servers have a few hundred; at double, a server that sends them slowly takes two
	// minutes (Options.MinRate).
	maxRefusal = 4 << 10
)

// A loginSender is the stage that authenticates requests with the user and the password of their
// RequestInfo: by Basic (RFC 7617), or by Digest (RFC 7616) if the server does not accept Basic. They
// are sent to the origin of the first request only, never to the origin of a redirect.
//
// Basic is sent unasked, as curl does: most servers want it, and some say 404 without it. So the password
// of a Digest login is only as secret as the connection, at the first request of a run.
type loginSender struct {
	next http.RoundTripper
	*logins
}

func (s loginSender) RoundTrip(req *http.Request) (*http.Response, error) {
	info := infoOf(req.Context())
	if info == nil || info.Login == nil || req.Header.Get("Authorization") != "" || LeftOrigin(req) {
		return s.next.RoundTrip(req)
	}
	password, _ := info.Login.Password()
	x := loginExchange{s.next, req, s.login(req.URL, info.Login), info.Login.Username(), password}
	if x.login.wantsDigest() {
		return x.sendDigest(nil)
	}
	resp, err := x.send(credentials.Basic(x.user, x.password))
	if err != nil {
		return nil, err
	}
	offered := challenges(resp)
	refusesBasic := slices.ContainsFunc(offered, func(c credentials.Challenge) bool { return c.Scheme == "basic" })
	if d, ok := credentials.StrongestDigest(offered); ok && !refusesBasic {
		discard(resp)
		x.login.useDigest()
		return x.sendDigest(&d)
	}
	return resp, nil
}

// challenges returns the ways that the server of a 401 offers, nil for another status.
func challenges(resp *http.Response) []credentials.Challenge {
	if resp.StatusCode != http.StatusUnauthorized {
		return nil
	}
	return credentials.ParseChallenges(resp.Header.Values("Www-Authenticate"))
}

// discard reads the rest of a response that nobody wants.
func discard(resp *http.Response) {
	io.CopyN(io.Discard, resp.Body, maxRefusal) // an error only means that the connection is not used again
	resp.Body.Close()
}

// A loginExchange sends one request with a login.
type loginExchange struct {
	next           http.RoundTripper
	req            *http.Request
	login          *login
	user, password string
}

// send sends the request with an Authorization field, "" for none.
func (x loginExchange) send(authorization string) (*http.Response, error) {
	sent := *x.req
	sent.Header = x.req.Header.Clone()
	if authorization != "" {
		sent.Header.Set("Authorization", authorization)
	}
	resp, err := x.next.RoundTrip(&sent)
	if err != nil {
		return nil, err
	}
	resp.Request = x.req // without the field
	return resp, nil
}

// sendDigest sends the request by Digest. d is a challenge that the server has just sent, nil if there
// is none: then a nonce is used that an earlier request has left, or the server is asked for one.
func (x loginExchange) sendDigest(d *credentials.Digest) (*http.Response, error) {
	for refusals := 0; ; {
		n := x.login.take(d)
		resp, err := x.send(x.authorization(n))
		if err != nil {
			x.login.giveBack(n)
			return nil, err
		}
		if resp.StatusCode != http.StatusUnauthorized {
			x.login.accepted(n, nextNonce(resp))
			return resp, nil
		}
		challenge, ok := credentials.StrongestDigest(challenges(resp))
		wasAccepted := x.login.forgetRefused(n)
		if refusals++; !ok || refusals > maxStale || n != nil && !challenge.Stale && !wasAccepted { // the login is wrong
			return resp, nil
		}
		discard(resp)
		d = &challenge
	}
}

// authorization returns the Authorization field for a nonce, "" without one.
func (x loginExchange) authorization(n *nonce) string {
	if n == nil {
		return ""
	}
	return n.Authorization(credentials.DigestRequest{
		User: x.user, Password: x.password, Method: x.req.Method, URI: x.req.URL.RequestURI(), Count: x.login.count(n), Cnonce: n.client,
	})
}

// nextNonce returns the nonce that the server wants to see next, "" for the same (RFC 7616 §3.5).
func nextNonce(resp *http.Response) string {
	return credentials.ParseParams(resp.Header.Get("Authentication-Info"))["nextnonce"]
}

// logins remember how each origin wants to see each login. Safe for concurrent use.
type logins struct {
	mu    sync.Mutex
	known recent.Map[*login] // by origin and login; guarded by mu
}

func newLogins() *logins { return &logins{known: recent.NewMap((*login).isIdle)} }

// login returns the state of a login at the origin of u.
func (l *logins) login(u *url.URL, user *url.Userinfo) *login {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known.Get(Origin(u)+" "+user.String(), func() *login { return &login{nonces: make(map[string]*nonce)} })
}

// A login is a user at an origin. While a request is under way, its nonce is not used for
// another one: so the server sees the counts of each nonce in order, however many connections
// there are. Each connection costs one challenge for that.
type login struct {
	mu     sync.Mutex
	digest bool              // the origin wants Digest; guarded by mu
	nonces map[string]*nonce // that a request uses, or that are idle, by Nonce; guarded by mu
	idle   []*nonce          // the last one was used last; guarded by mu
}

// A nonce is a challenge in use.
type nonce struct {
	credentials.Digest        // with the Nonce guarded by login.mu while no request uses it
	client             string // the Cnonce of all its requests; immutable
	accepted           bool   // a request with it has succeeded; guarded by login.mu
	counted            uint32 // requests so far; guarded by login.mu
	users              int    // requests under way, more than one only if the server repeats a nonce; guarded by login.mu
}

func (l *login) isIdle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.nonces) == len(l.idle)
}

func (l *login) wantsDigest() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.digest
}

// useDigest notes that the origin wants Digest. That stays so for the run.
func (l *login) useDigest() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.digest = true
}

// take returns a nonce for a request: the nonce of a challenge, if there is one, or an idle one, or
// nil. It must be given back or retired.
func (l *login) take(d *credentials.Digest) *nonce {
	l.mu.Lock()
	defer l.mu.Unlock()
	var n *nonce
	switch last := len(l.idle) - 1; {
	case d != nil:
		if n = l.nonces[d.Nonce]; n == nil {
			var random [16]byte
			rand.Read(random[:]) // never fails
			n = &nonce{Digest: *d, client: hex.EncodeToString(random[:])}
			l.nonces[d.Nonce] = n
		}
		l.idle = slices.DeleteFunc(l.idle, func(i *nonce) bool { return i == n })
	case last < 0:
		return nil
	default:
		n = l.idle[last]
		l.idle = l.idle[:last]
	}
	n.users++
	return n
}

// count returns the number of the next request with n.
func (l *login) count(n *nonce) uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	n.counted++
	return n.counted
}

// accepted notes that the server has accepted n, and gives it back. next is the nonce that the server wants
// to see next, "" for the same.
func (l *login) accepted(n *nonce, next string) {
	if n == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n.accepted = true
	if next != "" && l.nonces[next] == nil && n.users == 1 {
		delete(l.nonces, n.Nonce)
		n.Nonce, n.counted = next, 0
		l.nonces[next] = n
	}
	l.giveBackLocked(n)
}

// giveBack makes n idle, unless another request uses it.
func (l *login) giveBack(n *nonce) {
	if n == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.giveBackLocked(n)
}

// giveBackLocked is giveBack. The caller holds mu.
func (l *login) giveBackLocked(n *nonce) {
	n.users--
	switch {
	case n.users > 0 || l.nonces[n.Nonce] != n:
	case len(l.idle) >= maxIdleNonces:
		delete(l.nonces, n.Nonce)
	default:
		l.idle = append(l.idle, n)
	}
}

// forgetRefused forgets n after the server has refused it, and reports whether the server had accepted it before.
func (l *login) forgetRefused(n *nonce) bool {
	if n == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if n.users--; n.users == 0 && l.nonces[n.Nonce] == n {
		delete(l.nonces, n.Nonce)
	}
	return n.accepted
}
