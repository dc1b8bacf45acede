package daemon

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// loopbackHosts are the names by which a user calls a daemon on his own machine. No browser asks DNS for them.
var loopbackHosts = []string{"localhost", "127.0.0.1", "::1"}

// hostOf returns the host of "HOST", "HOST:PORT" or "[HOST]:PORT", in lower case.
func hostOf(hostport string) string {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// isHost reports whether the Host of r is a name of the daemon: a loopback name, the address that the connection
// has reached, or a given one. Any other name may be one of somebody else that leads to this machine (DNS
// rebinding): for the browser, a page of that name would have the origin of the daemon. The port does not
// matter, because it may be forwarded.
func (s *Server) isHost(r *http.Request) bool {
	host := hostOf(r.Host)
	if slices.Contains(loopbackHosts, host) || slices.Contains(s.hosts, host) {
		return true
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if addr, err := netip.ParseAddr(host); err == nil && local != nil {
		return addr.Unmap().WithZone("") == local.AddrPort().Addr().Unmap().WithZone("")
	}
	return false
}

// checkOrigin returns the Origin of r, "" if there is none, and whether requests from there are allowed. own
// says that it is the daemon's page.
func (s *Server) checkOrigin(r *http.Request) (origin string, own, ok bool) {
	all := r.Header.Values("Origin")
	if len(all) == 0 {
		return "", false, !isEmbedded(r)
	}
	origin = all[0]
	scheme, host, _ := strings.Cut(origin, "://")
	switch {
	case len(all) > 1:
	case (scheme == "http" || scheme == "https") && strings.EqualFold(host, r.Host):
		return origin, true, true
	case (scheme == "chrome-extension" || scheme == "moz-extension") && host != "", slices.Contains(s.options.Origins, origin):
		return origin, false, true
	}
	return origin, false, false
}

// isEmbedded reports whether a foreign page has sent r without an Origin: for a script, an image, or by fetch
// with the mode no-cors (W3C Fetch Metadata). Another port of this machine is foreign, too.
func isEmbedded(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return r.Header.Get("Sec-Fetch-Mode") == "no-cors" && site != "same-origin" && site != "none"
}

// guard passes on the requests that name the daemon as their Host and come from no foreign web page. It
// answers the preflights of browsers (Fetch Standard §4.8), and bounds bodies.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Add("Vary", "Origin")
		if !s.isHost(r) {
			s.refuse(w, r, "this is not the daemon's name; allow it with --host")
			return
		}
		origin, own, ok := s.checkOrigin(r)
		if !ok {
			s.refuse(w, r, "web pages of this origin may not use the daemon; allow them with --allow-origin")
			return
		}
		if origin != "" && !own {
			h.Set("Access-Control-Allow-Origin", origin)
		}
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			preflight(w, r, origin)
			return
		}
		if r.ContentLength > maxBody {
			h.Set("Connection", "close")
			writeError(w, errTooLarge)
			return
		}
		c, ok := r.Context().Value(connKey{}).(*conn)
		if ok {
			c.busy.Store(true)
			c.socket.Store(isUpgrade(r))
			defer c.busy.Store(false)
		}
		r = r.WithContext(context.WithValue(r.Context(), visitKey{}, &visit{conn: c, own: own, once: !isUpgrade(r)}))
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		body := &meteredBody{ReadCloser: r.Body, slots: s.unknownBodies}
		if given, ok := bearer(r); ok && s.keeper.isSecret(given) {
			body.slots = s.largeBodies
		}
		defer body.done()
		r.Body = body
		next.ServeHTTP(w, r)
	})
}

// preflight answers the question of a browser whether a page of an allowed origin may send a request.
func preflight(w http.ResponseWriter, r *http.Request, origin string) {
	h := w.Header()
	if origin != "" {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Methods", "GET, POST, PATCH, DELETE")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Pawl")
		h.Set("Access-Control-Max-Age", "600")
		if r.Header.Get("Access-Control-Request-Private-Network") == "true" {
			h.Set("Access-Control-Allow-Private-Network", "true")
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// refuse answers a request that comes by a wrong way.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, why string) {
	s.refusals.refused(r, why)
	w.Header().Set("Connection", "close")
	writeError(w, &Error{Status: http.StatusForbidden, Code: "origin", Message: why})
}

// isUpgrade reports whether r asks for a WebSocket (RFC 6455 §4.1).
func isUpgrade(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}
