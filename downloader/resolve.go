package downloader

// This file is about where the asked URL leads.

import (
	"context"
	"net/url"

	"pawl/downloader/transport"
)

// A destination is where a URL has led.
type destination struct {
	url     *url.URL // nil if it is not known
	strayed bool     // by way of another origin, so that the user's headers must not go there
	public  bool     // a public source named it, so that it must not be at a private address
}

// source returns where to ask: where the asked URL led, if that is known. One connection
// at a time finds out anew; it must call release when it has.
func (j *job) source(ctx context.Context) (to destination, release func(), err error) {
	none := func() {}
	if to, redirects := j.target(); to.url != j.asked || !redirects {
		return to, none, nil
	}
	select {
	case j.resolving <- struct{}{}:
	case <-ctx.Done():
		return to, nil, context.Cause(ctx)
	}
	release = func() { <-j.resolving }
	if to, _ := j.target(); to.url != j.asked { // another connection found out meanwhile
		release()
		return to, none, nil
	}
	return j.start(), release, nil
}

// target returns where to ask, as far as is known now, and whether the asked
// URL is known to redirect.
func (j *job) target() (to destination, redirects bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.final.url != nil {
		return j.final, true
	}
	return j.start(), j.redirects
}

// start returns the asked URL.
func (j *job) start() destination {
	return destination{url: j.asked, public: j.req.isPublic(j.asked)}
}

// isPublic reports whether a public list has named u.
func (r *Request) isPublic(u *url.URL) bool { return r.Public != nil && r.Public(transport.Origin(u)) }

// resolved notes that a request to from was answered, where it led to.
func (j *job) resolved(from, to destination) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.final.url == nil && to.url.String() == j.asked.String() && !to.strayed {
		return
	}
	to.strayed = to.strayed || from.strayed
	j.final, j.redirects = to, true
}

// expired notes that u, where the asked URL led, holds no longer.
func (j *job) expired(u *url.URL) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.final.url == u {
		j.final = destination{}
	}
}

// A namer describes the source that has named a URL.
type namer struct {
	given  bool // the user or a list, so that the headers of the request may be sent to the URL; else a server
	public bool // a public source, so that the URL must not lead to a private address
}
