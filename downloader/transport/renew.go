package transport

import (
	"context"
	"net/http"
	"sync"
)

// maxLeftBehind is how many requests may leave memory behind in a transport, 600 bytes each
// (measured). Half closes idle connections twice as often, each of which costs a new one;
// double only keeps 600 KB more.
const maxLeftBehind = 1000

// A renewing is an http.Transport that is replaced by a copy from time to time. net/http
// (Go 1.26) keeps each request that has opened a connection in a queue of its host until a
// connection to the same host becomes idle. That never happens if the host cannot be reached,
// so that a list of many such hosts would cost 600 bytes for each of them. Requests under way
// continue on the replaced transport. Safe for concurrent use.
type renewing struct {
	mu         sync.Mutex
	current    *http.Transport // guarded by mu
	previous   *http.Transport // nil at first; its connections may become idle late; guarded by mu
	leftBehind int             // requests that left memory behind in current; guarded by mu
}

func newRenewing(t *http.Transport) *renewing { return &renewing{current: t} }

// transport returns the transport for a request that begins now.
func (r *renewing) transport() *http.Transport {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

func (r *renewing) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.transport().RoundTrip(req)
	if err != nil || resp.Close {
		r.noteLeftBehind()
	}
	return resp, err
}

// noteLeftBehind counts a request that left memory behind, and replaces the transport if there
// are too many.
func (r *renewing) noteLeftBehind() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leftBehind++; r.leftBehind < maxLeftBehind {
		return
	}
	r.closeIdleLocked() // and makes each other connection close when it becomes idle
	r.current, r.previous, r.leftBehind = r.current.Clone(), r.current, 0
}

// NewClientConn opens a connection of the current transport.
func (r *renewing) NewClientConn(ctx context.Context, scheme, address string) (*http.ClientConn, error) {
	return r.transport().NewClientConn(ctx, scheme, address)
}

// CloseIdleConnections closes the idle connections of the current and the previous transport.
func (r *renewing) CloseIdleConnections() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closeIdleLocked()
}

// closeIdleLocked is CloseIdleConnections for a caller that holds mu.
func (r *renewing) closeIdleLocked() {
	r.current.CloseIdleConnections()
	if r.previous != nil {
		r.previous.CloseIdleConnections()
	}
}
