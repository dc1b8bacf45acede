package downloader

import (
	"context"
	"net/url"
	"sync"
)

// A destination is the URL to which a URL redirects.
type destination struct {
	url     *url.URL // nil if unknown
	strayed bool     // a redirect left the origin, so the user's headers must not go there
	public  bool     // a public source named it, so it must not be at a private address
	charset string   // of its last response; "" if unknown
}

// A resolver remembers the destination of the redirects of a download's URL, so that later requests
// go there at once. Signed URLs expire; then one connection asks the original URL again, and the
// others wait for the result. Safe for concurrent use.
type resolver struct {
	start     destination   // the URL of the download; immutable
	resolving chan struct{} // holds a token while a connection asks the URL of the download

	mu        sync.Mutex
	final     destination // guarded by mu
	redirects bool        // the URL is known to redirect; guarded by mu
	charset   string      // of the last response; guarded by mu
}

func newResolver(start destination) *resolver {
	return &resolver{start: start, resolving: make(chan struct{}, 1)}
}

// current returns the URL to ask, as far as it is known, and whether the URL of the download
// is known to redirect.
func (r *resolver) current() (to destination, redirects bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.final.url != nil {
		return r.final, true
	}
	return r.start, r.redirects
}

// resolve returns the URL to ask. If the final URL has expired, it returns the URL of the
// download to one caller at a time. The caller must call release when it has a response.
func (r *resolver) resolve(ctx context.Context) (to destination, release func(), err error) {
	none := func() {}
	if to, redirects := r.current(); to.url != r.start.url || !redirects {
		return to, none, nil
	}
	select {
	case r.resolving <- struct{}{}:
	case <-ctx.Done():
		return destination{}, nil, context.Cause(ctx)
	}
	release = func() { <-r.resolving }
	if to, _ := r.current(); to.url != r.start.url { // another connection has resolved it meanwhile
		release()
		return to, none, nil
	}
	return r.start, release, nil
}

// lastCharset returns the charset of the last response, "" if it named none.
func (r *resolver) lastCharset() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.charset
}

// resolved notes that a request to from was answered at to. If from had strayed already, to has, too:
// the user's headers must not come back to a later origin.
func (r *resolver) resolved(from, to destination) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.charset = to.charset
	if r.final.url == nil && to.url.String() == r.start.url.String() && !to.strayed {
		return
	}
	to.strayed = to.strayed || from.strayed
	r.final, r.redirects = to, true
}

// expired notes that u, the final URL, is no longer valid.
func (r *resolver) expired(u *url.URL) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.final.url == u {
		r.final = destination{}
	}
}
