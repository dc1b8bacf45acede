package faultserver

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// RawRedirect answers with the status and, unless it is empty, the Location as
// it is.
func RawRedirect(status int, location string) Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			met(r)
			if location != "" {
				w.Header().Set("Location", location)
			}
			w.WriteHeader(status)
		})
	}
}

// Chain redirects requests for /NAME to /1/NAME, those to /2/NAME and so on, one
// hop for each status, and serves the file behind the last.
func Chain(statuses ...int) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			hop, name := 0, strings.TrimPrefix(r.URL.Path, "/")
			if before, after, ok := strings.Cut(name, "/"); ok {
				hop, _ = strconv.Atoi(before)
				name = after
			}
			if hop < len(statuses) {
				met(r)
				w.Header().Set("Location", fmt.Sprintf("/%d/%s", hop+1, name))
				w.WriteHeader(statuses[hop])
				return
			}
			r.URL.Path = "/" + name
			next.ServeHTTP(w, r)
		})
	}
}

// SignedUntil redirects each request to the same path with a signature that
// holds for life. Behind that it is answered with 403, which is when the fault
// acts.
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
				met(r)
				http.Error(w, "the signature has expired", http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// SignedFor redirects each request to the same path with a signature that is
// good for so many requests. Further ones are answered with the status, which is
// when the fault acts.
func SignedFor(uses, status int) Fault {
	var (
		mu   sync.Mutex
		left []int // of each signature, by its number
	)
	sign := func() int {
		mu.Lock()
		defer mu.Unlock()
		left = append(left, uses)
		return len(left) - 1
	}
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
				met(r)
				http.Error(w, http.StatusText(status), status)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Once answers one request, and all others with the status.
func Once(status int) Fault {
	return Only(func(n int) bool { return n > 0 }, Status(status, -1))
}
