package faultserver

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
)

// This file has the faults of versions: changing and contradicting validators, files that
// change during a download, and login pages in place of files.

// Validators are the validators of one response. An empty one is not sent.
type Validators struct{ ETag, LastModified string }

// matches reports whether an If-Range field matches v (RFC 9110 section 13.1.5). A weak ETag
// never matches.
func (v Validators) matches(ifRange string) bool {
	return ifRange == v.LastModified || ifRange == v.ETag && strings.HasPrefix(ifRange, `"`)
}

// Backends simulates several machines behind one address that have the same content but
// different validators, as a badly configured load balancer has. pick returns the validators
// for the n-th request since the fault was created, from 0. Its calls do not overlap, because the
// fault holds a lock around them. The fault acts when a response contradicts
// the previous one.
func Backends(pick func(n int) Validators) Fault {
	var (
		mu   sync.Mutex
		n    int
		last Validators
	)
	choose := func(r *http.Request) Validators {
		mu.Lock()
		defer mu.Unlock()
		v := pick(n)
		if n > 0 && v != last {
			countFault(r)
		}
		n, last = n+1, v
		return v
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			v := choose(r)
			if cond := r.Header.Get("If-Range"); cond != "" && !v.matches(cond) {
				r.Header.Del("Range")
			}
			r.Header.Del("If-Range")
			next.ServeHTTP(editHeader(w, func(h http.Header) {
				setOrDelete(h, "ETag", v.ETag)
				setOrDelete(h, "Last-Modified", v.LastModified)
			}), r)
		})
	}
}

// setOrDelete sets a header field, or deletes it if the value is empty.
func setOrDelete(h http.Header, name, value string) {
	if h.Del(name); value != "" {
		h.Set(name, value)
	}
}

// At calls do once, when n bytes of a body have been sent. That body waits until do returns.
// If several bodies get so far, only the first one calls do.
func At(n int64, do func()) Fault {
	var once sync.Once
	return After(n, func(http.ResponseWriter, *http.Request) { once.Do(do) })
}

// CutAt is like At, but closes the connection after do. So the client must send another
// request, and its response shows the changes that do has made.
func CutAt(n int64, do func()) Fault {
	var done atomic.Bool
	return After(n, func(http.ResponseWriter, *http.Request) {
		if done.CompareAndSwap(false, true) {
			do()
			panic(http.ErrAbortHandler)
		}
	})
}

// IgnoreIfRange responds with 206 even if the validator in If-Range does not match. The
// fault acts with each request that has an If-Range.
func IgnoreIfRange(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-Range") != "" {
			countFault(r)
		}
		r.Header.Del("If-Range")
		next.ServeHTTP(w, r)
	})
}

// LoginPage responds to every request with status 200 and an HTML page, as the portal of a
// hotel network does. A client must not store the page as the file.
func LoginPage(http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		countFault(r)
		page := loginPage()
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Length", fmt.Sprint(len(page)))
		fmt.Fprint(w, page)
	})
}

// LoginPart is like LoginPage, but with status 206: the page claims to be the start of the
// requested range if asRequested is true, and otherwise the start of the file.
func LoginPart(asRequested bool) Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			countFault(r)
			page, off := loginPage(), 0
			if asRequested {
				fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &off)
			}
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Content-Length", fmt.Sprint(len(page)))
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", off, off+len(page)-1, off+len(page)))
			w.WriteHeader(http.StatusPartialContent)
			fmt.Fprint(w, page)
		})
	}
}

// loginPage returns the text of an HTML page of about 1.6 KB.
func loginPage() string {
	return "<!DOCTYPE html><title>Log in</title>\n" + strings.Repeat("<p>Please log in to go on.</p>\n", 50)
}
