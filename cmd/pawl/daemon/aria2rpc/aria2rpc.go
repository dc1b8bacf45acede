package aria2rpc

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"pawl/downloader/queue"
)

const (
	// maxRequest is the most bytes of a request or message, the default of aria2 (--rpc-max-request-size).
	maxRequest = 2 << 20
	// largeRequest is from how many bytes a request is large.
	largeRequest = 64 << 10
	// maxLarge is how many large requests are read and answered at a time. Each takes some 20 MB at worst.
	maxLarge = 4
)

// Options are the settings of a handler. Authorize must be set.
type Options struct {
	// Authorize reports whether a request has the right secret: as token, or, if that is "", by itself. It waits
	// after a wrong one. For a WebSocket, r is the request that has opened it.
	Authorize func(r *http.Request, token string) bool
	// Version is the version of pawl, which getVersion returns beside the version of aria2.
	Version string
	// Stats returns the bytes per second of all downloads. May be nil.
	Stats func() (rate int64)
	// LimitRate and SetLimitRate are the limit of all downloads together, in bytes per second; 0 for none. May be nil.
	LimitRate    func() int64
	SetLimitRate func(bytesPerSecond int64)
	// AcquireSocket takes one of the WebSockets that there may be. ok is false if there are too many; else
	// release must be called at its end. Default: there may be any number.
	AcquireSocket func() (release func(), ok bool)
	// CheckOrigin reports whether r may open a WebSocket. Default: it may if it comes from no web page.
	CheckOrigin func(r *http.Request) bool
	// Stop makes the daemon end soon. It is called after the answer is sent. May be nil.
	Stop func()
	// Log gets the options that are ignored. Default: nothing is logged.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Stats == nil {
		o.Stats = func() int64 { return 0 }
	}
	if o.LimitRate == nil || o.SetLimitRate == nil {
		o.LimitRate, o.SetLimitRate = func() int64 { return 0 }, func(int64) {}
	}
	if o.AcquireSocket == nil {
		o.AcquireSocket = func() (func(), bool) { return func() {}, true }
	}
	if o.CheckOrigin == nil {
		o.CheckOrigin = func(r *http.Request) bool { return r.Header.Get("Origin") == "" }
	}
	if o.Stop == nil {
		o.Stop = func() {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// A handler answers requests. Safe for concurrent use.
type handler struct {
	queue    *queue.Queue
	options  Options
	session  string          // random, for getSessionInfo
	methods  json.RawMessage // the names of all, as a list
	large    chan struct{}   // has a value for each large request under way
	defaults defaults        // options that changeGlobalOption has set
	ignored  ignored         // options that the log has
	rates    rates
	notifier notifier
}

// New returns a handler of aria2's RPC for a queue. It answers any path.
func New(q *queue.Queue, o Options) http.Handler {
	session := make([]byte, 20) // as long as aria2's
	rand.Read(session)          // never fails
	h := &handler{queue: q, options: o.withDefaults(), session: hex.EncodeToString(session), large: make(chan struct{}, maxLarge)}
	h.methods, _ = json.Marshal(methodNames()) // never fails
	h.notifier.queue = q
	h.ignored.log = h.options.Log
	return h
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodGet && isUpgrade(r):
		h.serveSocket(w, r)
	case r.Method == http.MethodGet:
		q := parseQuery(r.URL.RawQuery)
		x := newExchange(h, r)
		x.lenient = true
		body, status := x.process([]byte(q.text))
		h.send(w, q.wrap(body), q.contentType(), status)
		x.end()
	case r.Method == http.MethodPost:
		h.servePost(w, r)
	case r.Method == http.MethodOptions:
		w.WriteHeader(http.StatusOK)
	default:
		w.WriteHeader(http.StatusNotFound) // as aria2
	}
}

// isUpgrade reports whether a request wants to open a WebSocket (RFC 6455 §4.2.1).
func isUpgrade(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

func (h *handler) servePost(w http.ResponseWriter, r *http.Request) {
	text, release, err := h.receive(w, r)
	if err != nil {
		var tooLarge *http.MaxBytesError
		status := http.StatusServiceUnavailable // or the client has gone, and then it does not matter
		if errors.As(err, &tooLarge) {
			status = http.StatusRequestEntityTooLarge
		}
		http.Error(w, err.Error(), status)
		return
	}
	x := newExchange(h, r)
	body, status := x.process(text)
	release()
	h.send(w, body, contentType, status)
	x.end()
}

// receive reads the body of a request. After it is processed, release must be called.
func (h *handler) receive(w http.ResponseWriter, r *http.Request) (text []byte, release func(), err error) {
	release, err = h.enter(r, r.ContentLength)
	if err != nil {
		return nil, nil, err
	}
	text, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		release()
	}
	return text, release, err
}

// enter waits until a request of so many bytes, -1 if unknown, may be read. release must be called at its end.
func (h *handler) enter(r *http.Request, size int64) (release func(), err error) {
	if size >= 0 && size < largeRequest {
		return func() {}, nil
	}
	select {
	case h.large <- struct{}{}:
		return func() { <-h.large }, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// contentType is the media type of answers that are not scripts.
const contentType = "application/json-rpc"

// send sends an answer over HTTP.
func (h *handler) send(w http.ResponseWriter, body []byte, mediaType string, status int) {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(cmp.Or(status, http.StatusOK))
	w.Write(body) // an error means that the client has gone
}
