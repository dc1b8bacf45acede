package faultserver

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// This file has the faults of redirects and of links with a limited life.

// RawRedirect responds with this status and Location, unless the Location is empty. Neither is
// checked or completed, so both may be invalid.
func RawRedirect(status int, location string) Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			countFault(r)
			if location != "" {
				w.Header().Set("Location", location)
			}
			w.WriteHeader(status)
		})
	}
}

// Chain redirects a request for /NAME to /1/NAME, then to /2/NAME and so on, once for each
// status. The last hop serves the file. For example, Chain(301, 307) redirects /f to /1/f
// with status 301, and /1/f to /2/f with status 307, which is the file.
func Chain(statuses ...int) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			hop, name := 0, strings.TrimPrefix(r.URL.Path, "/")
			if before, after, ok := strings.Cut(name, "/"); ok {
				hop, _ = strconv.Atoi(before)
				name = after
			}
			if hop < len(statuses) {
				countFault(r)
				w.Header().Set("Location", fmt.Sprintf("/%d/%s", hop+1, name))
				w.WriteHeader(statuses[hop])
				return
			}
			r.URL.Path = "/" + name
			next.ServeHTTP(w, r)
		})
	}
}

// SignedUntil redirects each request without a signature to the same path with a signature
// that is valid for life, as storage services do. A request with an expired signature gets a
// 403; only then the fault acts.
func SignedUntil(life time.Duration) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sig := r.URL.Query().Get("sig")
			if sig == "" {
				to := fmt.Sprintf("%s?sig=%d", r.URL.Path, time.Now().Add(life).UnixMilli())
				http.Redirect(w, r, to, http.StatusFound)
				return
			}
			if until, err := strconv.ParseInt(sig, 10, 64); err != nil || time.Now().UnixMilli() > until {
				countFault(r)
				http.Error(w, "the signature has expired", http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// SignedFor redirects each request without a signature to the same path with a new signature
// that is valid for this number of requests. Further requests get the status; only then the
// fault acts.
func SignedFor(uses, status int) Fault {
	var (
		mu   sync.Mutex
		left []int // remaining uses of each signature; the signature is the index
	)
	// sign creates a signature.
	sign := func() int {
		mu.Lock()
		defer mu.Unlock()
		left = append(left, uses)
		return len(left) - 1
	}
	// use reports whether a signature is valid, and counts the use.
	use := func(sig string) bool {
		mu.Lock()
		defer mu.Unlock()
		i, err := strconv.Atoi(sig)
		if err != nil || i < 0 || i >= len(left) || left[i] == 0 {
			return false
		}
		left[i]--
		return true
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sig := r.URL.Query().Get("sig")
			if sig == "" {
				http.Redirect(w, r, fmt.Sprintf("%s?sig=%d", r.URL.Path, sign()), http.StatusFound)
				return
			}
			if !use(sig) {
				countFault(r)
				http.Error(w, http.StatusText(status), status)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// SingleUse serves the first request, and responds to all others with this status, as a
// single-use link does.
func SingleUse(status int) Fault {
	return Only(func(n int) bool { return n > 0 }, Status(status, -1))
}
