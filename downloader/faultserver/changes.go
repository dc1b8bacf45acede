package faultserver

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
)

// Validators are what one answer says of the version. An empty one is not sent.
type Validators struct{ ETag, LastModified string }

// matches reports whether an If-Range field is for v (RFC 9110 §13.1.5): a weak
// tag is for nothing.
func (v Validators) matches(ifRange string) bool {
	return ifRange == v.LastModified || ifRange == v.ETag && strings.HasPrefix(ifRange, `"`)
}

// Backends answers as machines behind one address do that have the same content,
// but validators of their own. pick tells those of the machine that gets the
// request, by its number from 0 since the fault was made; it may be called by
// several at once. The fault has acted when a machine contradicts the one before.
func Backends(pick func(n int) Validators) Fault {
	var (
		mu   sync.Mutex
		n    int
		last Validators
	)
	take := func(r *http.Request) Validators {
		mu.Lock()
		defer mu.Unlock()
		v := pick(n)
		if n > 0 && v != last {
			met(r)
		}
		n, last = n+1, v
		return v
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			v := take(r)
			if cond := r.Header.Get("If-Range"); cond != "" && !v.matches(cond) {
				r.Header.Del("Range")
			}
			r.Header.Del("If-Range")
			next.ServeHTTP(headerEdit(w, func(h http.Header) {
				setOrDel(h, "ETag", v.ETag)
				setOrDel(h, "Last-Modified", v.LastModified)
			}), r)
		})
	}
}

func setOrDel(h http.Header, name, value string) {
	if h.Del(name); value != "" {
		h.Set(name, value)
	}
}

// At calls do when n bytes of a body have passed, which waits meanwhile; of
// several bodies for the first that comes so far.
func At(n int64, do func()) Fault {
	var once sync.Once
	return After(n, func(http.ResponseWriter, *http.Request) { once.Do(do) })
}

// CutAt is At, and then closes that connection, so that there is another request
// after whatever do has changed.
func CutAt(n int64, do func()) Fault {
	var acted atomic.Bool
	return After(n, func(http.ResponseWriter, *http.Request) {
		if acted.CompareAndSwap(false, true) {
			do()
			panic(http.ErrAbortHandler)
		}
	})
}

// IgnoreIfRange answers with a part whatever version was asked for.
func IgnoreIfRange(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-Range") != "" {
			met(r)
		}
		r.Header.Del("If-Range")
		next.ServeHTTP(w, r)
	})
}

// LoginPage answers every request with a page of HTML.
func LoginPage(http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		met(r)
		page := loginPage()
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Length", fmt.Sprint(len(page)))
		fmt.Fprint(w, page)
	})
}

// LoginPart is LoginPage by a server that calls the page a part: the start of
// what was asked for if asAsked, else the start of the file.
func LoginPart(asAsked bool) Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			met(r)
			page, off := loginPage(), 0
			if asAsked {
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

func loginPage() string {
	return "<!DOCTYPE html><title>Log in</title>\n" + strings.Repeat("<p>Please log in to go on.</p>\n", 50)
}
