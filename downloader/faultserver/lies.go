package faultserver

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
)

// asked returns the first and the last byte that r asks for; ok is false if
// that is the whole file.
func asked(r *http.Request) (first, last int64, ok bool) {
	n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last)
	return first, last, n == 2
}

// AskedAs answers requests for a range as if another had been asked for.
func AskedAs(other func(first, last int64) string) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if first, last, ok := asked(r); ok {
				if as := other(first, last); as != r.Header.Get("Range") {
					met(r)
					r.Header.Set("Range", as)
				}
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Shifted answers with the bytes that are n further on, and says so.
func Shifted(n int64) Fault {
	return AskedAs(func(first, last int64) string { return fmt.Sprintf("bytes=%d-%d", first+n, last+n) })
}

// EndIgnored answers with all bytes from the first that was asked for.
func EndIgnored(next http.Handler) http.Handler {
	return AskedAs(func(first, _ int64) string { return fmt.Sprintf("bytes=%d-", first) })(next)
}

// StartIgnored answers with all bytes up to the last that was asked for.
func StartIgnored(next http.Handler) http.Handler {
	return AskedAs(func(_, last int64) string { return fmt.Sprintf("bytes=0-%d", last) })(next)
}

// Multipart answers with the range in two parts of one body.
func Multipart(next http.Handler) http.Handler {
	return AskedAs(func(first, last int64) string {
		middle := (first + last) / 2
		return fmt.Sprintf("bytes=%d-%d,%d-%d", first, middle, middle+1, last)
	})(next)
}

// AlwaysPartial answers every request with all bytes, as a range.
func AlwaysPartial(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		met(r)
		r.Header.Set("Range", "bytes=0-")
		next.ServeHTTP(w, r)
	})
}

// ContentRange makes the field of partial answers what edit returns; "" for none.
func ContentRange(edit func(first, last, total int64) string) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(headerEdit(w, func(h http.Header) {
				var first, last, total int64
				if n, _ := fmt.Sscanf(h.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &total); n != 3 {
					return
				}
				met(r)
				h.Del("Content-Range")
				if v := edit(first, last, total); v != "" {
					h.Set("Content-Range", v)
				}
			}), r)
		})
	}
}

// Longer sends n bytes more than a range has, in a body without length.
func Longer(n int) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			partial := false
			next.ServeHTTP(headerEdit(w, func(h http.Header) {
				if partial = h.Get("Content-Range") != ""; partial {
					h.Del("Content-Length")
				}
			}), r)
			if partial {
				met(r)
				w.Write(make([]byte, n))
			}
		})
	}
}

// Gzip codes every body, unasked, with neither length nor ranges.
func Gzip(next http.Handler) http.Handler {
	return NoLength(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		met(r)
		coder, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
		coded := writer{headerEdit(w, func(h http.Header) { h.Set("Content-Encoding", "gzip") }), coder.Write}
		next.ServeHTTP(coded, r)
		coder.Close()
	}))
}

// GzipLength is Gzip with the length of what it sends.
func GzipLength(next http.Handler) http.Handler {
	return NoRanges(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		met(r)
		var body bytes.Buffer
		coder, _ := gzip.NewWriterLevel(&body, gzip.BestSpeed)
		next.ServeHTTP(writer{headless{w}, coder.Write}, r)
		coder.Close()
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
		w.WriteHeader(http.StatusOK)
		w.Write(body.Bytes())
	}))
}

// headless does not send the header.
type headless struct{ http.ResponseWriter }

func (headless) WriteHeader(int) {}

// Interim sends an answer of the given status ahead of the real one.
func Interim(status int) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			met(r)
			w.WriteHeader(status)
			next.ServeHTTP(w, r)
		})
	}
}

// Method lets the requests of a method have the fault.
func Method(method string, f Fault) Fault {
	return func(next http.Handler) http.Handler {
		faulty := f(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == method {
				faulty.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// raw is a ResponseWriter on a connection that net/http no longer has.
type raw struct {
	net.Conn
	proto  string
	header http.Header
	begun  bool
}

func (w *raw) Header() http.Header { return w.header }

func (w *raw) WriteHeader(status int) {
	w.begun = true
	fmt.Fprintf(w.Conn, "%s %d %s\r\n", w.proto, status, http.StatusText(status))
	w.header.Write(w.Conn)
	fmt.Fprint(w.Conn, "\r\n")
}

func (w *raw) Write(b []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	return w.Conn.Write(b)
}

// takeOver puts a raw connection beneath w, where its bytes are still counted.
// The caller has to close it.
func takeOver(w http.ResponseWriter, proto string) *raw {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	below := &raw{Conn: conn, proto: proto, header: make(http.Header)}
	for {
		switch v := w.(type) {
		case *counter:
			v.ResponseWriter = below
			return below
		case interface{ Unwrap() http.ResponseWriter }:
			w = v.Unwrap()
		default: // not of a Server
			panic(http.ErrAbortHandler)
		}
	}
}

// HTTP10 speaks HTTP/1.0, without ranges and with a connection for each answer.
// Over NoLength, that ends with the connection.
func HTTP10(next http.Handler) http.Handler {
	return NoRanges(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		met(r)
		defer takeOver(w, "HTTP/1.0").Close()
		next.ServeHTTP(w, r)
	}))
}

// Unannounced closes the connection after each answer, though that promised to
// keep it.
func Unannounced(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer takeOver(w, "HTTP/1.1").Close()
		next.ServeHTTP(w, r)
		met(r)
	})
}

// Forgotten closes the connection when a second request comes on it, without
// an answer.
func Forgotten(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn := takeOver(w, "HTTP/1.1")
		defer conn.Close()
		next.ServeHTTP(w, r)
		if n, _ := conn.Read(make([]byte, 1)); n > 0 {
			met(r)
		}
	})
}

// WrongOnce alters the byte at off of the file, the first time that a body has it.
func WrongOnce(off int64) Fault { return WrongTimes(1, off) }

// WrongTimes alters the byte at off of the file, the first n times that a body has it.
func WrongTimes(n int64, off int64) Fault {
	var left atomic.Int64
	left.Store(n)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var at int64 // where in the file the body is
			fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &at)
			next.ServeHTTP(writer{w, func(b []byte) (int, error) {
				if i := off - at; i >= 0 && i < int64(len(b)) && left.Add(-1) >= 0 {
					met(r)
					b = bytes.Clone(b)
					b[i] ^= 1
				}
				at += int64(len(b))
				return w.Write(b)
			}}, r)
		})
	}
}

// WrongEvery alters the byte at off of each step bytes of the file, whoever asks for it,
// in requests for more than 64 KiB: samples are right.
func WrongEvery(step, off int64) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var at int64 // where in the file the body is
			fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &at)
			if first, last, ok := asked(r); ok && last-first < 64<<10 {
				next.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(writer{w, func(b []byte) (int, error) {
				b = bytes.Clone(b)
				for i := (off - at%step + step) % step; i < int64(len(b)); i += step {
					met(r)
					b[i] ^= 1
				}
				at += int64(len(b))
				return w.Write(b)
			}}, r)
		})
	}
}
