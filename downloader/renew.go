package downloader

import (
	"context"
	"net/http"
	"sync"
)

// renewAfter is how many requests may leave something behind in a transport, 600 bytes each
// (measured). Half of it closes idle connections more often, which costs a new one each.
const renewAfter = 1000

// A renewing is a transport that is replaced by a copy now and then. net/http (Go 1.26) keeps
// each request that has opened a connection, by host, until one to the same host becomes idle.
// That never happens if the host cannot be reached, so that a list of many such hosts would
// cost 600 bytes for each. Requests that are under way go on. Safe for concurrent use.
type renewing struct {
	mu   sync.Mutex
	now  *http.Transport // guarded by mu
	last *http.Transport // the one before, nil for none: connections may become idle late; guarded by mu
	left int             // requests that have left something behind in it; guarded by mu
}

// transport returns the one for a request that begins now.
func (r *renewing) transport() *http.Transport {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *renewing) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.transport().RoundTrip(req)
	if err != nil || resp.Close {
		r.leftBehind()
	}
	return resp, err
}

// leftBehind counts a request that leaves something behind, and renews the transport.
func (r *renewing) leftBehind() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left++; r.left < renewAfter {
		return
	}
	r.closeIdle() // and each other connection when it becomes idle, if no request still begins
	r.now, r.last, r.left = r.now.Clone(), r.now, 0
}

// NewClientConn is that of the transport.
func (r *renewing) NewClientConn(ctx context.Context, scheme, address string) (*http.ClientConn, error) {
	return r.transport().NewClientConn(ctx, scheme, address)
}

// CloseIdleConnections is that of the transport, and of the one before.
func (r *renewing) CloseIdleConnections() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closeIdle()
}

// closeIdle is CloseIdleConnections, with mu held.
func (r *renewing) closeIdle() {
	r.now.CloseIdleConnections()
	if r.last != nil {
		r.last.CloseIdleConnections()
	}
}
