package downloader

// This file is about where the asked URL leads.

import (
	"context"
	"net/url"
)

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
