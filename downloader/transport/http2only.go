package transport

import (
	"errors"
	"net/http"
	"sync"

	"pawl/downloader/failure"
)

// A needsHTTP2 is a failure over HTTP/1.1 of a server that may speak only HTTP/2.
type needsHTTP2 struct{ error }

func (e needsHTTP2) Unwrap() error { return e.error }

// mayNeedHTTP2 reports whether a connection that offered HTTP/1.1 by ALPN may have failed with err
// because the server speaks only HTTP/2. Most such servers refuse the handshake. The others choose no
// protocol, and do not understand the request.
func mayNeedHTTP2(err error, a *attempt) bool {
	if errors.Is(err, failure.ErrNoHTTP) {
		return true
	}
	explained := failure.Explain(err)
	return a.noALPN.Load() && (failure.IsBrokenOff(explained) || errors.Is(explained, failure.ErrMalformed))
}

// A http2Only sends a request over HTTP/1.1, and over HTTP/2 if the server speaks nothing else. It
// remembers these servers. Safe for concurrent use.
type http2Only struct {
	http1, http2 http.RoundTripper

	mu    sync.Mutex
	known map[string]bool // whether an origin needs HTTP/2; false after it was tried in vain; guarded by mu
}

func newHTTP2Only(http1, http2 http.RoundTripper) *http2Only {
	return &http2Only{http1: http1, http2: http2, known: make(map[string]bool)}
}

func (s *http2Only) RoundTrip(req *http.Request) (*http.Response, error) {
	needs, tried := s.knownNeed(req)
	if needs {
		return s.http2.RoundTrip(req)
	}
	resp, err := s.http1.RoundTrip(req)
	if req.Context().Err() != nil || !s.mayHelp(req, resp, err) || tried && !errors.Is(err, failure.ErrNoHTTP) {
		return resp, err
	}
	other, otherErr := s.http2.RoundTrip(req)
	switch {
	case errors.Is(err, failure.ErrNoHTTP) && otherErr != nil:
		return nil, otherErr
	case otherErr != nil:
		s.remember(req, false)
		return resp, err
	}
	s.remember(req, other.ProtoMajor == 2)
	if resp != nil {
		resp.Body.Close()
	}
	return other, nil
}

// mayHelp reports whether the request may succeed over HTTP/2, by its outcome over HTTP/1.1: some
// servers say so by a status (RFC 9110 §15.5.22, §15.6.6).
func (s *http2Only) mayHelp(req *http.Request, resp *http.Response, err error) bool {
	if err != nil {
		return errors.As(err, new(needsHTTP2))
	}
	return req.URL.Scheme == "https" && (resp.StatusCode == http.StatusUpgradeRequired || resp.StatusCode == http.StatusHTTPVersionNotSupported)
}

// knownNeed returns whether the origin of req needs HTTP/2, and whether it was tried.
func (s *http2Only) knownNeed(req *http.Request) (needs, tried bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	needs, tried = s.known[Origin(req.URL)]
	return needs, tried
}

// remember notes whether the origin of req needs HTTP/2.
func (s *http2Only) remember(req *http.Request, needs bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	trim(s.known)
	s.known[Origin(req.URL)] = needs
}
