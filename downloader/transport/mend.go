package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptrace"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"pawl/downloader/failure"
)

// A mendedConn is a connection whose first response header is rewritten if net/http would refuse or
// misread it, although its meaning is plain and browsers and curl accept it. Only the header is
// changed. A mended response is the last one of its connection, so that the next response is the
// first one of another connection.
//
// The response may begin with interim ones (RFC 9110 §15.2). Anything that does not begin like a
// response, such as TLS or SOCKS, passes through unread.
//
// Like any net.Conn, it may be read by one goroutine at a time.
type mendedConn struct {
	net.Conn
	buf  []byte // received, and not yet moved to out; nil after the header
	skip int    // bytes of buf that are empty lines before the header
	seen int    // bytes of buf in which the header does not end
	out  []byte // to be read
	err  error  // to be returned after out
	done bool   // everything that follows is passed through

	changed atomic.Bool // a header was changed
}

// mended makes the connections that dial opens mendedConns.
func mended(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &mendedConn{Conn: c}, nil
	}
}

// NetConn returns the connection below.
func (c *mendedConn) NetConn() net.Conn { return c.Conn }

func (c *mendedConn) Read(p []byte) (int, error) {
	for len(c.out) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		n, err := c.Conn.Read(p)
		if c.done {
			return n, err
		}
		c.buf = append(c.buf, p[:n]...)
		c.err = err
		if c.mendHeaders(); err != nil { // the header never ends
			c.passRest()
		}
	}
	n := copy(p, c.out)
	c.out = c.out[n:]
	return n, nil
}

// passRest passes the rest through.
func (c *mendedConn) passRest() {
	c.out, c.buf, c.done = append(c.out, c.buf...), nil, true
}

// mendHeaders moves the headers in buf to out, up to and with the first that is not interim.
func (c *mendedConn) mendHeaders() {
	for len(c.buf) > 0 && !c.done {
		c.skip = skipEmptyLines(c.buf, c.skip)
		if !mayBeResponse(c.buf[c.skip:]) || len(c.buf) > failure.MaxHeaderBytes {
			c.passRest()
			return
		}
		end := headerEnd(c.buf, max(c.skip, c.seen-2)) // the last two bytes may begin the end
		if end < 0 {
			c.seen = len(c.buf)
			return
		}
		header := c.buf[:end]
		better := mend(header)
		c.changed.CompareAndSwap(false, !bytes.Equal(better, header))
		c.out = append(c.out, better...)
		c.buf, c.skip, c.seen = c.buf[end:], 0, 0
		if !isInterim(header) {
			c.passRest()
		}
	}
}

// skipEmptyLines returns the offset in b of the first byte from i on that belongs to no empty line.
func skipEmptyLines(b []byte, i int) int {
	return len(b) - len(bytes.TrimLeft(b[i:], "\r\n"))
}

// mayBeResponse reports whether b begins like a response, as far as it has arrived.
func mayBeResponse(b []byte) bool {
	return slices.ContainsFunc([]string{"HTTP/", "ICY "}, func(s string) bool {
		n := min(len(s), len(b))
		return strings.EqualFold(string(b[:n]), s[:n])
	})
}

// headerEnd returns the length of the header at the beginning of b, with its empty line, or -1 if it
// is not complete. The header must not end before the offset i, and the empty lines before it must.
// Lines may end with LF alone (RFC 9112 §2.2).
func headerEnd(b []byte, i int) int {
	for {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return -1
		}
		if i += n + 1; bytes.HasPrefix(b[i:], []byte("\n")) {
			return i + 1
		} else if bytes.HasPrefix(b[i:], []byte("\r\n")) {
			return i + 2
		}
	}
}

// isInterim reports whether a header has a status below 200 after which another one follows.
func isInterim(header []byte) bool {
	_, status, _ := bytes.Cut(bytes.TrimLeft(header, "\r\n"), []byte(" "))
	return bytes.HasPrefix(bytes.TrimLeft(status, " "), []byte("1")) && !bytes.HasPrefix(bytes.TrimLeft(status, " "), []byte("101"))
}

// A messageHeader is the header of a response, to be mended.
type messageHeader struct {
	version, status string   // "HTTP/1.1", "200 OK"
	fields          []string // "Name: value", without those below
	codings         []string // of all Transfer-Encoding fields, in lower case
	lengths         []string // of all Content-Length fields
	odd             bool     // the header must be mended
}

// mend returns a header in a form that net/http understands, and header itself if it is that
// already. It mends
//
//   - the version: "ICY" of radio servers, and other names for HTTP;
//   - Transfer-Encoding: "identity" means nothing, "chunked" twice means once, and with HTTP/1.0 it
//     means the same as with HTTP/1.1: otherwise net/http takes the chunks for the file;
//   - Content-Length: a list or repetition of one number, a plus sign, no number;
//   - fields: blanks before the colon; lines that are no field are dropped.
//
// A header that stays ambiguous, such as two lengths, or is an attack, such as control characters, stays as it
// is, for net/http to refuse.
func mend(header []byte) []byte {
	var h messageHeader
	first, rest, _ := strings.Cut(strings.TrimLeft(string(header), "\r\n"), "\n")
	h.parseStatus(strings.TrimRight(first, "\r"))
	for _, line := range h.unfold(strings.TrimRight(rest, "\r\n")) {
		h.parseField(line)
	}
	h.settleFraming()
	if !h.odd {
		return header
	}
	h.fields = append(h.fields, "Connection: close")
	return []byte(h.version + " " + h.status + "\r\n" + strings.Join(h.fields, "\r\n") + "\r\n\r\n")
}

func (h *messageHeader) parseStatus(line string) {
	h.version, h.status, _ = strings.Cut(line, " ")
	if h.version != "HTTP/1.1" && h.version != "HTTP/1.0" {
		h.version, h.odd = "HTTP/1.0", true
	}
}

// unfold returns the lines of the fields. A line that begins with a blank continues the one before
// (RFC 9112 §5.2).
func (h *messageHeader) unfold(text string) (lines []string) {
	var field strings.Builder // the last line, which may go on; a string would be copied for each part
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		folded := strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")
		switch {
		case folded && field.Len() == 0:
			h.odd = true
		case folded:
			field.WriteString(" " + strings.TrimLeft(line, " \t"))
		case line != "":
			if field.Len() > 0 {
				lines = append(lines, field.String())
			}
			field.Reset()
			field.WriteString(line)
		}
	}
	if field.Len() > 0 {
		lines = append(lines, field.String())
	}
	return lines
}

// parseField takes a line apart.
func (h *messageHeader) parseField(line string) {
	name, value, ok := strings.Cut(line, ":")
	trimmed := strings.TrimRight(name, " \t")
	if !ok || !isToken(trimmed) {
		h.odd = true
		return
	}
	h.odd = h.odd || trimmed != name
	switch strings.ToLower(trimmed) {
	case "transfer-encoding":
		for v := range strings.SplitSeq(value, ",") {
			h.codings = append(h.codings, strings.ToLower(strings.Trim(v, " \t")))
		}
	case "content-length":
		for v := range strings.SplitSeq(value, ",") {
			h.lengths = append(h.lengths, strings.Trim(v, " \t"))
		}
	default:
		h.fields = append(h.fields, trimmed+":"+value)
	}
}

// isToken reports whether s may be the name of a field (RFC 9110 §5.6.2).
func isToken(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	}) < 0
}

// settleFraming decides how the end of the body is marked (RFC 9112 §6.3).
func (h *messageHeader) settleFraming() {
	codings := slices.Compact(slices.DeleteFunc(slices.Clone(h.codings), func(c string) bool { return c == "identity" || c == "" }))
	h.odd = h.odd || !slices.Equal(codings, h.codings)
	if len(codings) > 0 {
		h.fields = append(h.fields, "Transfer-Encoding: "+strings.Join(codings, ", "))
		if h.version == "HTTP/1.0" {
			h.version, h.odd = "HTTP/1.1", true
		}
	}
	lengths := slices.Clone(h.lengths)
	for i, l := range lengths {
		lengths[i] = strings.TrimPrefix(l, "+")
	}
	lengths = slices.Compact(slices.DeleteFunc(lengths, func(l string) bool { return l == "" }))
	if len(codings) > 0 && len(lengths) > 1 { // the coding has priority
		lengths = nil
	}
	h.odd = h.odd || !slices.Equal(lengths, h.lengths)
	if len(lengths) > 0 {
		h.fields = append(h.fields, "Content-Length: "+strings.Join(lengths, ", "))
	}
}

// A mender is a transport that sends a request again if net/http has refused the header of the
// response: over a connection of its own, whose header is mended. That happens if the response was
// not the first one of its connection, or came over TLS. Safe for concurrent use.
type mender struct {
	idleCloser                 // sends all other requests
	lenient    *http.Transport // without keep-alive, so that each response is the first one
	proxied    func(*http.Request) bool

	mu    sync.Mutex
	known map[string]bool // origins whose responses have to be mended; guarded by mu
}

// newMender returns a mender before next. base is the transport below next.
func newMender(next idleCloser, base *http.Transport) *mender {
	t := base.Clone()
	t.DisableKeepAlives = true
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.DialTLSContext = mended(func(ctx context.Context, network, addr string) (net.Conn, error) {
		return dialTLS(ctx, base, network, addr)
	})
	proxy := base.Proxy
	return &mender{next, t, func(r *http.Request) bool { return proxyOf(r.URL, proxy) != nil }, sync.Mutex{}, make(map[string]bool)}
}

// dialTLS opens a TLS connection with the settings of t.
func dialTLS(ctx context.Context, t *http.Transport, network, addr string) (net.Conn, error) {
	c, err := t.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	config := t.TLSClientConfig.Clone()
	config.NextProtos = []string{"http/1.1"}
	config.ServerName, _, _ = net.SplitHostPort(addr)
	ctx, cancel := context.WithTimeout(ctx, t.TLSHandshakeTimeout)
	defer cancel()
	secure := tls.Client(c, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return secure, nil
}

func (m *mender) RoundTrip(req *http.Request) (*http.Response, error) {
	origin := Origin(req.URL)
	m.mu.Lock()
	known := m.known[origin]
	m.mu.Unlock()
	if known {
		resp, _, err := m.mend(req)
		return resp, err
	}
	resp, err := m.idleCloser.RoundTrip(req)
	isTLS := req.URL.Scheme == "https" && !m.proxied(req)
	if !isTLS && !attemptOf(req.Context()).reused.Load() || req.Context().Err() != nil || !isOdd(resp, err) {
		return resp, err
	}
	if err == nil { // first, because the host may grant no second connection
		resp.Body.Close()
	}
	resp, changed, err := m.mend(req)
	if err == nil && changed { // else it was the connection, for example bytes after the last response
		m.remember(origin)
	}
	return resp, err
}

// remember notes that the responses of an origin have to be mended.
func (m *mender) remember(origin string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	trim(m.known)
	m.known[origin] = true
}

// isOdd reports whether net/http has refused a header, or may have misread it: it ignores a
// Transfer-Encoding with HTTP/1.0, and does not show it. Then chunks seem to be the body. The body of
// resp can still be read from its beginning.
func isOdd(resp *http.Response, err error) bool {
	if err != nil {
		return failure.IsBadHeader(err)
	}
	return resp.ProtoMajor == 1 && resp.ProtoMinor == 0 && !IsFramed(resp) && beginsLikeChunks(resp)
}

// maxChunkLine is how many bytes the line with the size of a chunk may have: 16 digits, and the blanks
// with which old servers fill them up.
const maxChunkLine = 32

// chunkLine matches the line with the size of a chunk (RFC 9112 §7.1). Nobody sends the extensions
// that may follow, and a table may look like them.
var chunkLine = regexp.MustCompile(`^[0-9A-Fa-f]{1,16} *\r\n$`)

// chunkLineBegin matches the beginnings of such a line, which may be empty.
var chunkLineBegin = regexp.MustCompile(`^([0-9A-Fa-f]{0,16}|[0-9A-Fa-f]{1,16} *\r?)$`)

// beginsLikeChunks reports whether the body of resp begins like chunks. It can still be read from its
// beginning.
func beginsLikeChunks(resp *http.Response) bool {
	attemptOf(resp.Request.Context()).notSilent(true) // the header has arrived
	var head []byte
	var err error
	for p := make([]byte, 1); err == nil && len(head) < maxChunkLine && chunkLineBegin.Match(head); {
		var n int
		n, err = resp.Body.Read(p)
		head = append(head, p[:n]...)
	}
	restoreHead(resp, head, err)
	return chunkLine.Match(head)
}

// mend sends req over a connection of its own. changed reports whether the header of the response was
// changed.
func (m *mender) mend(req *http.Request) (resp *http.Response, changed bool, err error) {
	var conn *mendedConn
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		c := info.Conn
		if t, ok := c.(*trackedConn); ok { // without TLS
			c = t.Conn
		}
		conn, _ = c.(*mendedConn)
	}}
	resp, err = m.lenient.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil || conn == nil { // conn is nil if the proxy of a tunnel is between
		return resp, false, err
	}
	if t, ok := conn.Conn.(*tls.Conn); ok && resp.TLS == nil { // net/http knows only a tls.Conn
		state := t.ConnectionState()
		resp.TLS = &state
	}
	return resp, conn.changed.Load(), nil
}
