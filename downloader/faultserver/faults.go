package faultserver

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// paceStep is how many bytes a paced body hands to the network at once.
const paceStep = 16 << 10

// writer is a ResponseWriter whose bodies pass through write, piece by piece.
type writer struct {
	http.ResponseWriter
	write func(b []byte) (int, error)
}

func (w writer) Write(b []byte) (int, error) { return w.write(b) }
func (w writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// NoRanges answers every request with the whole file.
func NoRanges(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "" {
			met(r)
		}
		r.Header.Del("Range")
		next.ServeHTTP(headerEdit(w, func(h http.Header) { h.Del("Accept-Ranges") }), r)
	})
}

// NoLength sends bodies of unknown length, chunked, and no ranges.
func NoLength(next http.Handler) http.Handler {
	return NoRanges(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(headerEdit(w, func(h http.Header) { h.Del("Content-Length") }), r)
	}))
}

// NoValidators sends neither ETag nor Last-Modified.
func NoValidators(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(headerEdit(w, func(h http.Header) {
			met(r)
			h.Del("ETag")
			h.Del("Last-Modified")
		}), r)
	})
}

// SetHeader makes a header field of the answer value.
func SetHeader(name, value string) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(headerEdit(w, func(h http.Header) { met(r); h.Set(name, value) }), r)
		})
	}
}

// editor changes the header just before it is sent.
type editor struct {
	http.ResponseWriter
	edit func(http.Header)
	once *sync.Once
}

func headerEdit(w http.ResponseWriter, edit func(http.Header)) editor {
	return editor{w, edit, new(sync.Once)}
}

func (e editor) Unwrap() http.ResponseWriter { return e.ResponseWriter }

func (e editor) WriteHeader(status int) {
	e.once.Do(func() { e.edit(e.Header()) })
	e.ResponseWriter.WriteHeader(status)
}

func (e editor) Write(b []byte) (int, error) {
	e.once.Do(func() { e.edit(e.Header()) })
	return e.ResponseWriter.Write(b)
}

// Rate paces all bodies together to bytesPerSecond.
func Rate(bytesPerSecond int64) Fault {
	limiter := rate.NewLimiter(rate.Limit(bytesPerSecond), paceStep)
	return paced(func() *rate.Limiter { return limiter })
}

// ConnRate paces each body to bytesPerSecond.
func ConnRate(bytesPerSecond int64) Fault {
	return paced(func() *rate.Limiter { return rate.NewLimiter(rate.Limit(bytesPerSecond), paceStep) })
}

func paced(limiter func() *rate.Limiter) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			l, flush := limiter(), http.NewResponseController(w)
			next.ServeHTTP(writer{w, func(b []byte) (int, error) {
				n := 0
				for piece := range slices.Chunk(b, paceStep) {
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

// After calls do when n bytes of a body have passed, before the next one.
func After(n int64, do func(w http.ResponseWriter, r *http.Request)) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			left := n
			next.ServeHTTP(writer{w, func(b []byte) (int, error) {
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
				met(r)
				do(w, r)
				m, err := w.Write(b[k:])
				left = 1 << 62 // once in each body
				return k + m, err
			}}, r)
		})
	}
}

// Cut closes the connection after n bytes of each body.
func Cut(n int64) Fault {
	return After(n, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

// Reset resets the connection after n bytes of each body.
func Reset(n int64) Fault {
	return After(n, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		}
		panic(http.ErrAbortHandler)
	})
}

// Stall falls silent after n bytes of each body, until the client goes away.
func Stall(n int64) Fault {
	return After(n, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	})
}

// Delay waits before each answer.
func Delay(d time.Duration) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			met(r)
			if wait(r.Context(), d) {
				next.ServeHTTP(w, r)
			}
		})
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Status answers with a status alone, and with Retry-After in seconds if that
// is not negative.
func Status(code, retryAfter int) Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			met(r)
			if retryAfter >= 0 {
				w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
			}
			http.Error(w, http.StatusText(code), code)
		})
	}
}

// Redirect sends every request for from to another URL.
func Redirect(from, to string) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == from {
				met(r)
				http.Redirect(w, r, to, http.StatusFound)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Only lets the requests that pick picks, by their number from 0 since the
// fault was made, have the fault.
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

// First lets the first n requests have the fault.
func First(n int, f Fault) Fault { return Only(func(i int) bool { return i < n }, f) }

// MoreThan lets those requests have the fault that come while n others are
// under way.
func MoreThan(n int, f Fault) Fault {
	var now atomic.Int64
	return func(next http.Handler) http.Handler {
		faulty := f(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer now.Add(-1)
			if now.Add(1) > int64(n) {
				faulty.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
