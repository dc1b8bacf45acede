package faultserver

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"
)

// This file has the faults of connections: closed early, reset, silent or too slow.

// CutEnd closes the connection after the last byte of each body without ending the body. With
// NoLength, the last chunk is missing: the client has received all bytes but cannot know it.
func CutEnd(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		http.NewResponseController(w).Flush()
		countFault(r)
		panic(http.ErrAbortHandler)
	})
}

// Empty sends an empty body with Content-Length 0 in place of each body. The rest of the
// header is correct, so only the length shows that the file is missing.
func Empty(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		countFault(r)
		head := editHeader(w, func(h http.Header) { h.Set("Content-Length", "0") })
		next.ServeHTTP(bodyWriter{head, func(b []byte) (int, error) { return len(b), nil }}, r)
	})
}

// NoResponse accepts each request and never responds. The connection stays open until the
// client closes it.
func NoResponse(http.Handler) http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		countFault(r)
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	})
}

// ResetFirst resets the connection (TCP RST) before any byte of the response. It must be
// used with New, not NewTLS, because it needs the bare TCP connection.
func ResetFirst(http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		countFault(r)
		reset(w)
	})
}

// trickleInterval is the time between two writes of a trickling body. It is a guess: much
// shorter than any timeout of the client, so that only the rate matters.
const trickleInterval = 100 * time.Millisecond

// Trickle sends the first n bytes of each body at full speed and the rest at bytesPerSecond,
// but at least one byte every 100 ms. Such a connection is useless, although no read from it
// ever times out. The fault acts with each slow write.
func Trickle(n int64, bytesPerSecond int) Fault {
	perWrite := max(1, bytesPerSecond*int(trickleInterval)/int(time.Second))
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			left, flush := n, http.NewResponseController(w)
			next.ServeHTTP(bodyWriter{w, func(b []byte) (int, error) {
				k := int(min(int64(len(b)), left))
				left -= int64(k)
				if k, err := w.Write(b[:k]); err != nil {
					return k, err
				}
				for k < len(b) {
					countFault(r)
					flush.Flush()
					if !sleep(r.Context(), trickleInterval) {
						return k, r.Context().Err()
					}
					m, err := w.Write(b[k:min(k+perWrite, len(b))])
					if k += m; err != nil {
						return k, err
					}
				}
				return k, nil
			}}, r)
		})
	}
}

// Pause stops all bodies together for d, once n bytes of all bodies have been sent. It
// happens once: the network fails for a while and then works again.
func Pause(n int64, d time.Duration) Fault {
	var (
		mu    sync.Mutex
		until time.Time // end of the pause; zero before it begins
	)
	// remaining counts k more bytes, and returns how long they must wait.
	remaining := func(k int) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		if n -= int64(k); n <= 0 && until.IsZero() {
			until = time.Now().Add(d)
		}
		return time.Until(until)
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(bodyWriter{w, func(b []byte) (int, error) {
				if d := remaining(len(b)); d > 0 {
					countFault(r)
					if !sleep(r.Context(), d) {
						return 0, r.Context().Err()
					}
				}
				return w.Write(b)
			}}, r)
		})
	}
}

// GoOffline closes the listener and all connections, waits for d, and listens again on the
// same port. Until then, clients get "connection refused". It must not be called at the same
// time as Close. It returns an error if another process has taken the port meanwhile.
func (s *Server) GoOffline(d time.Duration) error {
	addr := s.Listener.Addr().String()
	s.Listener.Close()
	s.CloseClientConnections()
	s.faultCount.Add(1)
	time.Sleep(d)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s.Listener = l
	go s.Config.Serve(l) // ends when Close closes l
	return nil
}

// NoCloseNotify responds with HTTP/1.0 and without Content-Length, so only the end of the
// connection ends the body. After n bytes, or at the end of a shorter body, it closes the
// TCP connection without the close_notify alert of TLS: the client cannot know whether the
// body is complete. It must be used with NewTLS.
func NoCloseNotify(n int64) Fault {
	return func(next http.Handler) http.Handler {
		return NoRanges(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			countFault(r)
			raw := hijackRaw(w, "HTTP/1.0")
			defer raw.Conn.(*tls.Conn).NetConn().Close()
			left := n
			next.ServeHTTP(bodyWriter{editHeader(w, func(h http.Header) { h.Del("Content-Length") }), func(b []byte) (int, error) {
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
