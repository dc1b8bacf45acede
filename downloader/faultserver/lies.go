package faultserver

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
)

// This file has the faults of responses that contradict themselves or the request: wrong
// ranges, codings that nobody requested, broken connection handling, wrong bytes.

// requestedRange returns the first and the last byte of the range that r requests. It
// reports false if r does not request a range with both ends, such as "bytes=5-9".
func requestedRange(r *http.Request) (first, last int64, ok bool) {
	n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last)
	return first, last, n == 2
}

// RewriteRange responds to a request for a range as if it had requested another. other
// returns the Range field to use in its place, for example "bytes=5-9". The fault acts if the
// field differs.
func RewriteRange(other func(first, last int64) string) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if first, last, ok := requestedRange(r); ok {
				if field := other(first, last); field != r.Header.Get("Range") {
					countFault(r)
					r.Header.Set("Range", field)
				}
			}
			next.ServeHTTP(w, r)
		})
	}
}

// ShiftRange responds with a range that begins and ends n bytes later than requested. The
// Content-Range describes the bytes that are sent.
func ShiftRange(n int64) Fault {
	return RewriteRange(func(first, last int64) string { return fmt.Sprintf("bytes=%d-%d", first+n, last+n) })
}

// IgnoreRangeEnd responds with all bytes from the start of the requested range.
func IgnoreRangeEnd(next http.Handler) http.Handler {
	return RewriteRange(func(first, _ int64) string { return fmt.Sprintf("bytes=%d-", first) })(next)
}

// IgnoreRangeStart responds with all bytes from 0 to the end of the requested range.
func IgnoreRangeStart(next http.Handler) http.Handler {
	return RewriteRange(func(_, last int64) string { return fmt.Sprintf("bytes=0-%d", last) })(next)
}

// Multipart responds with the requested range as two parts of a multipart/byteranges body. A
// server must not do so for a request for a single range (RFC 9110 section 15.3.7.2).
func Multipart(next http.Handler) http.Handler {
	return RewriteRange(func(first, last int64) string {
		middle := (first + last) / 2
		return fmt.Sprintf("bytes=%d-%d,%d-%d", first, middle, middle+1, last)
	})(next)
}

// AlwaysPartial responds to every request with status 206 and the whole file, even to a
// request without Range.
func AlwaysPartial(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		countFault(r)
		r.Header.Set("Range", "bytes=0-")
		next.ServeHTTP(w, r)
	})
}

// ContentRange replaces the Content-Range of each partial response by the value that edit
// returns, or removes it if the value is "". The body is not changed.
func ContentRange(edit func(first, last, total int64) string) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(editHeader(w, func(h http.Header) {
				var first, last, total int64
				if n, _ := fmt.Sscanf(h.Get("Content-Range"), "bytes %d-%d/%d", &first, &last, &total); n != 3 {
					return
				}
				countFault(r)
				h.Del("Content-Range")
				if v := edit(first, last, total); v != "" {
					h.Set("Content-Range", v)
				}
			}), r)
		})
	}
}

// Longer sends n zero bytes after the end of each partial response. It removes the
// Content-Length, because net/http would refuse to send more bytes.
func Longer(n int) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			partial := false
			next.ServeHTTP(editHeader(w, func(h http.Header) {
				if partial = h.Get("Content-Range") != ""; partial {
					h.Del("Content-Length")
				}
			}), r)
			if partial {
				countFault(r)
				w.Write(make([]byte, n))
			}
		})
	}
}

// Gzip compresses every body, although the client does not accept gzip, and sends neither a
// length nor ranges.
func Gzip(next http.Handler) http.Handler {
	return NoLength(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		countFault(r)
		coder, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
		coded := bodyWriter{editHeader(w, func(h http.Header) { h.Set("Content-Encoding", "gzip") }), coder.Write}
		next.ServeHTTP(coded, r)
		coder.Close()
	}))
}

// GzipLength is like Gzip, but with the Content-Length of the compressed body.
func GzipLength(next http.Handler) http.Handler {
	return NoRanges(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		countFault(r)
		var body bytes.Buffer
		coder, _ := gzip.NewWriterLevel(&body, gzip.BestSpeed)
		next.ServeHTTP(bodyWriter{headerDropper{w}, coder.Write}, r)
		coder.Close()
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Length", strconv.Itoa(body.Len()))
		w.WriteHeader(http.StatusOK)
		w.Write(body.Bytes())
	}))
}

// A headerDropper is a ResponseWriter that does not send the header. GzipLength needs it,
// because the length is known only when the body is complete.
type headerDropper struct{ http.ResponseWriter }

func (headerDropper) WriteHeader(int) {}

// Interim sends an interim response (1xx, for example 103) before the final one.
func Interim(status int) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			countFault(r)
			w.WriteHeader(status)
			next.ServeHTTP(w, r)
		})
	}
}

// Method applies f to the requests with this method.
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

// A rawWriter is a ResponseWriter on a hijacked connection. It writes the header and body as
// they are, and so can break rules that net/http would enforce.
type rawWriter struct {
	net.Conn
	proto       string      // for the status line, for example "HTTP/1.0"
	header      http.Header // must be complete when WriteHeader is called
	wroteHeader bool        // WriteHeader has been called

	edit func(header string) string // changes the text of the header; nil for none
}

func (w *rawWriter) Header() http.Header { return w.header }

func (w *rawWriter) WriteHeader(status int) {
	w.wroteHeader = true
	var text strings.Builder
	fmt.Fprintf(&text, "%s %d %s\r\n", w.proto, status, http.StatusText(status))
	w.header.Write(&text)
	text.WriteString("\r\n")
	header := text.String()
	if w.edit != nil {
		header = w.edit(header)
	}
	io.WriteString(w.Conn, header)
}

func (w *rawWriter) Write(b []byte) (int, error) {
	if !w.wroteHeader {
		w.WriteHeader(http.StatusOK)
	}
	return w.Conn.Write(b)
}

// hijackRaw takes the connection of w from net/http and lets w write to it directly. The
// bytes are still counted, because the rawWriter is put below the server's countingWriter.
// The caller must close the connection. A connection that cannot be hijacked, as with
// HTTP/2, is closed.
func hijackRaw(w http.ResponseWriter, proto string) *rawWriter {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	raw := &rawWriter{Conn: conn, proto: proto, header: make(http.Header)}
	for {
		switch v := w.(type) {
		case *countingWriter:
			v.ResponseWriter = raw
			return raw
		case interface{ Unwrap() http.ResponseWriter }:
			w = v.Unwrap()
		default: // w does not come from Server.ServeHTTP
			panic(http.ErrAbortHandler)
		}
	}
}

// HTTP10 responds with HTTP/1.0, without ranges, and closes the connection after each
// response. If it is combined with NoLength, the end of the connection is the only end of the
// body.
func HTTP10(next http.Handler) http.Handler {
	return NoRanges(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		countFault(r)
		defer hijackRaw(w, "HTTP/1.0").Close()
		next.ServeHTTP(w, r)
	}))
}

// RawHeader sends each header as edit returns it, and closes the connection after the response. The
// text begins with the status line, has a field in each line, and ends with an empty line.
func RawHeader(edit func(header string) string) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			countFault(r)
			raw := hijackRaw(w, "HTTP/1.1")
			defer raw.Close()
			raw.edit = edit
			next.ServeHTTP(w, r)
		})
	}
}

// CloseAfterResponse closes the connection after each response, although the response did not
// say "Connection: close".
func CloseAfterResponse(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer hijackRaw(w, "HTTP/1.1").Close()
		next.ServeHTTP(w, r)
		countFault(r)
	})
}

// CloseOnReuse serves one request per connection, and closes the connection without a response
// when a second request arrives on it. Servers do so when an idle connection times out just
// before it is used again. The fault acts with each second request.
func CloseOnReuse(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn := hijackRaw(w, "HTTP/1.1")
		defer conn.Close()
		next.ServeHTTP(w, r)
		if n, _ := conn.Read(make([]byte, 1)); n > 0 {
			countFault(r)
		}
	})
}

// CorruptOnce changes the byte at offset off of the file, the first time that a body
// contains it.
func CorruptOnce(off int64) Fault { return CorruptTimes(1, off) }

// CorruptTimes changes the byte at offset off of the file, the first n times that a body
// contains it.
func CorruptTimes(n int64, off int64) Fault {
	var left atomic.Int64
	left.Store(n)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var at int64 // offset in the file of the next byte of the body
			fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &at)
			next.ServeHTTP(bodyWriter{w, func(b []byte) (int, error) {
				if i := off - at; i >= 0 && i < int64(len(b)) && left.Add(-1) >= 0 {
					countFault(r)
					b = bytes.Clone(b)
					b[i] ^= 1
				}
				at += int64(len(b))
				return w.Write(b)
			}}, r)
		})
	}
}

// CorruptEvery changes one byte of every step bytes of the file: at offsets off, off+step and
// so on. Requests for up to 64 KiB get correct bytes, so that samples do not reveal it.
func CorruptEvery(step, off int64) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var at int64 // offset in the file of the next byte of the body
			fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &at)
			if first, last, ok := requestedRange(r); ok && last-first < 64<<10 {
				next.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(bodyWriter{w, func(b []byte) (int, error) {
				b = bytes.Clone(b)
				for i := (off - at%step + step) % step; i < int64(len(b)); i += step {
					countFault(r)
					b[i] ^= 1
				}
				at += int64(len(b))
				return w.Write(b)
			}}, r)
		})
	}
}
