package faultserver

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// CutEnd closes the connection after the last byte of each body, so that one
// without length never comes to its end.
func CutEnd(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		http.NewResponseController(w).Flush()
		met(r)
		panic(http.ErrAbortHandler)
	})
}

// Empty sends none of each body, and says so in its length.
func Empty(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		met(r)
		head := headerEdit(w, func(h http.Header) { h.Set("Content-Length", "0") })
		next.ServeHTTP(writer{head, func(b []byte) (int, error) { return len(b), nil }}, r)
	})
}

// Mute never answers.
func Mute(http.Handler) http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		met(r)
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	})
}

// ResetFirst resets the connection instead of an answer.
func ResetFirst(http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		met(r)
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		}
	})
}

// dripStep is how often a drop falls.
const dripStep = 100 * time.Millisecond

// Drip sends n bytes of each body as they come, and the rest at bytesPerSecond.
func Drip(n int64, bytesPerSecond int) Fault {
	drop := max(1, bytesPerSecond*int(dripStep)/int(time.Second))
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			left, flush := n, http.NewResponseController(w)
			next.ServeHTTP(writer{w, func(b []byte) (int, error) {
				k := int(min(int64(len(b)), left))
				left -= int64(k)
				if k, err := w.Write(b[:k]); err != nil {
					return k, err
				}
				for k < len(b) {
					met(r)
					flush.Flush()
					if !wait(r.Context(), dripStep) {
						return k, r.Context().Err()
					}
					m, err := w.Write(b[k:min(k+drop, len(b))])
					if k += m; err != nil {
						return k, err
					}
				}
				return k, nil
			}}, r)
		})
	}
}

// Pause makes all connections silent for d at once, when n bytes of all bodies
// have passed.
func Pause(n int64, d time.Duration) Fault {
	var (
		mu    sync.Mutex
		until time.Time // when the silence ends; zero before it
	)
	rest := func(k int) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		if n -= int64(k); n <= 0 && until.IsZero() {
			until = time.Now().Add(d)
		}
		return time.Until(until)
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(writer{w, func(b []byte) (int, error) {
				if d := rest(len(b)); d > 0 {
					met(r)
					if !wait(r.Context(), d) {
						return 0, r.Context().Err()
					}
				}
				return w.Write(b)
			}}, r)
		})
	}
}

// Away closes the listener and all connections, and listens again on the same
// port after d. It must not be called at the same time as Close.
func (s *Server) Away(d time.Duration) error {
	addr := s.Listener.Addr().String()
	s.Listener.Close()
	s.CloseClientConnections()
	s.met.Add(1)
	time.Sleep(d)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s.Listener = l
	go s.Config.Serve(l) // until Close closes l
	return nil
}

// RudeEnd speaks HTTP/1.0 without length, and closes the TCP connection after n bytes of
// each body, or after all of them, without the close_notify alert of TLS.
func RudeEnd(n int64) Fault {
	return func(next http.Handler) http.Handler {
		return NoRanges(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			met(r)
			below := takeOver(w, "HTTP/1.0")
			defer below.Conn.(*tls.Conn).NetConn().Close()
			left := n
			next.ServeHTTP(writer{headerEdit(w, func(h http.Header) { h.Del("Content-Length") }), func(b []byte) (int, error) {
				if left < int64(len(b)) {
					w.Write(b[:left])
					left = 0
					return 0, net.ErrClosed
				}
				left -= int64(len(b))
				return w.Write(b)
			}}, r)
		}))
	}
}
