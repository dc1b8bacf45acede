package faultserver

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// This file has the basic faults: missing features, limited rates, cut bodies, statuses; and
// the faults that choose which requests another fault applies to.

// minPacedWrite and maxPacedWrite bound the number of bytes that a paced body sends at once.
// Guesses: smaller writes cost more CPU time, larger ones make low rates come in bursts, and
// bytes that were sent in vain more than they need be.
const (
	minPacedWrite = 16 << 10
	maxPacedWrite = 64 << 10
)

// A bodyWriter is a ResponseWriter that passes the body to a function, in the pieces in
// which the handler writes it.
type bodyWriter struct {
	http.ResponseWriter
	write func(b []byte) (int, error)
}

func (w bodyWriter) Write(b []byte) (int, error) { return w.write(b) }
func (w bodyWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// NoRanges ignores Range and responds to every request with the whole file. The fault acts
// with each request that has a Range.
func NoRanges(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "" {
			countFault(r)
		}
		r.Header.Del("Range")
		next.ServeHTTP(editHeader(w, func(h http.Header) { h.Del("Accept-Ranges") }), r)
	})
}

// NoLength sends the whole file in chunked coding, without Content-Length.
func NoLength(next http.Handler) http.Handler {
	return NoRanges(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(editHeader(w, func(h http.Header) { h.Del("Content-Length") }), r)
	}))
}

// NoValidators removes ETag and Last-Modified from all responses.
func NoValidators(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(editHeader(w, func(h http.Header) {
			countFault(r)
			h.Del("ETag")
			h.Del("Last-Modified")
		}), r)
	})
}

// SetHeader sets a field of the response header, and replaces the field of the file.
func SetHeader(name, value string) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(editHeader(w, func(h http.Header) { countFault(r); h.Set(name, value) }), r)
		})
	}
}

// A headerWriter is a ResponseWriter that edits the header once, just before it is sent. A
// fault cannot edit it earlier, because the handlers inside it set their fields later.
type headerWriter struct {
	http.ResponseWriter
	edit func(http.Header)
	once *sync.Once
}

// editHeader returns w with an edit of its header. The edit must not depend on the body.
func editHeader(w http.ResponseWriter, edit func(http.Header)) headerWriter {
	return headerWriter{w, edit, new(sync.Once)}
}

func (e headerWriter) Unwrap() http.ResponseWriter { return e.ResponseWriter }

func (e headerWriter) WriteHeader(status int) {
	e.once.Do(func() { e.edit(e.Header()) })
	e.ResponseWriter.WriteHeader(status)
}

func (e headerWriter) Write(b []byte) (int, error) {
	e.once.Do(func() { e.edit(e.Header()) })
	return e.ResponseWriter.Write(b)
}

// Rate limits all bodies together to bytesPerSecond.
func Rate(bytesPerSecond int64) Fault {
	limiter := newLimiter(bytesPerSecond)
	return paced(func() *rate.Limiter { return limiter })
}

// ConnRate limits each body to bytesPerSecond, so a download over several connections is
// faster.
func ConnRate(bytesPerSecond int64) Fault {
	return paced(func() *rate.Limiter { return newLimiter(bytesPerSecond) })
}

// newLimiter returns a limiter whose burst is the size of a write: 4 ms of the rate, within
// bounds.
func newLimiter(bytesPerSecond int64) *rate.Limiter {
	size := min(max(minPacedWrite, bytesPerSecond/250), maxPacedWrite)
	return rate.NewLimiter(rate.Limit(bytesPerSecond), int(size))
}

// paced limits each body by the limiter that the function returns for it. It never counts as
// a fault that acts.
func paced(limiter func() *rate.Limiter) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			l, flush := limiter(), http.NewResponseController(w)
			next.ServeHTTP(bodyWriter{w, func(b []byte) (int, error) {
				n := 0
				for piece := range slices.Chunk(b, l.Burst()) {
					if err := l.WaitN(r.Context(), len(piece)); err != nil {
						return n, err
					}
					k, err := w.Write(piece)
					n += k
					if err != nil {
						return n, err
					}
					flush.Flush()
				}
				return n, nil
			}}, r)
		})
	}
}

// After calls do in each body once, after exactly n bytes have been sent and if there are
// more. If do returns, the body goes on; if it panics with http.ErrAbortHandler, the
// connection is closed. n counts from the start of the response and not of the file.
func After(n int64, do func(w http.ResponseWriter, r *http.Request)) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			left := n
			next.ServeHTTP(bodyWriter{w, func(b []byte) (int, error) {
				if int64(len(b)) <= left {
					left -= int64(len(b))
					return w.Write(b)
				}
				k, err := w.Write(b[:left])
				left = 0
				if err != nil {
					return k, err
				}
				http.NewResponseController(w).Flush()
				countFault(r)
				do(w, r)
				m, err := w.Write(b[k:])
				left = 1 << 62 // do must be called only once per body
				return k + m, err
			}}, r)
		})
	}
}

// Cut closes the connection after n bytes of each longer body.
func Cut(n int64) Fault {
	return After(n, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

// Reset resets the connection (TCP RST) after n bytes of each longer body. It must be used
// with New, not NewTLS.
func Reset(n int64) Fault {
	return After(n, func(w http.ResponseWriter, r *http.Request) {
		reset(w)
	})
}

// Stall sends nothing after n bytes of each longer body, but keeps the connection open until
// the client closes it.
func Stall(n int64) Fault {
	return After(n, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	})
}

// Delay waits for d before each response.
func Delay(d time.Duration) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			countFault(r)
			if sleep(r.Context(), d) {
				next.ServeHTTP(w, r)
			}
		})
	}
}

// sleep waits for d. It reports false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Status responds with this status and no file. If retryAfter is not negative, it is sent as
// Retry-After, in seconds.
func Status(code, retryAfter int) Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			countFault(r)
			if retryAfter >= 0 {
				w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
			}
			http.Error(w, http.StatusText(code), code)
		})
	}
}

// Redirect redirects every request for the path from to the URL to, with status 302.
func Redirect(from, to string) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == from {
				countFault(r)
				http.Redirect(w, r, to, http.StatusFound)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Only applies f to the requests for which pick returns true. n is the number of the request
// since the fault was created, from 0: func(n int) bool { return n%2 == 1 } selects every
// second request. pick may be called concurrently.
func Only(pick func(n int) bool, f Fault) Fault {
	var count atomic.Int64
	return func(next http.Handler) http.Handler {
		faulty := f(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if pick(int(count.Add(1) - 1)) {
				faulty.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// First applies f to the first n requests.
func First(n int, f Fault) Fault { return Only(func(i int) bool { return i < n }, f) }

// MoreThan applies f to each request that arrives while n or more others are in progress.
// Requests with the fault count as in progress too; see Slots for the other case.
func MoreThan(n int, f Fault) Fault {
	var active atomic.Int64
	return func(next http.Handler) http.Handler {
		faulty := f(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer active.Add(-1)
			if active.Add(1) > int64(n) {
				faulty.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
